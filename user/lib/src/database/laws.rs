// SPDX-License-Identifier: GPL-2.0
//! What must hold of a database, whatever is in it: see [`crate::laws`].

use super::careful::{JOURNAL, LOG, NAMES};
use super::*;
use std::fs;
use std::time::Instant;

/// How long reading may take here.
const TIME: Duration = Duration::from_secs(2);

/// A database, of whichever daemon, is read in bounded time, or refused, and nothing is changed of it and beside it.
///
/// The first byte says what comes with it (nothing, a rollback journal, a log), the next two how many
/// bytes of the rest are that.
pub fn database(input: &[u8]) {
    let [kind, low, high, rest @ ..] = input else {
        return;
    };
    let length = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
    let (journal, main) = rest.split_at(length);
    let directory = tempfile::tempdir().unwrap();
    let file = NAMES[0];
    fs::write(directory.path().join(file), main).unwrap();
    if let Some(suffix) = [None, Some(JOURNAL), Some(LOG)][usize::from(kind % 3)] {
        fs::write(directory.path().join(format!("{file}{suffix}")), journal).unwrap();
    }
    let before = content(directory.path());
    let began = Instant::now();
    let _ = Database::within(directory.path(), TIME).and_then(|database| {
        database.clients(|client, _| {
            assert!((1..=crate::owner::MAX).contains(&client.owner.bytes().len()));
        })
    });
    assert!(began.elapsed() < 5 * TIME);
    assert_eq!(content(directory.path()), before);
}

fn content(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(directory).unwrap().flatten();
    let mut all: Vec<_> = entries
        .map(|entry| (entry.path(), fs::read(entry.path()).unwrap()))
        .collect();
    all.sort();
    all
}
