// SPDX-License-Identifier: GPL-2.0
use super::*;
use crate::database::Database;
use crate::records::Store;
use rusqlite::Connection;
use std::path::{Path, PathBuf};

const NOW: i64 = 1000;
const UUID: &str = "0d7bb6e8-0c1e-4e6a-9d61-3f9a1f6c1b1d";

/// Of a server that has crashed in its second epoch, outside a grace period; all that is held was on record.
const CRASHED: &str = "INSERT INTO epochs VALUES (1, 1, 1, NULL, NULL), (2, 2, 2, 900, 1100);
    INSERT INTO clients (name, address, since, epoch) VALUES
        (CAST('idle' AS BLOB), '192.0.2.50', 0, 2), (CAST('one' AS BLOB), '192.0.2.50', 0, 2),
        (CAST('two' AS BLOB), '192.0.2.51', 0, 2), (CAST('three' AS BLOB), NULL, 0, 2),
        (CAST('late' AS BLOB), NULL, 0, 1);
    INSERT INTO holds VALUES
        (CAST('one' AS BLOB), '1234', zeroblob(16), 2, 0), (CAST('two' AS BLOB), '5678', x'', 2, 0),
        (CAST('three' AS BLOB), '1235', zeroblob(16), 2, 0), (CAST('late' AS BLOB), '1234', x'', 1, 0),
        (x'', '1234', x'', 2, 0), (CAST('unknown' AS BLOB), '1234', x'', 2, 0);";

fn made(sql: &str) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("records.sqlite");
    drop(Store::open(&file).unwrap());
    let connection = Connection::open(&file).unwrap();
    connection.execute_batch(sql).unwrap();
    (directory, file)
}

fn of_file(file: &Path, wanted: &Wanted) -> (Vec<String>, Taken) {
    let mut names = Vec::new();
    let database = Database::of_other(file).unwrap();
    let tell = |owner: Owner, _| names.push(owner.to_string());
    let taken = database.holders(wanted, NOW, tell).unwrap();
    names.sort();
    (names, taken)
}

/// Who is taken of [`CRASHED`], changed by this SQL.
fn taken(sql: &str, wanted: &Wanted) -> (Vec<String>, Taken) {
    let (_directory, file) = made(&format!("{CRASHED} {sql}"));
    of_file(&file, wanted)
}

fn wanted(scope: &str) -> Wanted {
    Wanted::from(&scope.parse::<Scope>().unwrap())
}

fn some(taken: u64, of: u64) -> Taken {
    Taken::Holders { taken, of }
}

/// All who may reclaim.
const ALL: [&str; 4] = ["idle", "one", "three", "two"];

#[test]
fn who_held_something_on_the_export_is_taken() {
    // One has come by another export of the same file system.
    let (names, told) = taken("", &wanted("1234"));
    assert_eq!(names, ["one", "three"]);
    assert_eq!(told, some(2, 4));
    let (names, told) = taken("", &wanted("5678"));
    assert_eq!((names, told), (vec!["two".to_owned()], some(1, 4)));
    assert_eq!(taken("", &wanted("9")).1, some(0, 4));
    // Of several that move together.
    let exports = Wanted::exports([1235, 5678].map(|number| Some(Fsid::Number(number))));
    assert_eq!(taken("", &exports).0, ["one", "three", "two"]);
}

#[test]
fn who_holds_anything_is_taken_if_nobody_knows_what_it_was_called() {
    let folded = Fsid::Uuid8([0; 8]);
    for wanted in [
        wanted("dev:8:1"),
        Wanted::exports([]),
        Wanted::exports([Some(Fsid::Number(1234)), None]),
        Wanted::exports([Some(folded)]),
    ] {
        assert_eq!(wanted, Wanted::Unknown);
        assert_eq!(taken("", &wanted).0, ["one", "three", "two"]);
    }
}

#[test]
fn a_uuid_is_that_of_the_export_or_of_its_file_system() {
    let sql = format!(
        "DELETE FROM holds; INSERT INTO holds VALUES (CAST('one' AS BLOB), '{UUID}', x'', 2, 0),
            (CAST('two' AS BLOB), '7', x'{}', 2, 0),
            (CAST('three' AS BLOB), '1d7bb6e8-0c1e-4e6a-9d61-3f9a1f6c1b1d', x'', 2, 0)",
        UUID.replace('-', "")
    );
    assert_eq!(taken(&sql, &wanted(UUID)).0, ["one", "two"]);
}

#[test]
fn what_may_be_the_export_by_another_name_is_taken() {
    for (name, is_other) in [
        ("dev:8:1", false),
        ("uuid8:0123456789abcdef", false),
        ("uuid4:01234567", false),
        (UUID, false),
        ("what_is_this", false),
        ("1234", false),
        ("12345", true),
        ("0", true),
    ] {
        let sql = format!("UPDATE holds SET export = '{name}' WHERE export = '5678'");
        let (names, _) = taken(&sql, &wanted("1234"));
        assert_eq!(names.contains(&"two".to_owned()), !is_other, "{name}");
    }
}

#[test]
fn who_has_come_to_the_address_is_taken_and_who_may_have() {
    assert_eq!(taken("", &wanted("ip:192.0.2.50")).0, ["one", "three"]);
    assert_eq!(taken("", &wanted("ip:192.0.2.51")).0, ["three", "two"]);
    assert_eq!(taken("", &wanted("ip:2001:db8::1")).0, ["three"]);
    // An address of IPv4 within IPv6, none, and one that is a part of the name.
    for address in ["'::ffff:192.0.2.50'", "'x'", "NULL"] {
        let sql =
            format!("UPDATE clients SET address = {address} WHERE name = CAST('two' AS BLOB)");
        let names = taken(&sql, &wanted("ip:192.0.2.50")).0;
        assert_eq!(names, ["one", "three", "two"], "{address}");
    }
    let floating =
        "UPDATE clients SET name = CAST('two@192.0.2.50' AS BLOB) WHERE name = CAST('two' AS BLOB);
        UPDATE holds SET name = CAST('two@192.0.2.50' AS BLOB) WHERE name = CAST('two' AS BLOB)";
    assert_eq!(
        taken(floating, &wanted("ip:192.0.2.50")).0,
        ["one", "three", "two@192.0.2.50"]
    );
}

#[test]
fn all_are_taken_unless_all_that_is_held_is_on_record_now() {
    for (sql, why) in [
        ("UPDATE epochs SET held_from = NULL", NotKnown::NotSaid),
        ("UPDATE epochs SET held_until = NULL", NotKnown::NotSaid),
        (
            "UPDATE epochs SET held_until = 999 WHERE epoch = 2",
            NotKnown::Over(999),
        ),
        (
            "UPDATE epochs SET held_from = 1001 WHERE epoch = 2",
            NotKnown::Later(1001),
        ),
        // Of an epoch before.
        (
            "INSERT INTO epochs VALUES (3, 3, NULL, NULL, NULL)",
            NotKnown::NotSaid,
        ),
        (
            "INSERT INTO holds VALUES (x'', 'a b', x'', 2, 0)",
            NotKnown::Odd,
        ),
    ] {
        for scope in ["1234", "ip:192.0.2.50", "dev:8:1"] {
            let (names, told) = taken(sql, &wanted(scope));
            assert_eq!(names, ALL, "{sql}");
            assert_eq!(told, Taken::All(why.clone()), "{sql}");
        }
    }
    for until in ["1000", "9223372036854775807"] {
        let sql = format!("UPDATE epochs SET held_from = 1000, held_until = {until}");
        assert_eq!(taken(&sql, &wanted("1234")).1, some(2, 4), "{until}");
    }
}

#[test]
fn in_a_grace_period_who_has_yet_to_reclaim_is_taken() {
    // All are of epoch 2; of the third, one has come back and holds less than before.
    let sql = "INSERT INTO epochs VALUES (3, 3, NULL, 900, 1100); UPDATE clients SET epoch = 3 WHERE name = CAST('two' AS BLOB);
        INSERT INTO holds VALUES (CAST('two' AS BLOB), '9', x'', 3, 0)";
    assert_eq!(taken(sql, &wanted("1234")).0, ["one", "three"]);
    assert_eq!(taken(sql, &wanted("5678")).0, ["two"]);
}

#[test]
fn a_table_that_cannot_be_read_leaves_nobody_out() {
    let sql = "ALTER TABLE holds RENAME COLUMN export TO away";
    let (names, told) = taken(sql, &wanted("1234"));
    assert_eq!(names, ALL);
    assert!(
        matches!(&told, Taken::All(NotKnown::Unreadable(why)) if why.contains("export")),
        "{told:?}"
    );
}

#[test]
fn what_an_older_daemon_has_left_names_all() {
    let directory = tempfile::tempdir().unwrap();
    let first = "CREATE TABLE schema (version INTEGER); INSERT INTO schema VALUES (1);
        CREATE TABLE epochs (epoch INTEGER PRIMARY KEY, started INTEGER, ended INTEGER);
        CREATE TABLE clients (id INTEGER PRIMARY KEY, name BLOB, principal BLOB, minor INTEGER, address TEXT,
            since INTEGER, epoch INTEGER);
        INSERT INTO epochs VALUES (1, 1, 1); INSERT INTO clients (name, since, epoch) VALUES (x'6f6e65', 0, 1)";
    let nfsdcld = "CREATE TABLE parameters (key TEXT PRIMARY KEY, value TEXT);
        CREATE TABLE grace (current INTEGER, recovery INTEGER); INSERT INTO grace VALUES (1, 0);
        CREATE TABLE \"rec-0000000000000001\" (id BLOB PRIMARY KEY, princhash BLOB);
        INSERT INTO \"rec-0000000000000001\" VALUES (x'6f6e65', NULL)";
    for (name, sql) in [("records.sqlite", first), ("main.sqlite", nfsdcld)] {
        let file = directory.path().join(name);
        let connection = Connection::open(&file).unwrap();
        connection.execute_batch(sql).unwrap();
        drop(connection);
        let (names, told) = of_file(&file, &wanted("1234"));
        assert_eq!(names, ["one"], "{name}");
        assert_eq!(told, Taken::All(NotKnown::NotRecorded), "{name}");
    }
}
