// SPDX-License-Identifier: GPL-2.0
//! The tables, and which version of them a file has.

use rusqlite::{Connection, OptionalExtension};

/// The version of the tables that this program writes.
pub const VERSION: i64 = 1;

/// Names are bytes that a client chose; addresses and exports are text, times are seconds since 1970.
const TABLES: &str = "
CREATE TABLE schema (version INTEGER NOT NULL) STRICT;
CREATE TABLE epochs (
    epoch INTEGER PRIMARY KEY,
    started INTEGER NOT NULL,
    ended INTEGER
) STRICT;
CREATE TABLE clients (
    id INTEGER PRIMARY KEY,
    name BLOB NOT NULL UNIQUE,
    principal BLOB,
    minor INTEGER,
    address TEXT,
    since INTEGER NOT NULL,
    epoch INTEGER NOT NULL
) STRICT;
";

/// What a file is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// It has nothing in it yet.
    Empty,
    /// Records, of this version.
    Records(i64),
    /// Something else.
    Foreign,
}

/// Looks at what a file is. Fails if SQLite cannot read it.
pub(super) fn find(connection: &Connection) -> rusqlite::Result<Found> {
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0))?;
    if tables == 0 {
        return Ok(Found::Empty);
    }
    let sql =
        "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'schema' AND rootpage > 0";
    let ours: Option<i64> = connection.query_row(sql, (), |row| row.get(0)).optional()?;
    if ours.is_none() {
        return Ok(Found::Foreign);
    }
    let version = connection.query_row("SELECT version FROM schema", (), |row| row.get(0));
    Ok(match version {
        Ok(version) => Found::Records(version),
        Err(rusqlite::Error::SqliteFailure(..)) => version.map(Found::Records)?,
        Err(_) => Found::Foreign,
    })
}

/// Makes the tables in an empty file. In the midst of a transaction.
pub(super) fn create(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(TABLES)?;
    connection.execute("INSERT INTO schema VALUES (?1)", (VERSION,))?;
    Ok(())
}
