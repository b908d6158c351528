// SPDX-License-Identifier: GPL-2.0
//! On which exports clients have state, and whether that is all.
//!
//! A row counts by the rule by which a client may reclaim: if its epoch is not older than the last one that has ended.

use super::{Batch, Store, MAY_RECLAIM};
use crate::records::hold::{Held, Hold};
use crate::records::{Client, Error};

/// How many exports are told of at most: more would be no list of exports, and take memory without an end.
const EXPORTS_MAX: usize = 65_536;

impl Batch<'_> {
    /// Stores that somebody has state on an export.
    pub fn hold(&mut self, hold: &Hold) -> Result<(), Error> {
        let sql = "INSERT INTO holds (name, export, file_system, epoch, since) VALUES (?1, ?2, ?3, ?4, ?5)
            ON CONFLICT (name, export, file_system) DO UPDATE SET epoch = excluded.epoch";
        let (name, export, file_system) = key(hold);
        let values = (name, export, file_system, self.current.epoch, self.now);
        self.execute(sql, values).map(drop)
    }

    /// Nobody of these has state there any more. Returns whether that was on record.
    pub fn unhold(&mut self, hold: &Hold) -> Result<bool, Error> {
        let sql = "DELETE FROM holds WHERE name = ?1 AND export = ?2 AND file_system = ?3";
        Ok(self.execute(sql, key(hold))? > 0)
    }

    /// All that is held in the current epoch is on record, and will be until this time, in seconds since 1970; 0 takes that
    /// back.
    pub fn all_held(&mut self, until: u64) -> Result<(), Error> {
        let sql = "UPDATE epochs SET held_from = ?1, held_until = ?2 WHERE epoch = ?3";
        let until = i64::try_from(until).unwrap_or(i64::MAX);
        self.execute(sql, (self.now, until, self.current.epoch))
            .map(drop)
    }

    /// Not all that is held in the current epoch may be on record.
    pub fn doubt_holds(&mut self) -> Result<(), Error> {
        let sql = "UPDATE epochs SET held_until = NULL WHERE epoch = ?1";
        self.execute(sql, (self.current.epoch,)).map(drop)
    }

    /// Is all that is held in the current epoch on record now? If this is asked when the next one begins, it was so until the
    /// server stopped. A clock that was set back says no.
    pub fn is_all_held(&self) -> Result<bool, Error> {
        let sql =
            "SELECT count(*) FROM epochs WHERE epoch = ?1 AND ?2 BETWEEN held_from AND held_until";
        let held: rusqlite::Result<i64> =
            self.transaction
                .query_row(sql, (self.current.epoch, self.now), |row| row.get(0));
        Ok(held.map_err(super::failed(self.file))? > 0)
    }
}

impl Store {
    /// Tells of each client that may reclaim as [`Store::each`] does, and on how many exports it holds something.
    pub fn each_with_holds(&self, tell: impl FnMut(Client, u32) -> bool) -> Result<(), Error> {
        let holds = format!(
            "(SELECT count(*) FROM holds WHERE holds.name = clients.name AND {MAY_RECLAIM})"
        );
        self.query(&holds, tell)
    }

    /// The exports on which something is held by clients that may still reclaim, or that are not on record: of these, nobody
    /// knows. `None` if a row names no export, as that may be any.
    ///
    /// It takes memory by the number of exports, and goes through all of the table.
    pub fn held(&self) -> Result<Option<Held>, Error> {
        let held = || {
            // Who is on record and may not reclaim holds nothing.
            let sql = format!(
                "SELECT name, export, file_system FROM holds WHERE {MAY_RECLAIM}
                AND name NOT IN (SELECT name FROM clients WHERE NOT {MAY_RECLAIM})"
            );
            let mut statement = self.connection.prepare(&sql)?;
            let mut rows = statement.query(())?;
            let mut held = Held::new();
            while let Some(row) = rows.next()? {
                let Some(hold) = Hold::of_row(row)? else {
                    return Ok(None);
                };
                let holders = held.entry((hold.export, hold.file_system)).or_default();
                holders.nfs4 |= hold.owner.is_some();
                holders.nlm |= hold.owner.is_none();
                if held.len() > EXPORTS_MAX {
                    return Ok(None);
                }
            }
            Ok(Some(held))
        };
        self.result(held())
    }
}

fn key(hold: &Hold) -> (&[u8], &str, &[u8]) {
    let name = hold.owner.as_ref().map_or(&[][..], |owner| owner.bytes());
    let file_system = hold
        .file_system
        .as_ref()
        .map_or(&[][..], |uuid| uuid.as_bytes());
    (name, hold.export.as_str(), file_system)
}

#[cfg(test)]
mod tests;
