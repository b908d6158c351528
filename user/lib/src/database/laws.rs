// SPDX-License-Identifier: GPL-2.0
//! What must hold of a database, whatever is in it: see [`crate::laws`].

use super::*;
use std::fs;

/// How long reading may take here.
const TIME: Duration = Duration::from_secs(2);

/// A database is read in bounded time, or refused, and nothing is changed of it and beside it.
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
    fs::write(directory.path().join(NAME), main).unwrap();
    if let Some(name) = [None, Some(JOURNALS[0]), Some(JOURNALS[1])][usize::from(kind % 3)] {
        fs::write(directory.path().join(name), journal).unwrap();
    }
    let before = content(directory.path());
    let began = Instant::now();
    let _ = Database::within(directory.path(), TIME).and_then(|database| {
        database.each(|owner, hash| {
            assert!((1..=crate::owner::MAX).contains(&owner.bytes().len()));
            assert!(hash.is_none_or(|hash| hash.len() == 64));
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
