// SPDX-License-Identifier: GPL-2.0
use super::careful::{FILE_MAX, JOURNAL_MAGIC, NAMES};
use super::*;
use proptest::prelude::*;
use rusqlite::Connection;
use rustix::fs::Mode;
use std::fs::{self, File};
use std::os::unix::fs::symlink;

const NAME: &str = NAMES[0];
const JOURNALS: [&str; 2] = ["main.sqlite-journal", "main.sqlite-wal"];

/// A directory with a database that was made by this SQL.
fn made_by(sql: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let connection = Connection::open(directory.path().join(NAME)).unwrap();
    connection.execute_batch(sql).unwrap();
    directory
}

fn all(directory: &Path) -> Result<Vec<(String, Option<String>)>, Error> {
    let mut found = Vec::new();
    Database::of_other(directory)?.each(|owner, hash| found.push((owner.to_string(), hash)))?;
    found.sort();
    Ok(found)
}

const EPOCHS: &str = "CREATE TABLE parameters (key TEXT PRIMARY KEY, value TEXT);
    CREATE TABLE grace (current INTEGER, recovery INTEGER);
    CREATE TABLE \"rec-0000000000000001\" (id BLOB PRIMARY KEY, princhash BLOB);
    CREATE TABLE \"rec-000000000000000a\" (id BLOB PRIMARY KEY);
    INSERT INTO \"rec-0000000000000001\" VALUES (x'6f6e65', NULL), (x'00ff', zeroblob(32)), ('two', x'01');
    INSERT INTO \"rec-000000000000000a\" VALUES (x'6f6e65');";

#[test]
fn both_epochs_are_read() {
    let directory = made_by(EPOCHS);
    let found = [
        (r"\000\377".to_owned(), Some("00".repeat(32))),
        ("one".to_owned(), None),
        ("one".to_owned(), None),
        ("two".to_owned(), None),
    ];
    assert_eq!(all(directory.path()).unwrap(), found);
    let mut own = 0;
    Database::of_own(directory.path())
        .unwrap()
        .each(|_, _| own += 1)
        .unwrap();
    assert_eq!(own, 4);
}

#[test]
fn what_is_no_name_of_a_client_is_passed_over() {
    let directory = made_by(
        "CREATE TABLE \"rec-0000000000000001\" (id, princhash);
         INSERT INTO \"rec-0000000000000001\" VALUES
             (NULL, NULL), (17, 'x'), (x'', NULL), (zeroblob(1025), NULL), (x'1b5b324a', 3);",
    );
    assert_eq!(
        all(directory.path()).unwrap(),
        [(r"\033[2J".to_owned(), None)]
    );
}

/// All that `clients` tells: who, and whether it is waited for.
fn standings(directory: &Path) -> Vec<(String, bool)> {
    let mut found = Vec::new();
    Database::of_other(directory)
        .unwrap()
        .clients(|client, standing| {
            found.push((client.owner.to_string(), standing == Standing::Waiting));
        })
        .unwrap();
    found.sort();
    found
}

#[test]
fn each_version_of_nfsdcld_is_read() {
    let one = [("one".to_owned(), false)];
    for sql in [
        "CREATE TABLE clients (id BLOB PRIMARY KEY, time INTEGER); INSERT INTO clients VALUES (x'6f6e65', 1);",
        // nfsdcltrack's.
        "CREATE TABLE clients (id BLOB PRIMARY KEY, time INTEGER, has_session INTEGER);
         INSERT INTO clients VALUES (x'6f6e65', '17', 1);",
        // An epoch without zeros, and a leftover.
        "CREATE TABLE grace (current INTEGER, recovery INTEGER); INSERT INTO grace VALUES (10, 0);
         CREATE TABLE \"rec-a\" (id BLOB PRIMARY KEY); INSERT INTO \"rec-a\" VALUES (x'6f6e65');
         CREATE TABLE \"rec-0000000000000009\" (id BLOB PRIMARY KEY);
         INSERT INTO \"rec-0000000000000009\" VALUES (x'6f6c64');",
        // Signs are lost.
        "CREATE TABLE grace (current INTEGER, recovery INTEGER); INSERT INTO grace VALUES (-1, 0);
         CREATE TABLE \"rec-ffffffffffffffff\" (id BLOB PRIMARY KEY);
         INSERT INTO \"rec-ffffffffffffffff\" VALUES (x'6f6e65');",
    ] {
        assert_eq!(standings(made_by(sql).path()), one, "{sql}");
    }
    let grace = made_by(&format!("{EPOCHS} INSERT INTO grace VALUES (10, 1)"));
    let found = standings(grace.path());
    let waiting = found.iter().filter(|(_, waiting)| *waiting).count();
    assert_eq!((found.len(), waiting), (4, 3));
}

/// Field case 23: the name of a table was put into SQL for a shell that can write files.
#[test]
fn the_name_of_a_table_is_no_sql() {
    let directory = made_by(EPOCHS);
    let victim = directory.path().join("victim");
    let connection = Connection::open(directory.path().join(NAME)).unwrap();
    for name in [
        format!("rec-\"; SELECT writefile('{}', 'x'); --", victim.display()),
        format!(
            "rec-\"\"; ATTACH '{}' AS x; CREATE TABLE x.t (a); --",
            victim.display()
        ),
        "rec-000000000000000g".to_owned(),
        "rec-00000000000000001".to_owned(),
        "rec-".to_owned(),
        "rec-+1".to_owned(),
        "REC-0000000000000002".to_owned(),
    ] {
        let quoted = name.replace('"', "\"\"");
        connection
            .execute_batch(&format!(
                "CREATE TABLE \"{quoted}\" (id BLOB); INSERT INTO \"{quoted}\" VALUES (x'78')"
            ))
            .unwrap();
    }
    drop(connection);
    assert_eq!(all(directory.path()).unwrap().len(), 4);
    assert!(!victim.exists());
}

#[test]
fn neither_views_nor_virtual_tables_are_asked() {
    let directory = made_by(
        "CREATE VIEW \"rec-0000000000000001\" (id, princhash) AS
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i, i FROM n;
         CREATE VIRTUAL TABLE \"rec-0000000000000002\" USING fts5(id, princhash);",
    );
    assert_eq!(all(directory.path()).unwrap(), []);
}

#[test]
fn a_value_that_is_made_when_it_is_read_has_bounds() {
    let directory = made_by(
        "CREATE TABLE \"rec-0000000000000001\" (a, id AS (zeroblob(a)), princhash AS (zeroblob(a)));
         INSERT INTO \"rec-0000000000000001\" (a) VALUES (900000000);",
    );
    assert!(matches!(all(directory.path()), Err(Error::Sqlite { .. })));
}

#[test]
fn links_pipes_and_directories_are_not_read() {
    let good = made_by(EPOCHS);
    for name in std::iter::once(NAME).chain(JOURNALS) {
        let directory = made_by(EPOCHS);
        let file = directory.path().join(name);
        let _ = fs::remove_file(&file);
        symlink(good.path().join(NAME), &file).unwrap();
        let error = all(directory.path()).unwrap_err();
        assert!(error.to_string().contains(" is a link, so"), "{error}");
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        assert!(
            matches!(all(directory.path()), Err(Error::Odd { .. })),
            "{name}"
        );
        fs::remove_dir(&file).unwrap();
        let mode = Mode::RUSR | Mode::WUSR;
        fs_mkfifo(&file, mode);
        assert!(
            matches!(all(directory.path()), Err(Error::Odd { .. })),
            "{name}"
        );
    }
    let own = tempfile::tempdir().unwrap();
    symlink(good.path().join(NAME), own.path().join(NAME)).unwrap();
    assert!(matches!(
        Database::of_own(own.path()),
        Err(Error::Odd { .. })
    ));
}

fn fs_mkfifo(path: &Path, mode: Mode) {
    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
}

#[test]
fn there_may_be_none() {
    let directory = tempfile::tempdir().unwrap();
    assert!(matches!(all(directory.path()), Err(Error::Absent(_))));
    assert!(matches!(all(Path::new("/nowhere")), Err(Error::Absent(_))));
    assert!(matches!(
        Database::of_own(Path::new("/nowhere")),
        Err(Error::Absent(_))
    ));
    fs::write(
        directory.path().join(NAME),
        "this is no database, but some other file",
    )
    .unwrap();
    assert!(matches!(all(directory.path()), Err(Error::Sqlite { .. })));
}

#[test]
fn one_that_is_too_long_is_refused() {
    let directory = made_by(EPOCHS);
    let file = File::options()
        .write(true)
        .open(directory.path().join(NAME))
        .unwrap();
    file.set_len(FILE_MAX + 1).unwrap();
    assert!(matches!(all(directory.path()), Err(Error::Odd { .. })));
}

/// A directory with the files of `from` as they are while a transaction is being written.
fn crashed(from: &Path) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for name in std::iter::once(NAME).chain(JOURNALS) {
        if from.join(name).exists() {
            fs::copy(from.join(name), directory.path().join(name)).unwrap();
        }
    }
    directory
}

const CHANGE: &str = "BEGIN; INSERT INTO \"rec-0000000000000001\" VALUES (x'6e6577', NULL);";

#[test]
fn what_was_being_written_in_a_crash_is_completed_or_taken_back() {
    // In the mode WAL, what is committed is in the log.
    let directory = made_by(&format!("PRAGMA journal_mode = wal; {EPOCHS}"));
    let connection = Connection::open(directory.path().join(NAME)).unwrap();
    connection
        .execute_batch(&format!("{CHANGE} COMMIT"))
        .unwrap();
    let after = crashed(directory.path());
    assert!(after.path().join(JOURNALS[1]).exists());
    assert_eq!(all(after.path()).unwrap().len(), 5);
    // So it is for one that is in use.
    let mut own = 0;
    Database::of_own(directory.path())
        .unwrap()
        .each(|_, _| own += 1)
        .unwrap();
    assert_eq!(own, 5);
    drop(connection);

    // Else the database may have been changed, and the journal has how it was.
    let (after, journal) = interrupted();
    assert!(fs::metadata(&journal).unwrap().len() > 512);
    assert_eq!(all(after.path()).unwrap().len(), 4);
    // The original is as it was.
    assert!(journal.exists());
}

/// A crash within a transaction whose pages are in the database already.
fn interrupted() -> (tempfile::TempDir, PathBuf) {
    let directory = made_by(EPOCHS);
    let connection = Connection::open(directory.path().join(NAME)).unwrap();
    connection
        .execute_batch("PRAGMA cache_size = 1; PRAGMA cache_spill = 1")
        .unwrap();
    connection.execute_batch(CHANGE).unwrap();
    // More than the cache has room for.
    let many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
                INSERT INTO \"rec-0000000000000001\" SELECT 'filler ' || i, NULL FROM n";
    connection.execute_batch(many).unwrap();
    let after = crashed(directory.path());
    let journal = after.path().join(JOURNALS[0]);
    (after, journal)
}

/// SQLite removes the file that a journal names when it has rolled it back, whatever that is.
#[test]
fn a_journal_that_names_another_file_removes_nothing() {
    let (directory, journal) = interrupted();
    let victim = directory.path().join("victim");
    fs::write(&victim, "keep").unwrap();
    let name = victim.to_str().unwrap().as_bytes();
    let sum: u32 = name.iter().map(|byte| u32::from(*byte)).sum();
    let mut bytes = fs::read(&journal).unwrap();
    // As writeSuperJournal() does.
    bytes.extend([0, 0, 0, 0]);
    bytes.extend(name);
    bytes.extend((name.len() as u32).to_be_bytes());
    bytes.extend(sum.to_be_bytes());
    bytes.extend(JOURNAL_MAGIC);
    fs::write(&journal, bytes).unwrap();
    let error = all(directory.path()).unwrap_err();
    assert!(error.to_string().contains("names another file"), "{error}");
    assert_eq!(fs::read_to_string(&victim).unwrap(), "keep");
    // It is what SQLite itself would do.
    let connection = Connection::open(directory.path().join(NAME)).unwrap();
    let _ = connection.query_row("SELECT count(*) FROM sqlite_schema", (), |_| Ok(()));
    assert!(!victim.exists());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_database_with_wrong_bytes_is_read_or_refused(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..40),
    ) {
        let directory = made_by(EPOCHS);
        let file = directory.path().join(NAME);
        let mut bytes = fs::read(&file).unwrap();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        fs::write(&file, bytes).unwrap();
        let _ = all(directory.path());
    }
}

mod had;
