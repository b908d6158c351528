// SPDX-License-Identifier: GPL-2.0
//! On which exports clients hold something, for who reads.

use super::{integer, Reader, MAY_RECLAIM};
use crate::records::{Epoch, Error, Hold, Start};

/// A Hold on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldRecord {
    /// Who holds something on which export.
    pub hold: Hold,
    /// Since when, in seconds since 1970.
    pub since: i64,
    /// The epoch in which it was stored last.
    pub epoch: Epoch,
    /// Does it count? Else its epoch is over, and it will be removed.
    pub counts: bool,
}

impl Reader {
    /// Tells of each Hold, also of those that do not count any more. Returns whether these are all rows: what is no Hold is
    /// passed over. A file of an older version has none.
    pub fn each_hold(&self, mut tell: impl FnMut(HoldRecord)) -> Result<bool, Error> {
        let mut each = || {
            if !self.has_holds() {
                return Ok(true);
            }
            let sql =
                format!("SELECT name, export, file_system, since, epoch, {MAY_RECLAIM} FROM holds");
            let mut statement = self.opened.connection.prepare(&sql)?;
            let mut rows = statement.query(())?;
            let mut all = true;
            while let Some(row) = rows.next()? {
                match (Hold::of_row(row)?, integer(row, 4)?) {
                    (Some(hold), Some(epoch)) => tell(HoldRecord {
                        hold,
                        since: integer(row, 3)?.unwrap_or_default(),
                        epoch,
                        counts: integer(row, 5)? == Some(1),
                    }),
                    _ => all = false,
                }
            }
            Ok(all)
        };
        self.result(each())
    }
}

impl Start {
    /// Was all that is held on record at this time, in seconds since 1970? A clock that was set back says no.
    pub fn is_all_held(&self, now: i64) -> bool {
        let held = self.held_from.zip(self.held_until);
        held.is_some_and(|(from, until)| (from..=until).contains(&now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::owner::Owner;
    use crate::records::{ExportName, FileSystem, Store};
    use rusqlite::Connection;
    use std::path::{Path, PathBuf};

    fn made(sql: &str) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("records.sqlite");
        drop(Store::open(&file).unwrap());
        let connection = Connection::open(&file).unwrap();
        connection.execute_batch(sql).unwrap();
        (directory, file)
    }

    fn all(file: &Path) -> (Vec<HoldRecord>, bool) {
        let mut all = Vec::new();
        let whole = Reader::open(file)
            .unwrap()
            .each_hold(|hold| all.push(hold))
            .unwrap();
        (all, whole)
    }

    const HOLDS: &str = "INSERT INTO epochs (epoch, started, ended) VALUES (1, 1, 1), (2, 2, 2);
        INSERT INTO holds VALUES (x'', '1234', x'', 2, 7),
            (x'6f6e65', 'dev:8:1', CAST('0123456789abcdef' AS BLOB), 1, 6);";

    #[test]
    fn each_hold_is_told() {
        let (_directory, file) = made(HOLDS);
        let record = |name: &str, export: &[u8], file_system, epoch, since| HoldRecord {
            hold: Hold {
                owner: Owner::new(name).ok(),
                export: ExportName::new(export).unwrap(),
                file_system,
            },
            since,
            epoch,
            counts: epoch == 2,
        };
        let uuid = Some(FileSystem::from_bytes(*b"0123456789abcdef"));
        let expected = [
            record("", b"1234", None, 2, 7),
            record("one", b"dev:8:1", uuid, 1, 6),
        ];
        assert_eq!(all(&file), (expected.into(), true));
    }

    #[test]
    fn what_is_no_hold_is_passed_over_and_that_is_told() {
        for odd in [
            "x'00', '', x'', 2, 0",
            "x'00', 'a b', x'', 2, 0",
            "x'00', '1', x'00', 2, 0",
            "zeroblob(1025), '1', x'', 2, 0",
        ] {
            let (_directory, file) = made(&format!("{HOLDS} INSERT INTO holds VALUES ({odd})"));
            let (holds, whole) = all(&file);
            assert_eq!((holds.len(), whole), (2, false), "{odd}");
        }
    }

    #[test]
    fn all_is_held_within_a_time() {
        let start = |held_from, held_until| Start {
            epoch: 1,
            started: 0,
            ended: None,
            held_from,
            held_until,
        };
        let within = start(Some(10), Some(20));
        assert!([10, 15, 20].into_iter().all(|now| within.is_all_held(now)));
        assert!(![9, 21, 0, i64::MAX]
            .into_iter()
            .any(|now| within.is_all_held(now)));
        assert!(start(Some(10), Some(i64::MAX)).is_all_held(i64::MAX));
        for start in [
            start(None, None),
            start(Some(1), None),
            start(None, Some(9)),
            start(Some(9), Some(1)),
        ] {
            assert!(!start.is_all_held(5), "{start:?}");
        }
    }
}
