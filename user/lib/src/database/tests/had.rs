// SPDX-License-Identifier: GPL-2.0
//! Databases of nfsd-had's.

use super::*;

/// Records of nfsd-had's, changed by this SQL.
fn records(sql: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join(NAMES[1]);
    drop(records::Store::open(&file).unwrap());
    let connection = Connection::open(&file).unwrap();
    connection.execute_batch(sql).unwrap();
    directory
}

const RECORDS: &str =
    "INSERT INTO epochs (epoch, started, ended) VALUES (1, 1, 1), (2, 2, 2), (3, 3, NULL);
    INSERT INTO clients (name, principal, since, epoch) VALUES (x'6f6e65', zeroblob(32), 0, 3),
        (x'74776f', NULL, 0, 2), (x'6f6c64', NULL, 0, 1);
    INSERT INTO nlm (export, server, client, version, caller, since, gone) VALUES
        ('1234', '192.0.2.50', '192.0.2.17', 4, 'one', 10, NULL), ('5678', 'fd00::50', 'fd00::17', 4, 'two', 10, 20);
    INSERT INTO connections VALUES ('192.0.2.50', 2049, '192.0.2.17', 878, 10);";

#[test]
fn those_of_nfsd_had_are_read_by_file_or_directory() {
    let directory = records(RECORDS);
    let one = ("one".to_owned(), Some("00".repeat(32)));
    let both = [one, ("two".to_owned(), None)];
    assert_eq!(all(directory.path()).unwrap(), both);
    let found = [("one".to_owned(), false), ("two".to_owned(), true)];
    assert_eq!(standings(directory.path()), found);
    // What is in a file counts, and not its name.
    let file = directory.path().join(NAMES[1]);
    let other = directory.path().join("b");
    fs::copy(&file, &other).unwrap();
    assert_eq!(all(&other).unwrap(), both);
    let mut own = 0;
    Database::of_own(&file)
        .unwrap()
        .each(|_, _| own += 1)
        .unwrap();
    assert_eq!(own, 2);
    // Of two it is not guessed which.
    fs::copy(&file, directory.path().join(NAME)).unwrap();
    assert!(matches!(all(directory.path()), Err(Error::Several(_))));
    assert_eq!(all(&file).unwrap(), both);
    let link = directory.path().join("link");
    symlink(&file, &link).unwrap();
    assert!(matches!(all(&link), Err(Error::Odd { .. })));
    assert!(matches!(
        all(&directory.path().join("none")),
        Err(Error::Absent(_))
    ));
    assert!(matches!(all(&file.join("x")), Err(Error::Absent(_))));
}

#[test]
fn those_of_a_node_that_crashed_are_read_with_their_log() {
    let directory = records("");
    let file = directory.path().join(NAMES[1]);
    let mut store = records::Store::open(&file).unwrap().0;
    let mut batch = store.begin().unwrap();
    batch.begin_epoch().unwrap();
    let owner = Owner::new("new").unwrap();
    batch.store(&Client::new(owner, None)).unwrap();
    batch.commit().unwrap();
    let crashed = tempfile::tempdir().unwrap();
    for suffix in ["", "-wal"] {
        let name = format!("{}{suffix}", NAMES[1]);
        fs::copy(directory.path().join(&name), crashed.path().join(&name)).unwrap();
    }
    // SQLite would believe it.
    let index = crashed.path().join(format!("{}-shm", NAMES[1]));
    fs::write(&index, [0x55; 32768]).unwrap();
    assert_eq!(all(crashed.path()).unwrap(), [("new".to_owned(), None)]);
    assert_eq!(fs::read(&index).unwrap(), [0x55; 32768]);
}

#[test]
fn records_that_nfsd_had_has_not_written_are_passed_over_or_refused() {
    let loose = "CREATE TABLE schema (version); INSERT INTO schema VALUES (1);
        CREATE TABLE epochs (epoch, started, ended); CREATE TABLE clients (id, name, principal, minor, address, since, epoch);";
    let made = made_by(&format!(
        "{loose} INSERT INTO epochs VALUES ('x', NULL, NULL), (1, 1, NULL);
         INSERT INTO clients (name, principal, minor, address, since, epoch) VALUES
             (NULL, 1, 1, 1, 1, 1), (17, 1, 1, 1, 1, 1), ('text', 1, 1, 1, 1, 1), (x'', 1, 1, 1, 1, 1),
             (zeroblob(1025), 1, 1, 1, 1, 1), (x'61', 1, 1, 1, 1, 'x'), (x'62', 'x', 1000, x'00', 'x', 1);"
    ));
    assert_eq!(all(made.path()).unwrap(), [("b".to_owned(), None)]);
    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT";
    for sql in [
        "DROP TABLE clients".to_owned(),
        "DROP TABLE epochs".to_owned(),
        "UPDATE schema SET version = 0".to_owned(),
        "UPDATE schema SET version = 2".to_owned(),
        "UPDATE schema SET version = 2; CREATE TABLE holds (name, export, file_system, epoch, since)".to_owned(),
        "UPDATE schema SET version = 3".to_owned(),
        format!("DROP TABLE clients; CREATE VIEW clients AS {endless} i AS name, i AS principal, i AS minor, i AS address, i AS since, 1 AS epoch FROM n"),
        "DROP TABLE clients; CREATE VIRTUAL TABLE clients USING fts5(name, principal, minor, address, since, epoch)".to_owned(),
        "DROP TABLE clients; CREATE TABLE clients (a, name AS (zeroblob(a)), principal, minor, address, since, epoch);
         INSERT INTO clients (a, epoch) VALUES (900000000, 1)".to_owned(),
    ] {
        let made = made_by(&format!("{loose} {sql}"));
        let error = all(made.path()).unwrap_err();
        assert!(matches!(error, Error::Records(_)), "{sql}: {error}");
    }
}

#[test]
fn one_that_a_daemon_of_this_machine_writes_is_read_where_it_is() {
    let directory = records(RECORDS);
    let is_copy = || {
        let database = Database::of_crashed(directory.path()).unwrap();
        let Kind::Had(reader) = database.0 else {
            panic!("it is nfsd-had's");
        };
        let path = reader.opened().connection.path().map(PathBuf::from);
        path != Some(directory.path().join(NAMES[1]))
    };
    assert!(is_copy());
    let _daemon = records::Store::open(&directory.path().join(NAMES[1])).unwrap();
    assert!(!is_copy());
}

#[test]
fn who_must_be_told_and_was_connected_is_read() {
    let directory = records(RECORDS);
    let seen = |directory: &Path| {
        let database = Database::of_other(directory).unwrap();
        let nlm = database.nlm().unwrap().into_iter();
        let nlm = nlm.map(|one| format!("{} {} {}", one.fsid, one.peer, one.caller));
        let connections = database.connections().unwrap();
        let connections = connections.iter().map(ToString::to_string);
        nlm.chain(connections).collect::<Vec<_>>()
    };
    let expected = [
        "1234 192.0.2.50 192.0.2.17 4 one",
        "5678 fd00::50 fd00::17 4 two",
        "192.0.2.50:2049 192.0.2.17:878",
    ];
    assert_eq!(seen(directory.path()), expected);
    // What nfsd-had has not written is passed over.
    let file = directory.path().join(NAMES[1]);
    let odd = "DROP TABLE nlm; DROP TABLE connections;
        CREATE TABLE nlm (export, server, client, version, caller, since, gone);
        CREATE TABLE connections (server, server_port, client, client_port, since);
        INSERT INTO nlm VALUES ('1', '192.0.2.50', '192.0.2.17', 4, x'1b', 'x', 'x'), (1, '192.0.2.50', '192.0.2.17', 4, '', 0, 0),
            ('1 2', '192.0.2.50', '192.0.2.17', 4, '', 0, 0), ('1', x'00', '192.0.2.17', 4, '', 0, 0),
            ('1', '192.0.2.50', '$(reboot)', 4, '', 0, 0), ('1', '192.0.2.50', '192.0.2.17', '4', '', 0, 0);
        INSERT INTO connections VALUES (NULL, 2049, '192.0.2.17', 878, 10), ('192.0.2.50', 2049, '192.0.2.17', 70000, 10),
            ('192.0.2.50', 2049, '224.0.0.1', 878, 10), ('192.0.2.50', 2049, 'fd00::17', 878, 10), ('192.0.2.50', 1, '192.0.2.17', 1, 'x');";
    Connection::open(&file).unwrap().execute_batch(odd).unwrap();
    let expected = ["1 192.0.2.50 192.0.2.17 4 ", "192.0.2.50:1 192.0.2.17:1"];
    assert_eq!(seen(directory.path()), expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn records_with_wrong_bytes_are_read_or_refused(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..40),
    ) {
        let directory = records(RECORDS);
        let file = directory.path().join(NAMES[1]);
        let mut bytes = fs::read(&file).unwrap();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        // As the law has it: nothing, and then the file.
        laws::database(&[&[0, 0, 0], &bytes[..]].concat());
    }
}
