// SPDX-License-Identifier: GPL-2.0
//! What nobody asks for any more is removed in parts, so that an upcall need not wait for all of it.

use super::{failed, Batch, MAY_RECLAIM};
use crate::records::Error;
use rusqlite::OptionalExtension;

/// How many rows are looked at at a time, for those of old epochs.
pub(in crate::records) const PURGED: i64 = 10_000;
/// How many ended epochs are kept, for who looks.
const EPOCHS_KEPT: i64 = 100;

/// Where to look next.
#[derive(Clone, Debug)]
pub(super) enum Stale {
    /// Behind this client.
    Clients(i64),
    /// Behind what those of this name hold, or at the first row.
    Holds(Option<Vec<u8>>),
}

impl Stale {
    /// Nothing was looked at yet.
    pub const FIRST: Self = Self::Clients(0);
}

impl Batch<'_> {
    /// Removes a part of what nobody asks for any more. Returns whether there is more of it.
    pub fn purge(&mut self) -> Result<bool, Error> {
        let Some(stale) = self.purge.clone() else {
            return Ok(false);
        };
        let next = match stale {
            Stale::Clients(from) => match self.purge_clients(from)? {
                Some(to) => Some(Stale::Clients(to)),
                None => self.purge_holds(None)?,
            },
            Stale::Holds(from) => self.purge_holds(from.as_deref())?,
        };
        self.purge = next;
        if self.purge.is_none() {
            // The last one that has ended says who may reclaim.
            let sql = "DELETE FROM epochs WHERE epoch <= ?1 - ?2
                AND epoch < (SELECT max(epoch) FROM epochs WHERE ended IS NOT NULL)";
            self.execute(sql, (self.current.epoch, EPOCHS_KEPT))?;
        }
        Ok(self.purge.is_some())
    }

    /// Returns behind which client to go on, if there are more.
    fn purge_clients(&mut self, from: i64) -> Result<Option<i64>, Error> {
        let to = from + PURGED;
        let sql = format!("DELETE FROM clients WHERE id > ?1 AND id <= ?2 AND NOT {MAY_RECLAIM}");
        self.execute(&sql, (from, to))?;
        let sql = "SELECT coalesce(max(id), 0) FROM clients";
        let last: rusqlite::Result<i64> = self.transaction.query_row(sql, (), |row| row.get(0));
        Ok((to < last.map_err(failed(self.file))?).then_some(to))
    }

    /// Returns where to go on, if there is more. All that one client holds is looked at together.
    fn purge_holds(&mut self, from: Option<&[u8]>) -> Result<Option<Stale>, Error> {
        // A text comes before each name, also the empty one, as these are blobs.
        const BEHIND: &str = "name > coalesce(?1, '')";
        let sql = format!("SELECT name FROM holds WHERE {BEHIND} ORDER BY name LIMIT 1 OFFSET ?2");
        let to: rusqlite::Result<Option<Vec<u8>>> = self
            .transaction
            .query_row(&sql, (from, PURGED - 1), |row| row.get(0))
            .optional();
        let to = to.map_err(failed(self.file))?;
        let sql = format!(
            "DELETE FROM holds WHERE {BEHIND} AND (?2 IS NULL OR name <= ?2) AND NOT {MAY_RECLAIM}"
        );
        self.execute(&sql, (from, to.as_deref()))?;
        Ok(to.map(|to| Stale::Holds(Some(to))))
    }
}
