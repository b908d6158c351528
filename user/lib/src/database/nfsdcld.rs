// SPDX-License-Identifier: GPL-2.0
//! The tables of nfsdcld, and of nfsdcltrack before it.
//!
//! | version | |
//! |---|---|
//! | 1 of nfsdcld; nfsdcltrack | one table, `clients`: all that are in it may reclaim |
//! | 2, 3 | `grace` with the numbers of the current epoch and of that before, if that may still be reclaimed (else 0), and a table for each: `rec-` and the number in hexadecimal digits, in some without the leading zeros, with the names in `id` |
//! | 4 | there, `princhash` has the SHA-256 of the principal, if there is one |

use super::careful::Careful;
use super::{bytes, Standing};
use crate::owner::Owner;
use crate::records::Client;
use rusqlite::types::ValueRef;
use rusqlite::OptionalExtension;

/// Tables of nfsdcld's at a time: the current epoch, the one before, and what is being made.
const TABLES_MAX: usize = 16;
/// The table of old versions.
const OLD: &str = "clients";

/// Tells of each client on record. One may come twice.
pub(super) fn each(
    database: &Careful,
    tell: &mut impl FnMut(Client, Standing),
) -> rusqlite::Result<()> {
    let tables = tables(database)?;
    if tables.is_empty() && database.has_table(OLD)? {
        return each_of(database, OLD, Standing::Stored, tell);
    }
    for (name, standing) in tables {
        each_of(database, &name, standing, tell)?;
    }
    Ok(())
}

/// The tables of those who may reclaim.
fn tables(database: &Careful) -> rusqlite::Result<Vec<(String, Standing)>> {
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND rootpage > 0";
    let mut statement = database.connection.prepare(sql)?;
    let names = statement.query_map((), |row| match row.get_ref(0)? {
        ValueRef::Text(name) => Ok(String::from_utf8_lossy(name).into_owned()),
        _ => Ok(String::new()),
    })?;
    let epochs = names.filter_map(|name| match name {
        Ok(name) => epoch(&name).map(|epoch| Ok((epoch, name))),
        Err(e) => Some(Err(e)),
    });
    let mut epochs: Vec<(u64, String)> = epochs.take(TABLES_MAX).collect::<Result<_, _>>()?;
    // A database without what it should say of its epochs is of no use to nfsdcld; all of them count then.
    let grace =
        grace(database).filter(|(current, _)| epochs.iter().any(|(epoch, _)| epoch == current));
    if let Some((current, recovery)) = grace {
        epochs.retain(|(epoch, _)| *epoch == current || (*epoch == recovery && recovery != 0));
    }
    let last = epochs.iter().map(|(epoch, _)| *epoch).max();
    let current = grace.map(|(current, _)| current).or(last);
    let with_standing = |(epoch, name)| {
        let standing = if Some(epoch) == current {
            Standing::Stored
        } else {
            Standing::Waiting
        };
        (name, standing)
    };
    Ok(epochs.into_iter().map(with_standing).collect())
}

/// The current epoch, and the one before if it may still be reclaimed, else 0.
fn grace(database: &Careful) -> Option<(u64, u64)> {
    if !database.has_table("grace").ok()? {
        return None;
    }
    let sql = "SELECT current, recovery FROM grace LIMIT 1";
    let row = database.connection.query_row(sql, (), |row| {
        Ok((number(row.get_ref(0)?), number(row.get_ref(1)?)))
    });
    match row.optional().ok()?? {
        (Some(current), Some(recovery)) => Some((current, recovery)),
        _ => None,
    }
}

/// nfsdcld writes the one number as such and the other as text, and counts without a sign.
fn number(value: ValueRef<'_>) -> Option<u64> {
    match value {
        ValueRef::Integer(number) => Some(number as u64),
        ValueRef::Text(text) => std::str::from_utf8(text).ok()?.parse().ok(),
        _ => None,
    }
}

fn each_of(
    database: &Careful,
    table: &str,
    standing: Standing,
    tell: &mut impl FnMut(Client, Standing),
) -> rusqlite::Result<()> {
    // Only letters, digits and a dash are in it.
    debug_assert!(epoch(table).is_some() || table == OLD);
    let prepare = |columns| {
        let sql = format!("SELECT {columns} FROM \"{table}\"");
        database.connection.prepare(&sql)
    };
    // Older ones have no principals.
    let mut statement = prepare("id, princhash").or_else(|_| prepare("id, NULL"))?;
    let mut rows = statement.query(())?;
    while let Some(row) = rows.next()? {
        let Ok(owner) = Owner::new(bytes(row.get_ref(0)?)) else {
            continue;
        };
        let principal = bytes(row.get_ref(1)?).try_into().ok();
        tell(Client::new(owner, principal), standing);
    }
    Ok(())
}

/// The epoch of a table of nfsdcld's with records; `None` if this is the name of something else.
fn epoch(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("rec-")?;
    let are_digits = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    if !are_digits || digits.len() > 16 {
        return None;
    }
    u64::from_str_radix(digits, 16).ok()
}
