// SPDX-License-Identifier: GPL-2.0
use super::*;
use crate::owner::Owner;
use crate::records::store::PURGED;
use crate::records::{Client, ExportName, FileSystem, Holders};
use rusqlite::Connection;
use std::path::{Path, PathBuf};

const UUID: FileSystem = FileSystem::from_bytes(*b"0123456789abcdef");

fn place() -> (tempfile::TempDir, PathBuf, Store) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("records.sqlite");
    let mut records = Store::open(&file).unwrap().0;
    batch(&mut records, |batch| batch.begin_epoch().map(drop));
    (directory, file, records)
}

fn batch<T>(store: &mut Store, change: impl FnOnce(&mut Batch<'_>) -> Result<T, Error>) -> T {
    let mut batch = store.begin().unwrap();
    let result = change(&mut batch).unwrap();
    batch.commit().unwrap();
    result
}

/// By a client, or by clients of NLM if its name is empty.
fn hold(name: &str, export: &str) -> Hold {
    Hold {
        owner: Owner::new(name).ok(),
        export: ExportName::new(export.as_bytes()).unwrap(),
        file_system: None,
    }
}

fn on(hold: Hold) -> Hold {
    Hold {
        file_system: Some(UUID),
        ..hold
    }
}

/// Stores a client, and what it holds.
fn comes(store: &mut Store, name: &str, exports: &[&str]) {
    batch(store, |batch| {
        batch.store(&Client::new(Owner::new(name).unwrap(), None))?;
        exports
            .iter()
            .try_for_each(|export| batch.hold(&hold(name, export)))
    });
}

fn starts(store: &mut Store) {
    batch(store, |batch| batch.begin_epoch().map(drop));
}

fn ends(store: &mut Store) {
    let epoch = store.epoch();
    assert!(batch(store, |batch| batch.end_grace(epoch)));
}

/// The exports that something is held on, and by whom: `4` and `n`.
fn held(store: &Store) -> Vec<String> {
    let said = |((export, file_system), holders): ((ExportName, Option<_>), Holders)| {
        let known = if file_system.is_some() { "+" } else { "" };
        let nfs4 = if holders.nfs4 { "4" } else { "" };
        let nlm = if holders.nlm { "n" } else { "" };
        format!("{export}{known} {nfs4}{nlm}")
    };
    let held = store.held().unwrap().unwrap();
    held.into_iter().map(said).collect()
}

fn counts(store: &Store) -> Vec<(String, u32)> {
    let mut counts = Vec::new();
    let tell = |client: Client, holds| {
        counts.push((client.owner.to_string(), holds));
        true
    };
    store.each_with_holds(tell).unwrap();
    counts
}

/// What is in the table: names, epochs and times.
fn rows(file: &Path) -> Vec<(Vec<u8>, i64, i64)> {
    let connection = Connection::open(file).unwrap();
    let mut rows = connection
        .prepare("SELECT name, epoch, since FROM holds")
        .unwrap();
    let rows = rows.query_map((), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
    rows.unwrap().map(Result::unwrap).collect()
}

fn change(file: &Path, sql: &str) {
    Connection::open(file).unwrap().execute_batch(sql).unwrap();
}

#[test]
fn a_hold_is_there_once_for_each_export() {
    let (_directory, file, mut records) = place();
    comes(&mut records, "one", &["1234", "1234", "dev:8:1"]);
    batch(&mut records, |batch| {
        batch.hold(&on(hold("one", "1234")))?;
        batch.hold(&hold("", "1234"))
    });
    assert_eq!(held(&records), ["1234 4n", "1234+ 4", "dev:8:1 4"]);
    assert_eq!(counts(&records), [("one".to_owned(), 3)]);
    // Since when stays; of which epoch is what was said last.
    change(&file, "UPDATE holds SET since = 7");
    starts(&mut records);
    comes(&mut records, "one", &["1234"]);
    let mut changed = rows(&file);
    changed.retain(|(_, epoch, _)| *epoch == 2);
    assert_eq!(changed, [(b"one".to_vec(), 2, 7)]);
}

#[test]
fn what_is_held_no_more_is_gone() {
    let (_directory, _file, mut records) = place();
    comes(&mut records, "one", &["1", "2"]);
    batch(&mut records, |batch| {
        batch.hold(&on(hold("", "2")))?;
        batch.hold(&hold("other", "2"))
    });
    let unhold = |records: &mut Store, hold: Hold| batch(records, |batch| batch.unhold(&hold));
    // It was not there.
    for other in [
        hold("", "1"),
        hold("other", "1"),
        on(hold("one", "1")),
        hold("", "2"),
    ] {
        assert!(!unhold(&mut records, other));
    }
    assert_eq!(held(&records), ["1 4", "2 4", "2+ n"]);
    assert!(unhold(&mut records, hold("one", "1")));
    assert!(!unhold(&mut records, hold("one", "1")));
    assert_eq!(held(&records), ["2 4", "2+ n"]);
    assert!(unhold(&mut records, on(hold("", "2"))));
    assert_eq!(held(&records), ["2 4"]);
    // With a client all of its go, and of nobody else.
    let one = Owner::new("one").unwrap();
    assert!(batch(&mut records, |batch| batch.remove(&one)));
    assert_eq!(held(&records), ["2 4"]);
    assert!(unhold(&mut records, hold("other", "2")));
    assert_eq!(held(&records), [""; 0]);
}

#[test]
fn a_client_that_is_removed_holds_nothing_also_if_it_was_not_on_record() {
    let (_directory, file, mut records) = place();
    batch(&mut records, |batch| batch.hold(&hold("one", "1")));
    let one = Owner::new("one").unwrap();
    assert!(!batch(&mut records, |batch| batch.remove(&one)));
    assert_eq!(rows(&file), []);
}

#[test]
fn what_was_not_held_again_when_grace_ends_does_not_count() {
    let (_directory, file, mut records) = place();
    comes(&mut records, "back", &["1", "2"]);
    comes(&mut records, "away", &["2", "3"]);
    batch(&mut records, |batch| batch.hold(&hold("", "4")));
    starts(&mut records);
    comes(&mut records, "back", &["1"]);
    // The server crashes in its grace period, which costs nobody anything.
    starts(&mut records);
    let all = ["1 4", "2 4", "3 4", "4 n"];
    assert_eq!(held(&records), all);
    let two = |name: &str| (name.to_owned(), 2);
    assert_eq!(counts(&records), [two("back"), two("away")]);
    comes(&mut records, "back", &["2"]);
    ends(&mut records);
    assert_eq!(held(&records), ["2 4"]);
    assert_eq!(counts(&records), [("back".to_owned(), 1)]);
    assert_eq!(rows(&file).len(), 5);
    assert!(!batch(&mut records, |batch| batch.purge()));
    assert_eq!(rows(&file).len(), 1);
    assert_eq!(held(&records), ["2 4"]);
}

#[test]
fn who_is_not_on_record_counts_and_who_may_not_reclaim_does_not() {
    let (_directory, _file, mut records) = place();
    comes(&mut records, "away", &[]);
    starts(&mut records);
    batch(&mut records, |batch| {
        batch.hold(&hold("away", "1"))?;
        batch.hold(&hold("unknown", "2"))
    });
    ends(&mut records);
    assert_eq!(held(&records), ["2 4"]);
    assert_eq!(counts(&records), []);
}

#[test]
fn old_holds_are_removed_in_parts() {
    let (_directory, file, mut records) = place();
    let many = PURGED + 5;
    let fill = |name: &str, export: &str| {
        format!(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {many})
            INSERT INTO holds SELECT {name}, {export}, x'', 1, 0 FROM n"
        )
    };
    // Of NLM, of many clients, and of one.
    change(&file, &fill("x''", "'' || i"));
    change(&file, &fill("CAST('client-' || i AS BLOB)", "'1'"));
    change(&file, &fill("CAST('greedy' AS BLOB)", "'' || i"));
    starts(&mut records);
    comes(&mut records, "client-7", &["1"]);
    batch(&mut records, |batch| batch.hold(&hold("", "7")));
    ends(&mut records);
    let left = || rows(&file).len() as i64;
    let mut parts = 0;
    while batch(&mut records, |batch| batch.purge()) {
        let before = left();
        // What is not committed is to be done again.
        drop(records.begin().map(|mut batch| batch.purge()));
        assert_eq!(left(), before);
        parts += 1;
    }
    assert!((2..10).contains(&parts), "{parts}");
    assert!(!records.is_stale());
    assert_eq!(left(), 2);
    assert_eq!(held(&records), ["1 4", "7 n"]);
}

#[test]
fn all_is_held_from_when_that_was_said_until_it_says() {
    let (_directory, file, mut records) = place();
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let is_all_held = |records: &mut Store| batch(records, |batch| batch.is_all_held());
    assert!(!is_all_held(&mut records), "nobody has said so");
    for (until, held) in [
        (now + 60, true),
        (now - 1, false),
        (0, false),
        (i64::MAX as u64, true),
        (u64::MAX, true),
    ] {
        // The later one takes the place of the earlier one.
        batch(&mut records, |batch| batch.all_held(until));
        assert_eq!(is_all_held(&mut records), held, "{until}");
    }
    // The clock was set back.
    change(&file, "UPDATE epochs SET held_from = held_from + 1000");
    assert!(!is_all_held(&mut records));
    batch(&mut records, |batch| batch.all_held(u64::MAX));
    assert!(is_all_held(&mut records));
    // It is said of one start, and survives the daemon.
    drop(records);
    let mut records = Store::open(&file).unwrap().0;
    assert!(is_all_held(&mut records));
    starts(&mut records);
    assert!(!is_all_held(&mut records));
}

#[test]
fn nothing_is_all_held_before_a_server_has_started() {
    let directory = tempfile::tempdir().unwrap();
    let mut records = Store::open(&directory.path().join("records")).unwrap().0;
    batch(&mut records, |batch| batch.all_held(u64::MAX));
    assert!(!batch(&mut records, |batch| batch.is_all_held()));
}

#[test]
fn a_row_that_cannot_be_told_makes_all_unknown() {
    let (_directory, file, mut records) = place();
    comes(&mut records, "one", &["1234"]);
    for odd in [
        "x'6f', '', x''",
        "x'6f', 'a b', x''",
        "x'6f', CAST(x'31ff' AS TEXT), x''",
        "x'6f', CAST(x'3100' AS TEXT), x''",
        "x'6f', CAST(zeroblob(65) AS TEXT), x''",
        "x'6f', '1', x'00'",
        "zeroblob(1025), '1', x''",
    ] {
        change(&file, &format!("INSERT INTO holds VALUES ({odd}, 1, 0)"));
        assert_eq!(records.held().unwrap(), None, "{odd}");
        // It keeps nobody from reclaiming.
        assert_eq!(counts(&records), [("one".to_owned(), 1)]);
        change(&file, "DELETE FROM holds WHERE name != x'6f6e65'");
        assert_eq!(held(&records), ["1234 4"]);
    }
}

#[test]
fn exports_without_an_end_are_not_told() {
    let (_directory, file, records) = place();
    let fill = |many: usize| {
        let sql = format!(
            "DELETE FROM holds; WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {many})
            INSERT INTO holds SELECT x'', '' || i, x'', 1, 0 FROM n"
        );
        change(&file, &sql);
    };
    fill(EXPORTS_MAX);
    assert_eq!(held(&records).len(), EXPORTS_MAX);
    fill(EXPORTS_MAX + 1);
    assert_eq!(records.held().unwrap(), None);
}
