// SPDX-License-Identifier: GPL-2.0
//! On which exports clients hold something.

use super::*;
use std::path::{Path, PathBuf};

const UUID: &[u8] = b"0123456789abcdef";

fn hold(name: &str, export: &str) -> Vec<u8> {
    upcall_3(6, &[(1, name.as_bytes()), (6, export.as_bytes())])
}

fn nlm_holds(export: &str) -> Vec<u8> {
    upcall_3(6, &[(6, export.as_bytes()), (7, UUID)])
}

fn create(name: &str) -> Vec<u8> {
    upcall_3(0, &[(1, name.as_bytes())])
}

fn all_held(epoch: [u8; 16], until: u64) -> Vec<u8> {
    upcall_3(8, &[(5, &epoch), (8, &until.to_ne_bytes())])
}

fn now() -> u64 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()
}

fn place() -> (tempfile::TempDir, PathBuf, Store) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("records");
    let store = Store::open(&file).unwrap().0;
    (directory, file, store)
}

/// Does what these ask for, and is told so.
fn done(store: &mut Store, messages: &[Vec<u8>]) {
    let answers = raw(store, messages);
    let expected: Vec<_> = messages.iter().map(|message| header(message, 0)).collect();
    assert_eq!(answers, expected);
}

/// What a start is told: the records that it has, and the end of it.
fn started(store: &mut Store) -> (Option<Vec<u8>>, Vec<u8>) {
    let mut answers = raw(store, &[start_3()]);
    let end = answers.pop().unwrap();
    assert!(answers.len() <= 1);
    (answers.pop(), end)
}

/// Answers with these records.
fn told(attributes: &[(u16, &[u8])]) -> Option<Vec<u8>> {
    let mut records = upcall_3(4, attributes);
    records[2..4].copy_from_slice(&(-115i16).to_ne_bytes());
    Some(records)
}

/// The end of a start whose exports are known.
fn known(store: &Store) -> Vec<u8> {
    upcall_3(4, &[(5, &store.epoch_name()), (11, b"")])
}

fn unknown(store: &Store) -> Vec<u8> {
    upcall_3(4, &[(5, &store.epoch_name())])
}

#[test]
fn what_was_held_is_told_if_all_of_it_was_stored() {
    let (_directory, _file, mut store) = place();
    started(&mut store);
    let epoch = store.epoch_name();
    let messages = [
        create("one"),
        create("two"),
        hold("one", "1234"),
        hold("one", "5678"),
        nlm_holds("1234"),
        hold("one", "7"),
        upcall_3(7, &[(1, b"one"), (6, b"7")]),
        upcall_3(7, &[(1, b"one"), (6, b"8")]),
        // Its Create was not stored.
        hold("unknown", "5678"),
        all_held(epoch, now() + 60),
    ];
    done(&mut store, &messages);
    let (records, end) = started(&mut store);
    let [none, one, two] = [0u32, 1, 2].map(u32::to_ne_bytes);
    let expected = [
        (1, &b"one"[..]),
        (10, &two),
        (1, b"two"),
        (10, &none),
        (6, b"1234"),
        (9, &one),
        (6, b"1234"),
        (7, UUID),
        (9, &two),
        (6, b"5678"),
        (9, &one),
    ];
    assert_eq!(records, told(&expected));
    assert_eq!(end, known(&store));
    // This start has not said yet that it stores all.
    let (records, end) = started(&mut store);
    assert_eq!(records, told(&[(1, b"one"), (1, b"two")]));
    assert_eq!(end, unknown(&store));
}

#[test]
fn nothing_held_is_told_too() {
    let (_directory, _file, mut store) = place();
    started(&mut store);
    let epoch = store.epoch_name();
    done(&mut store, &[all_held(epoch, u64::MAX)]);
    assert_eq!(started(&mut store), (None, known(&store)));
}

#[test]
fn what_was_held_is_not_known_when_that_has_not_held_until_now() {
    let (_directory, _file, mut store) = place();
    started(&mut store);
    let of = |store: &Store, until| all_held(store.epoch_name(), until);
    let messages = [of(&store, now() + 60), of(&store, now() - 1)];
    done(&mut store, &messages);
    assert_eq!(started(&mut store), (None, unknown(&store)));
    // Of another epoch it changes nothing.
    let mut other = store.epoch_name();
    other[8] ^= 1;
    for epoch in [other, [0; 16]] {
        done(&mut store, &[all_held(epoch, u64::MAX)]);
    }
    assert_eq!(started(&mut store), (None, unknown(&store)));
    let said = of(&store, u64::MAX);
    done(&mut store, &[said]);
    assert_eq!(started(&mut store), (None, known(&store)));
}

#[test]
fn an_old_kernel_is_told_clients_only() {
    let (_directory, _file, mut store) = place();
    started(&mut store);
    let epoch = store.epoch_name();
    let messages = [
        create("one"),
        hold("one", "1234"),
        all_held(epoch, u64::MAX),
    ];
    done(&mut store, &messages);
    let (answers, well) = said(&mut store, &[upcall(4, "")]);
    let expected = [(4, -115, "one".to_owned()), (4, 0, String::new())];
    assert_eq!((answers, well), (expected.into(), true));
    // It does not say what is held: the next one of ours cannot know.
    assert_eq!(started(&mut store).1, unknown(&store));
}

#[test]
fn a_table_that_cannot_be_read_keeps_nobody_from_reclaiming() {
    let (_directory, file, mut store) = place();
    started(&mut store);
    let epoch = store.epoch_name();
    let messages = [
        create("one"),
        hold("one", "1234"),
        all_held(epoch, u64::MAX),
    ];
    done(&mut store, &messages);
    // As damage would have it.
    let other = rusqlite::Connection::open(&file).unwrap();
    other
        .execute_batch("ALTER TABLE holds RENAME TO away")
        .unwrap();
    assert_eq!(started(&mut store), (told(&[(1, b"one")]), unknown(&store)));
}

/// Looks, when each answer comes, at what a crash would leave then.
struct Crashes<'a> {
    file: &'a Path,
    /// Exports that something is held on.
    held: Vec<usize>,
}

impl Answers for Crashes<'_> {
    fn answer(&mut self, _: &[u8]) -> io::Result<()> {
        let crashed = tempfile::tempdir().unwrap();
        for name in ["records", "records-wal"] {
            std::fs::copy(self.file.with_file_name(name), crashed.path().join(name)).unwrap();
        }
        let (mut store, _) = Store::open(&crashed.path().join("records")).unwrap();
        let is_all_held = store.begin().unwrap().is_all_held().unwrap();
        let held = store.held().unwrap().unwrap().len();
        self.held.push(if is_all_held { 100 + held } else { held });
        Ok(())
    }
}

#[test]
fn what_is_answered_survives_a_crash() {
    let (_directory, file, mut store) = place();
    started(&mut store);
    let epoch = store.epoch_name();
    let mut crashes = Crashes {
        file: &file,
        held: Vec::new(),
    };
    for messages in [
        &[hold("one", "1"), nlm_holds("2")][..],
        &[hold("one", "3")],
        &[upcall_3(7, &[(1, b"one"), (6, b"3")])],
        &[all_held(epoch, u64::MAX), hold("one", "4")],
        &[upcall_3(1, &[(1, b"one")])],
    ] {
        serve(&mut store, messages, &mut crashes).unwrap();
    }
    assert_eq!(crashes.held, [2, 2, 3, 2, 103, 103, 101]);
}

/// Counts what is told, and keeps nothing but the last answer.
#[derive(Default)]
struct Counts {
    answers: usize,
    bytes: usize,
    last: Vec<u8>,
}

impl Answers for Counts {
    fn answer(&mut self, answer: &[u8]) -> io::Result<()> {
        self.answers += 1;
        self.bytes += answer.len();
        self.last = answer.to_vec();
        Ok(())
    }
}

/// The most memory that this process has had, in KiB.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    line.unwrap()
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap()
}

/// `cargo test --release -p nfsd-had million -- --ignored --nocapture` says how long it takes.
#[test]
#[ignore = "fills a disk with a million rows"]
fn a_start_with_a_million_holds_takes_seconds_and_little_memory() {
    let (_directory, file, mut store) = place();
    started(&mut store);
    let epoch = store.epoch_name();
    let other = rusqlite::Connection::open(&file).unwrap();
    other
        .execute_batch(
            "BEGIN;
            WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 99999)
            INSERT INTO clients (name, principal, minor, address, since, epoch)
            SELECT CAST('Linux NFSv4.2 client-' || i AS BLOB), randomblob(32), 2, '192.0.2.50', 0, 1 FROM n
            ORDER BY random();
            INSERT INTO holds SELECT name, '' || (id * 10 + value) % 1000, x'', 1, 0
            FROM clients, (SELECT 0 AS value UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4
                UNION SELECT 5 UNION SELECT 6 UNION SELECT 7 UNION SELECT 8 UNION SELECT 9);
            COMMIT",
        )
        .unwrap();
    done(&mut store, &[all_held(epoch, u64::MAX)]);
    let (before, began) = (peak(), Instant::now());
    let mut counts = Counts::default();
    serve(&mut store, &[start_3()], &mut counts).unwrap();
    let (took, memory) = (began.elapsed(), peak() - before);
    assert_eq!(counts.last, known(&store));
    println!(
        "{took:?}, {memory} KiB more, {} answers, {} bytes",
        counts.answers, counts.bytes
    );
    assert!(took < Duration::from_secs(20), "{took:?}");
    assert!(memory < 32 << 10, "{memory} KiB");
}
