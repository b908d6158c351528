// SPDX-License-Identifier: GPL-2.0
//! Rows that are no clients of NLM, and no connections.

use super::{by_hand, Fault, Reader, LINES};
use crate::records::nlm::{Connected, NlmRecord};
use rusqlite::Row;

/// What is wrong with the rows of both tables; a file of version 1 has none.
pub(super) fn faults(reader: &Reader) -> rusqlite::Result<Vec<Fault>> {
    if !reader.has_nlm() {
        return Ok(Vec::new());
    }
    let fault = |table: &str, rows: usize, sql: &str| Fault {
        what: format!(
            "{rows} rows of the table {table} say nothing: nfsd-had has not written them"
        ),
        fix: by_hand(&reader.opened().file, sql),
    };
    let mut faults = Vec::new();
    let columns = format!("{}, id", NlmRecord::COLUMNS);
    let (rows, ids) = odd(reader, "nlm", &columns, |row| {
        let is_odd = NlmRecord::of_row(row)?.is_none();
        Ok(is_odd.then_some(row.get::<_, i64>(7)?))
    })?;
    if rows > 0 {
        let ids: Vec<_> = ids.iter().map(i64::to_string).collect();
        let sql = format!("DELETE FROM nlm WHERE id IN ({})", ids.join(", "));
        faults.push(fault("nlm", rows, &sql));
    }
    let (rows, _) = odd(reader, "connections", Connected::COLUMNS, |row| {
        Ok(Connected::of_row(row)?.is_none().then_some(()))
    })?;
    if rows > 0 {
        // Who is connected is stored again.
        faults.push(fault("connections", rows, "DELETE FROM connections"));
    }
    Ok(faults)
}

/// How many rows are odd, and the first ones of them.
fn odd<T>(
    reader: &Reader,
    table: &str,
    columns: &str,
    odd: impl Fn(&Row<'_>) -> rusqlite::Result<Option<T>>,
) -> rusqlite::Result<(usize, Vec<T>)> {
    let sql = format!("SELECT {columns} FROM {table}");
    let mut statement = reader.opened().connection.prepare(&sql)?;
    let mut rows = statement.query(())?;
    let (mut all, mut first) = (0, Vec::new());
    while let Some(row) = rows.next()? {
        if let Some(one) = odd(row)? {
            all += 1;
            first.extend(Some(one).filter(|_| all <= LINES));
        }
    }
    Ok((all, first))
}
