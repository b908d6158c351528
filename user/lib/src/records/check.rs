// SPDX-License-Identifier: GPL-2.0
//! Is a file of records sound?

mod nlm;

use super::reader::{in_place, Reader};
use super::schema;
use super::Error;
use rusqlite::ffi::ErrorCode;
use rusqlite::Connection;
use std::net::IpAddr;
use std::path::Path;

/// How much SQLite says of a damage.
const LINES: usize = 10;

/// Who holds something.
const HOLDS: &str = "holds";

/// Rows that nfsd-had does not write: the table, which they are, and what they are.
const ODD: &[(&str, &str, &str)] = &[
    (
        "clients",
        "typeof(name) != 'blob' OR length(name) NOT BETWEEN 1 AND 1024",
        "have no name of a client",
    ),
    (
        "clients",
        "principal IS NOT NULL AND (typeof(principal) != 'blob' OR length(principal) != 32)",
        "have a principal that is no SHA-256",
    ),
    (
        "clients",
        "minor NOT BETWEEN 0 AND 255",
        "have no minor version of NFSv4",
    ),
    (
        "clients",
        "epoch NOT BETWEEN 0 AND (SELECT coalesce(max(epoch), 0) FROM epochs)",
        "are of an epoch that has not begun",
    ),
    ("epochs", "epoch < 1", "have no number of an epoch"),
    (
        HOLDS,
        "typeof(name) != 'blob' OR length(name) > 1024",
        "have a name that is none of a client",
    ),
    // Of visible ASCII. An exclamation mark, which is the first of it, is no plain one to a shell.
    (
        HOLDS,
        "typeof(export) != 'text' OR length(CAST(export AS BLOB)) NOT BETWEEN 1 AND 64
            OR length(export) != length(CAST(export AS BLOB)) OR export GLOB '*[^' || char(33) || '-~]*'",
        "have no fsid of an export",
    ),
    (
        HOLDS,
        "typeof(file_system) != 'blob' OR length(file_system) NOT IN (0, 16)",
        "have a file system that is no UUID",
    ),
    (
        HOLDS,
        "epoch NOT BETWEEN 0 AND (SELECT coalesce(max(epoch), 0) FROM epochs)",
        "are of an epoch that has not begun",
    ),
    (
        "schema",
        "rowid != (SELECT min(rowid) FROM schema)",
        "say the version again",
    ),
];

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Fault {
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub fix: String,
}

/// Looks for what is wrong with the records in a file; nfsd-had may be writing it.
///
/// Fails if there are none, if others could change them, and if they are of a newer version.
pub fn check(file: &Path) -> Result<Vec<Fault>, Error> {
    let mut faults = Vec::new();
    match in_place(file)
        .and_then(Reader::new)
        .and_then(|reader| look(&reader, &mut faults))
    {
        Err(Error::Sqlite { file, source }) if is_damage(&source) => {
            faults.push(damaged(&file, &source.to_string()));
            Ok(faults)
        }
        looked => looked.map(|()| faults),
    }
}

fn look(reader: &Reader, faults: &mut Vec<Fault>) -> Result<(), Error> {
    let opened = reader.opened();
    let (connection, file) = (&opened.connection, &opened.file);
    let mut look = || {
        for line in quick_check(connection)? {
            faults.push(damaged(file, &line));
        }
        let has =
            |table: &str| table == "schema" || schema::tables(reader.version()).contains(&table);
        for (table, condition, what) in ODD.iter().filter(|(table, ..)| has(table)) {
            let sql = format!("SELECT count(*) FROM {table} WHERE {condition}");
            match connection.query_row(&sql, (), |row| row.get(0))? {
                0i64 => {}
                rows => faults.push(Fault {
                    what: format!(
                        "{rows} rows of the table {table} {what}: nfsd-had has not written them"
                    ),
                    fix: by_hand(file, &mended(table, condition)),
                }),
            }
        }
        for address in odd_addresses(connection)? {
            faults.push(Fault {
                what: format!("{address:?} is no address of a server"),
                fix: by_hand(file, "UPDATE clients SET address = NULL"),
            });
        }
        faults.extend(nlm::faults(reader)?);
        for (kind, name) in strangers(connection)? {
            faults.push(Fault {
                what: format!("there is a {kind} {name:?}, which nfsd-had has not made"),
                fix: format!(
                    "stop nfsd-had; sqlite3 {} .schema shows it: DROP it; start nfsd-had again",
                    file.display()
                ),
            });
        }
        Ok(())
    };
    look().map_err(|source| Error::Sqlite {
        file: file.clone(),
        source,
    })
}

/// Without these rows. If one of those who hold something is missing, nobody knows who does.
fn mended(table: &str, condition: &str) -> String {
    let first = match table {
        HOLDS => "UPDATE epochs SET held_until = NULL; ",
        _ => "",
    };
    let words: Vec<_> = condition.split_whitespace().collect();
    format!("{first}DELETE FROM {table} WHERE {}", words.join(" "))
}

fn quick_check(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare(&format!("PRAGMA quick_check({LINES})"))?;
    let lines = statement.query_map((), |row| row.get(0))?;
    let bad = lines.filter(|line| !matches!(line, Ok(line) if line == "ok"));
    bad.collect()
}

fn odd_addresses(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection
        .prepare("SELECT DISTINCT CAST(address AS TEXT) FROM clients WHERE address IS NOT NULL")?;
    let addresses = statement.query_map((), |row| {
        Ok(String::from_utf8_lossy(row.get_ref(0)?.as_bytes()?).into_owned())
    })?;
    let odd = addresses
        .filter(|address| !matches!(address, Ok(address) if address.parse::<IpAddr>().is_ok()));
    odd.take(LINES).collect()
}

/// What runs or is read in place of our tables.
fn strangers(connection: &Connection) -> rusqlite::Result<Vec<(String, String)>> {
    let sql = "SELECT type, name FROM sqlite_schema WHERE type IN ('trigger', 'view') LIMIT ?1";
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map((LINES as i64,), |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect()
}

fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
    )
}

fn damaged(file: &Path, line: &str) -> Fault {
    Fault {
        what: format!("the file is damaged: {line}"),
        fix: format!(
            "stop nfsd-had, keep {0} and {0}-wal, and save what can be read: docs/records.md says how",
            file.display()
        ),
    }
}

fn by_hand(file: &Path, sql: &str) -> String {
    format!(
        "stop nfsd-had; sqlite3 {} \"{sql}\"; start it again",
        file.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::Store;
    use std::path::PathBuf;

    fn made(sql: &str) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("records.sqlite");
        drop(Store::open(&file).unwrap());
        let connection = Connection::open(&file).unwrap();
        connection.execute_batch(sql).unwrap();
        (directory, file)
    }

    fn faults(sql: &str) -> Vec<String> {
        let (_directory, file) = made(sql);
        let faults = check(&file).unwrap();
        // What is said mends it.
        for fault in &faults {
            if let Some(sql) = fault.fix.split('"').nth(1) {
                let connection = Connection::open(&file).unwrap();
                connection.execute_batch(sql).unwrap();
                assert_eq!(check(&file).unwrap(), []);
            }
        }
        faults.into_iter().map(|fault| fault.what).collect()
    }

    const GOOD: &str = "INSERT INTO epochs VALUES (1, 10, 20, NULL, NULL);
        INSERT INTO clients (name, principal, minor, address, since, epoch) VALUES
            (x'6f6e65', zeroblob(32), 2, '192.0.2.50', 10, 1), (x'00', NULL, NULL, NULL, 10, 1);
        INSERT INTO holds VALUES (x'6f6e65', '!1234~', x'', 1, 10), (x'', 'dev:8:1', zeroblob(16), 0, 10);
        INSERT INTO nlm VALUES (1, '1234', '192.0.2.50', '192.0.2.17', 4, 'name', 10, NULL),
            (2, 'dev:8:1', 'fd00::50', 'fd00::17', 4, '', 10, 20);
        INSERT INTO connections VALUES ('192.0.2.50', 2049, '192.0.2.17', 878, 10);";

    #[test]
    fn what_is_as_it_should_be_is_sound() {
        assert_eq!(faults(GOOD), [""; 0]);
        assert_eq!(faults(""), [""; 0]);
    }

    #[test]
    fn each_fault_is_found_and_can_be_mended() {
        for (sql, told) in [
            (
                "UPDATE clients SET name = x'' WHERE name = x'00'",
                "no name",
            ),
            (
                "UPDATE clients SET name = zeroblob(1025) WHERE name = x'00'",
                "no name",
            ),
            ("UPDATE clients SET principal = x'01'", "no SHA-256"),
            ("UPDATE clients SET minor = 256", "no minor version"),
            ("UPDATE clients SET address = 'a'", "no address"),
            ("UPDATE clients SET epoch = 2", "has not begun"),
            (
                "INSERT INTO epochs (epoch, started) VALUES (0, 1)",
                "no number of an epoch",
            ),
            ("INSERT INTO schema VALUES (1)", "the version again"),
            (
                "UPDATE holds SET name = zeroblob(1025) WHERE name = x''",
                "none of a client",
            ),
            ("UPDATE holds SET export = '' WHERE name = x''", "no fsid"),
            ("UPDATE holds SET export = 'a b'", "no fsid"),
            ("UPDATE holds SET export = 'é'", "no fsid"),
            ("UPDATE holds SET export = CAST(x'3100' AS TEXT)", "no fsid"),
            ("UPDATE holds SET export = CAST(x'31ff' AS TEXT)", "no fsid"),
            (
                "UPDATE holds SET export = printf('%065d', 1) WHERE name = x''",
                "no fsid",
            ),
            (
                "UPDATE holds SET file_system = x'00' WHERE name = x''",
                "no UUID",
            ),
            ("UPDATE holds SET epoch = 2", "has not begun"),
            (
                "CREATE TRIGGER t AFTER INSERT ON clients BEGIN DELETE FROM clients; END",
                "trigger",
            ),
            ("CREATE VIEW v AS SELECT 1", "view"),
            ("UPDATE nlm SET version = 2", "2 rows of the table nlm"),
            ("UPDATE nlm SET export = '' WHERE id = 1", "nlm say nothing"),
            (
                "UPDATE nlm SET client = 'a' WHERE id = 1",
                "nlm say nothing",
            ),
            (
                "UPDATE connections SET client_port = 0",
                "connections say nothing",
            ),
            (
                "UPDATE connections SET server = '::1'",
                "connections say nothing",
            ),
        ] {
            let found = faults(&format!("{GOOD} {sql}"));
            assert_eq!(found.len(), 1, "{sql}: {found:?}");
            assert!(found[0].contains(told), "{sql}: {found:?}");
        }
    }

    #[test]
    fn who_mends_what_is_held_does_not_say_that_it_is_all() {
        let (_directory, file) = made(&format!(
            "{GOOD} UPDATE epochs SET held_from = 1, held_until = 100; UPDATE holds SET export = ''"
        ));
        let faults = check(&file).unwrap();
        let connection = Connection::open(&file).unwrap();
        let sql = faults[0].fix.split('"').nth(1).unwrap();
        connection.execute_batch(sql).unwrap();
        let starts = Reader::open(&file).unwrap().starts().unwrap();
        assert!(!starts[0].is_all_held(50));
    }

    #[test]
    fn damage_is_a_fault() {
        let (_directory, file) = made(&format!("{GOOD} PRAGMA journal_mode = DELETE"));
        let sound = std::fs::read(&file).unwrap();
        for range in [0..100, 100..200, 4096 * 2..sound.len()] {
            let mut bytes = sound.clone();
            bytes[range].fill(0x55);
            std::fs::write(&file, bytes).unwrap();
            let faults = check(&file).unwrap();
            assert!(faults[0].what.contains("damaged"), "{faults:?}");
        }
        std::fs::write(&file, "").unwrap();
        assert!(matches!(check(&file), Err(Error::Foreign(_))));
        std::fs::remove_file(&file).unwrap();
        assert!(matches!(check(&file), Err(Error::Absent(_))));
    }
}
