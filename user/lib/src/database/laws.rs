// SPDX-License-Identifier: GPL-2.0
//! What must hold of a database, whatever is in it: see [`crate::laws`].

use super::careful::{JOURNAL, LOG, NAMES};
use super::*;
use crate::scope::Fsid;
use std::collections::HashSet;
use std::fs;
use std::time::Instant;

/// When that is, in seconds since 1970.
const NOW: i64 = 1_800_000_000;
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
        for one in database.nlm()? {
            let printable = |byte| u8::is_ascii_graphic(&byte);
            assert!(one.caller.len() < 256 && one.caller.bytes().all(printable));
        }
        database.connections()?;
        let mut all = HashSet::new();
        database.clients(|client, _| {
            assert!((1..=crate::owner::MAX).contains(&client.owner.bytes().len()));
            all.insert(client.owner);
        })?;
        database.holds(|hold, _| {
            assert!((1..=64).contains(&hold.export.as_str().len()));
        })?;
        let exports = Wanted::exports([Some(Fsid::Number(1234))]);
        for wanted in [exports, Wanted::Unknown] {
            // Who is left out is in doubt to nobody: it is a part of them.
            let (mut listed, mut told) = (HashSet::new(), 0);
            let taken = database.holders(&wanted, NOW, |owner, _| {
                told += 1;
                assert!(all.contains(&owner));
                listed.insert(owner);
            })?;
            match taken {
                Taken::Holders { taken, of } => assert!(taken == told && told <= of),
                Taken::All(_) => assert_eq!(listed, all),
            }
        }
        Ok(())
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
