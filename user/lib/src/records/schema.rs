// SPDX-License-Identifier: GPL-2.0
//! The tables, and which version of them a file has.

use rusqlite::{Connection, OptionalExtension};

/// The version of the tables that this program writes.
pub const VERSION: i64 = STEPS.len() as i64;

/// The first version that there was.
pub(super) const FIRST: i64 = 1;

/// From each version to the next one: from an empty file to version 1, from that to 2.
///
/// Names are bytes that a client chose; addresses and exports are text, times are seconds since 1970.
const STEPS: [&str; 2] = [
    "
CREATE TABLE schema (version INTEGER NOT NULL) STRICT;
INSERT INTO schema VALUES (1);
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
",
    // Without a name: clients of NLM. An empty file system is not known.
    "
ALTER TABLE epochs ADD COLUMN held_from INTEGER;
ALTER TABLE epochs ADD COLUMN held_until INTEGER;
CREATE TABLE holds (
    name BLOB NOT NULL,
    export TEXT NOT NULL,
    file_system BLOB NOT NULL,
    epoch INTEGER NOT NULL,
    since INTEGER NOT NULL,
    PRIMARY KEY (name, export, file_system)
) STRICT, WITHOUT ROWID;
CREATE TABLE nlm (
    id INTEGER PRIMARY KEY,
    export TEXT NOT NULL,
    server TEXT NOT NULL,
    client TEXT NOT NULL,
    version INTEGER NOT NULL,
    caller TEXT NOT NULL,
    since INTEGER NOT NULL,
    gone INTEGER,
    UNIQUE (export, server, client, version)
) STRICT;
CREATE TABLE connections (
    server TEXT NOT NULL,
    server_port INTEGER NOT NULL,
    client TEXT NOT NULL,
    client_port INTEGER NOT NULL,
    since INTEGER NOT NULL,
    PRIMARY KEY (server, server_port, client, client_port)
) STRICT, WITHOUT ROWID;
",
];

/// The tables that a file of this version has besides that of the version.
pub(super) fn tables(version: i64) -> &'static [&'static str] {
    match version {
        FIRST => &["epochs", "clients"],
        _ => &["epochs", "clients", "holds", "nlm", "connections"],
    }
}

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

/// Makes of the tables of a version those of [`VERSION`]; an empty file has version 0. In the midst of a transaction.
pub(super) fn bring_up(connection: &Connection, from: i64) -> rusqlite::Result<()> {
    for step in STEPS.iter().skip(from as usize) {
        connection.execute_batch(step)?;
    }
    connection.execute("UPDATE schema SET version = ?1", (VERSION,))?;
    Ok(())
}
