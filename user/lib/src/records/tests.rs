// SPDX-License-Identifier: GPL-2.0
use super::*;
use rusqlite::Connection;
use std::fs;
use std::path::{Path, PathBuf};

fn place() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("records.sqlite");
    (directory, file)
}

fn open(file: &Path) -> Store {
    Store::open(file).unwrap().0
}

fn owner(name: &str) -> Owner {
    Owner::new(name).unwrap()
}

fn client(name: &str) -> Client {
    Client::new(owner(name), None)
}

/// Does something in a batch of its own.
fn batch<T>(store: &mut Store, change: impl FnOnce(&mut Batch<'_>) -> Result<T, Error>) -> T {
    let mut batch = store.begin().unwrap();
    let result = change(&mut batch).unwrap();
    batch.commit().unwrap();
    result
}

fn store(store: &mut Store, names: &[&str]) {
    batch(store, |batch| {
        names.iter().try_for_each(|name| batch.store(&client(name)))
    });
}

fn all(store: &Store) -> Vec<String> {
    let mut names = Vec::new();
    store
        .each(|client| {
            names.push(client.owner.to_string());
            true
        })
        .unwrap();
    names.sort();
    names
}

#[test]
fn who_has_not_reclaimed_when_grace_ends_is_forgotten() {
    let (_directory, file) = place();
    let mut records = open(&file);
    assert_eq!(batch(&mut records, |batch| batch.begin_epoch()), 1);
    store(&mut records, &["one", "two", "three"]);
    assert_eq!(batch(&mut records, |batch| batch.begin_epoch()), 2);
    assert_eq!(all(&records), ["one", "three", "two"]);
    store(&mut records, &["one", "four"]);
    assert!(batch(&mut records, |batch| batch.end_grace(2)));
    assert_eq!(all(&records), ["four", "one"]);
    assert!(records.is_stale());
    assert!(!batch(&mut records, |batch| batch.purge()));
    assert!(!records.is_stale());
    assert_eq!(all(&records), ["four", "one"]);
    // Once more, for one that is over, and for one that has not begun: nothing changes.
    for epoch in [1, 2, 3] {
        assert!(!batch(&mut records, |batch| batch.end_grace(epoch)));
    }
    assert_eq!(all(&records), ["four", "one"]);
    assert!(!records.is_stale());
}

#[test]
fn a_crash_in_the_grace_period_costs_nobody_anything() {
    let (_directory, file) = place();
    let mut records = open(&file);
    batch(&mut records, |batch| batch.begin_epoch());
    store(&mut records, &["back", "away"]);
    batch(&mut records, |batch| batch.begin_epoch());
    store(&mut records, &["back", "new"]);
    drop(records);
    let mut records = open(&file);
    assert_eq!(records.epoch(), 2);
    batch(&mut records, |batch| batch.begin_epoch());
    assert_eq!(all(&records), ["away", "back", "new"]);
    // The daemon of before says that its grace period is over; that of now is not.
    assert!(!batch(&mut records, |batch| batch.end_grace(2)));
    assert_eq!(all(&records), ["away", "back", "new"]);
}

#[test]
fn a_client_is_there_once_and_removed_at_once() {
    let (_directory, file) = place();
    let mut records = open(&file);
    batch(&mut records, |batch| batch.begin_epoch());
    let told = Client {
        principal: Some([9; 32]),
        minor: Some(2),
        address: "192.0.2.50".parse().ok(),
        ..client("one")
    };
    batch(&mut records, |batch| batch.store(&told));
    let mut found = Vec::new();
    records
        .each(|client| {
            found.push(client);
            true
        })
        .unwrap();
    assert_eq!(found, [told]);
    store(&mut records, &["one"]);
    assert_eq!(all(&records), ["one"]);
    assert!(batch(&mut records, |batch| batch.remove(&owner("one"))));
    assert!(!batch(&mut records, |batch| batch.remove(&owner("one"))));
    assert!(all(&records).is_empty());
}

#[test]
fn an_odd_row_keeps_nobody_from_reclaiming() {
    let (_directory, file) = place();
    let mut records = open(&file);
    batch(&mut records, |batch| batch.begin_epoch());
    store(&mut records, &["one", "two"]);
    for (column, odd) in [
        ("minor", "256"),
        ("minor", "-1"),
        ("address", "7"),
        ("principal", "x'07'"),
    ] {
        let sql = format!("UPDATE clients SET {column} = {odd} WHERE name = x'6f6e65'");
        Connection::open(&file)
            .unwrap()
            .execute_batch(&sql)
            .unwrap();
        let mut found = Vec::new();
        let tell = |client| {
            found.push(client);
            true
        };
        records.each(tell).unwrap();
        assert_eq!(found, [client("one"), client("two")], "{column} = {odd}");
    }
}

#[test]
fn an_old_kernel_asks_for_one_client() {
    let (_directory, file) = place();
    let mut records = open(&file);
    batch(&mut records, |batch| batch.begin_epoch());
    store(&mut records, &["one", "two"]);
    batch(&mut records, |batch| batch.end_grace(1));
    batch(&mut records, |batch| batch.begin_epoch_after(i64::MAX));
    assert_eq!(records.epoch(), 2);
    assert!(batch(&mut records, |batch| batch.claim(&owner("one"))));
    assert!(!batch(&mut records, |batch| batch.claim(&owner("three"))));
    batch(&mut records, |batch| batch.begin_epoch_after(i64::MAX));
    assert_eq!(records.epoch(), 2, "it goes on");
    batch(&mut records, |batch| batch.end_grace(2));
    // Once more, of the server that had started before.
    batch(&mut records, |batch| batch.begin_epoch_after(1));
    assert_eq!(records.epoch(), 2);
    assert_eq!(all(&records), ["one"]);
    assert!(!batch(&mut records, |batch| batch.claim(&owner("two"))));
}

#[test]
fn an_epoch_is_named_by_its_number_and_when_it_started_and_in_which_file() {
    let (_directory, file) = place();
    let mut records = open(&file);
    assert_eq!(records.epoch_name(), [0; 16]);
    batch(&mut records, |batch| batch.begin_epoch());
    let first = records.epoch_name();
    assert_eq!(first[..8], 1u64.to_ne_bytes());
    let began = u32::from_ne_bytes(first[8..12].try_into().unwrap());
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() as u32;
    assert!(began.abs_diff(now) < 60);
    // By another way, most likely within the same second.
    batch(&mut records, |batch| batch.end_grace(1));
    let named = batch(&mut records, |batch| {
        batch.begin_epoch_after(i64::MAX)?;
        Ok(batch.epoch_name())
    });
    assert_eq!(named[..8], 2u64.to_ne_bytes());
    assert_eq!(records.epoch_name(), named);
    // What is not committed has not begun.
    drop(records.begin().map(|mut batch| batch.begin_epoch()));
    assert_eq!(records.epoch_name(), named);
    drop(records);
    assert_eq!(open(&file).epoch_name(), named);
    // A copy that was put back.
    let copy = file.with_extension("copy");
    std::fs::copy(&file, &copy).unwrap();
    std::fs::remove_file(&file).unwrap();
    std::fs::rename(&copy, &file).unwrap();
    let copied = open(&file);
    assert_eq!(copied.epoch_name()[..12], named[..12]);
    assert_ne!(copied.epoch_name(), named);
    let named = copied.epoch_name();
    drop(copied);
    // Another file, with the same number.
    let sql = "UPDATE epochs SET started = started - 1 WHERE epoch = 2";
    Connection::open(&file).unwrap().execute(sql, ()).unwrap();
    let other = open(&file);
    assert_eq!(other.epoch(), 2);
    assert_ne!(other.epoch_name(), named);
}

#[test]
fn what_is_not_committed_is_not_stored() {
    let (_directory, file) = place();
    let mut records = open(&file);
    batch(&mut records, |batch| batch.begin_epoch());
    let mut lost = records.begin().unwrap();
    lost.store(&client("one")).unwrap();
    let hold = Hold {
        owner: None,
        export: ExportName::new(b"1234").unwrap(),
        file_system: None,
    };
    lost.hold(&hold).unwrap();
    lost.all_held(u64::MAX).unwrap();
    lost.begin_epoch().unwrap();
    drop(lost);
    assert_eq!(records.epoch(), 1);
    assert!(all(&records).is_empty());
    assert_eq!(records.held().unwrap(), Some(Held::new()));
    assert!(!batch(&mut records, |batch| batch.is_all_held()));
}

#[test]
fn a_second_daemon_is_refused() {
    let (_directory, file) = place();
    let first = open(&file);
    assert!(matches!(Store::open(&file), Err(Error::InUse(_))));
    drop(first);
    assert!(!Store::open(&file).unwrap().1);
}

#[test]
fn other_files_and_versions_are_left_alone() {
    let (_directory, file) = place();
    let make = |sql: &str| {
        let _ = fs::remove_file(&file);
        Connection::open(&file).unwrap().execute_batch(sql).unwrap();
        let before = fs::read(&file).unwrap();
        let error = Store::open(&file).unwrap_err();
        assert_eq!(fs::read(&file).unwrap(), before);
        error
    };
    assert!(matches!(
        make("CREATE TABLE grace (current, recovery)"),
        Error::Foreign(_)
    ));
    assert!(matches!(
        make("CREATE TABLE schema (x)"),
        Error::Foreign(_) | Error::Sqlite { .. }
    ));
    assert!(matches!(
        make("CREATE TABLE schema (version); INSERT INTO schema VALUES ('x')"),
        Error::Foreign(_)
    ));
    let version =
        |n: i64| format!("CREATE TABLE schema (version); INSERT INTO schema VALUES ({n})");
    assert!(
        matches!(make(&version(VERSION + 1)), Error::Newer { version, .. } if version == VERSION + 1)
    );
    assert!(matches!(make(&version(0)), Error::Older { version: 0, .. }));
    fs::write(
        &file,
        "no database, but some text, which is as long as it is",
    )
    .unwrap();
    assert!(matches!(Store::open(&file), Err(Error::Sqlite { .. })));
}

#[test]
fn a_file_that_is_taken_away_is_not_written() {
    let (directory, file) = place();
    let mut records = open(&file);
    batch(&mut records, |batch| batch.begin_epoch());
    let away = directory.path().join("away");
    fs::rename(&file, &away).unwrap();
    assert!(matches!(records.begin(), Err(Error::Moved(_))));
    fs::write(&file, "").unwrap();
    assert!(matches!(records.begin(), Err(Error::Moved(_))));
    fs::rename(&away, &file).unwrap();
    store(&mut records, &["one"]);
    fs::remove_file(directory.path().join("records.sqlite-wal")).unwrap();
    assert!(matches!(records.begin(), Err(Error::Moved(_))));
}

#[test]
fn who_writes_it_meanwhile_is_waited_for_a_moment() {
    let (_directory, file) = place();
    let mut records = open(&file);
    batch(&mut records, |batch| batch.begin_epoch());
    let other = Connection::open(&file).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = records.begin().unwrap_err();
    assert_eq!(error.errno(), rustix::io::Errno::BUSY);
    other
        .execute_batch("ROLLBACK; BEGIN; SELECT * FROM clients")
        .unwrap();
    store(&mut records, &["one"]);
    assert_eq!(all(&records), ["one"]);
}

#[test]
fn the_log_has_room_and_says_the_same_after_a_crash() {
    let (directory, file) = place();
    let copy = directory.path().join("copy");
    let mut records = open(&file);
    let log = |file: &Path| file.with_file_name("records.sqlite-wal");
    let length = || log(&file).metadata().unwrap().len();
    let room = length();
    assert!(room > 4_000_000);
    batch(&mut records, |batch| batch.begin_epoch());
    for number in 0..40 {
        let name = format!("client-{number}");
        let hold = Hold {
            owner: Owner::new(&name[..]).ok(),
            export: ExportName::new(name.as_bytes()).unwrap(),
            file_system: None,
        };
        batch(&mut records, |batch| {
            batch.store(&client(&name))?;
            batch.hold(&hold)
        });
        // What a crash would leave.
        fs::create_dir(&copy).unwrap();
        let crashed = copy.join("records.sqlite");
        fs::copy(&file, &crashed).unwrap();
        fs::copy(log(&file), log(&crashed)).unwrap();
        let crashed = open(&crashed);
        assert_eq!(all(&crashed).len(), number + 1);
        assert_eq!(crashed.held().unwrap().unwrap().len(), number + 1);
        drop(crashed);
        fs::remove_dir_all(&copy).unwrap();
    }
    assert_eq!(length(), room);
}

#[test]
fn who_is_forgotten_is_removed_in_parts() {
    let (_directory, file) = place();
    let mut records = open(&file);
    batch(&mut records, |batch| batch.begin_epoch());
    batch(&mut records, |batch| {
        (0..=store::PURGED).try_for_each(|number| batch.store(&client(&format!("client-{number}"))))
    });
    batch(&mut records, |batch| batch.begin_epoch());
    store(&mut records, &["client-0", "new"]);
    batch(&mut records, |batch| batch.end_grace(2));
    assert!(batch(&mut records, |batch| batch.purge()));
    // What is not committed is to be done again.
    drop(records.begin().map(|mut batch| batch.purge()));
    assert!(records.is_stale());
    assert!(!batch(&mut records, |batch| batch.purge()));
    assert!(!records.is_stale());
    let left = Connection::open(&file).unwrap();
    let left: i64 = left
        .query_row("SELECT count(*) FROM clients", (), |row| row.get(0))
        .unwrap();
    assert_eq!(left, 2);
    assert_eq!(all(&records), ["client-0", "new"]);
}

#[test]
fn others_cannot_read_it() {
    use std::os::unix::fs::PermissionsExt;
    let (_directory, file) = place();
    let mut records = open(&file);
    batch(&mut records, |batch| batch.begin_epoch());
    for entry in fs::read_dir(file.parent().unwrap()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{entry:?}");
    }
}
