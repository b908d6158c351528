// SPDX-License-Identifier: GPL-2.0
//! Who must be told of a take-over, and who was connected.

use super::Reader;
use crate::records::schema::FIRST;
use crate::records::{Connected, Error, NlmRecord};
use rusqlite::Row;

/// As many rows of a table are read, at most. A server has fewer clients, as has a list of `statd`.
const MOST: usize = 1 << 20;

impl Reader {
    /// Can there be clients of NLM in a file of its version?
    pub fn has_nlm(&self) -> bool {
        self.version > FIRST
    }

    /// The clients of NLM on record, in the order of exports and addresses, a million at most. What is no client is
    /// passed over; a file of version 1 has none.
    pub fn nlm(&self) -> Result<Vec<NlmRecord>, Error> {
        let mut all = self.rows("nlm", NlmRecord::COLUMNS, NlmRecord::of_row)?;
        all.sort_by_key(|one| (one.fsid, one.peer));
        Ok(all)
    }

    /// The connections to floating addresses on record, sorted, a million at most. What is no connection is passed over;
    /// a file of version 1 has none.
    pub fn connections(&self) -> Result<Vec<Connected>, Error> {
        let mut all = self.rows("connections", Connected::COLUMNS, Connected::of_row)?;
        all.sort_by_key(|one| one.connection);
        Ok(all)
    }

    fn rows<T>(
        &self,
        table: &str,
        columns: &str,
        read: impl Fn(&Row<'_>) -> rusqlite::Result<Option<T>>,
    ) -> Result<Vec<T>, Error> {
        if !self.has_nlm() {
            return Ok(Vec::new());
        }
        let rows = || {
            let sql = format!("SELECT {columns} FROM {table} LIMIT {MOST}");
            let mut statement = self.opened.connection.prepare(&sql)?;
            let mut rows = statement.query(())?;
            let mut all = Vec::new();
            while let Some(row) = rows.next()? {
                all.extend(read(row)?);
            }
            Ok(all)
        };
        self.result(rows())
    }
}
