// SPDX-License-Identifier: GPL-2.0
//! Files of an older version of the tables. What was not recorded then is not known: no client holds anything by such a
//! file, and nothing says that this is all ([`super::Start::held_from`]).

use super::place::{connect, failed, Place};
use super::reader::{in_place, version};
use super::schema::{self, Found, FIRST};
use super::{Error, VERSION};
use rusqlite::{Transaction, TransactionBehavior};
use std::path::Path;

/// Brings a file to the [`VERSION`] that this program writes. Returns the version that it had. To repeat it changes
/// nothing.
///
/// Fails if there is none, if it is of a newer version, and if nfsd-had uses it.
pub fn upgrade(file: &Path) -> Result<i64, Error> {
    let found = version(&in_place(file)?)?;
    match found {
        VERSION => return Ok(VERSION),
        FIRST..VERSION => {}
        version if version > VERSION => {
            let file = file.to_owned();
            return Err(Error::Newer { file, version });
        }
        // No program has written such a file.
        _ => return Err(Error::Foreign(file.to_owned())),
    }
    let place = Place::lock(file)?;
    let connection = connect(&place.file).map_err(failed(&place.file))?;
    let upgrade = || {
        let transaction = Transaction::new_unchecked(&connection, TransactionBehavior::Immediate)?;
        // Somebody else may have done it since.
        if schema::find(&transaction)? == Found::Records(found) {
            schema::bring_up(&transaction, found)?;
        }
        transaction.commit()
    };
    upgrade().map_err(failed(&place.file))?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::{check, Reader, Store};
    use rusqlite::Connection;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    /// As the program of that version has made it.
    const FIRST_FILE: &str = "PRAGMA journal_mode = WAL;
        CREATE TABLE schema (version INTEGER NOT NULL) STRICT;
        CREATE TABLE epochs (epoch INTEGER PRIMARY KEY, started INTEGER NOT NULL, ended INTEGER) STRICT;
        CREATE TABLE clients (id INTEGER PRIMARY KEY, name BLOB NOT NULL UNIQUE, principal BLOB, minor INTEGER,
            address TEXT, since INTEGER NOT NULL, epoch INTEGER NOT NULL) STRICT;
        INSERT INTO schema VALUES (1);
        INSERT INTO epochs VALUES (1, 10, 20);
        INSERT INTO clients (name, since, epoch) VALUES (x'6f6e65', 10, 1);";

    /// What a file has: the columns of each table.
    fn columns(file: &Path) -> Vec<(String, String, String)> {
        let connection = Connection::open(file).unwrap();
        let sql = "SELECT t.name, c.name, c.type || c.\"notnull\" || c.pk
            FROM sqlite_schema t, pragma_table_info(t.name) c ORDER BY t.name, c.cid";
        let mut statement = connection.prepare(sql).unwrap();
        let rows = statement.query_map((), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
        rows.unwrap().map(Result::unwrap).collect()
    }

    /// A file of version 1, with a client.
    fn first() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("records.sqlite");
        std::fs::write(&file, "").unwrap();
        std::fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        let connection = Connection::open(&file).unwrap();
        connection.execute_batch(FIRST_FILE).unwrap();
        (directory, file)
    }

    #[test]
    fn a_file_of_the_first_version_is_upgraded_once() {
        let (directory, file) = first();
        let error = Store::open(&file).unwrap_err();
        assert!(matches!(error, Error::Older { version: 1, .. }), "{error}");
        let advice = format!("nfsd-ha records upgrade --records {}", file.display());
        assert!(error.to_string().ends_with(&advice), "{error}");
        assert_eq!(upgrade(&file).unwrap(), 1);
        assert_eq!(upgrade(&file).unwrap(), VERSION);
        let new = directory.path().join("new.sqlite");
        drop(Store::open(&new).unwrap());
        assert_eq!(columns(&file), columns(&new));
        let mut all = Vec::new();
        let reader = Reader::open(&file).unwrap();
        reader.each(|record| all.push(record)).unwrap();
        assert_eq!(all.len(), 1);
        assert!(all[0].may_reclaim);
        let start = &reader.starts().unwrap()[0];
        assert_eq!((start.epoch, start.started, start.ended), (1, 10, Some(20)));
        assert_eq!((start.held_from, start.held_until), (None, None));
        assert_eq!(check(&file).unwrap(), []);
        assert_eq!(Store::open(&file).unwrap().0.epoch(), 1);
    }

    #[test]
    fn a_file_of_the_first_version_is_read_as_it_is() {
        let (_directory, file) = first();
        let before = std::fs::read(&file).unwrap();
        let reader = Reader::open(&file).unwrap();
        assert_eq!(reader.version(), 1);
        let mut all = 0;
        reader.each(|_| all += 1).unwrap();
        assert_eq!(all, 1);
        assert_eq!(reader.starts().unwrap()[0].held_from, None);
        assert_eq!(check(&file).unwrap(), []);
        drop(reader);
        assert_eq!(std::fs::read(&file).unwrap(), before);
    }

    #[test]
    fn who_uses_the_file_has_to_end_first() {
        let (_directory, file) = first();
        let daemon = Place::lock(&file).unwrap();
        assert!(matches!(upgrade(&file), Err(Error::InUse(_))));
        drop(daemon);
        let other = Connection::open(&file).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let error = upgrade(&file).unwrap_err();
        assert_eq!(error.errno(), rustix::io::Errno::BUSY);
        drop(other);
        assert_eq!(upgrade(&file).unwrap(), 1);
    }

    #[test]
    fn what_fails_in_the_middle_leaves_the_old_version() {
        let (_directory, file) = first();
        let set = |sql: &str| Connection::open(&file).unwrap().execute_batch(sql).unwrap();
        set("CREATE TABLE holds (x)");
        assert!(matches!(upgrade(&file), Err(Error::Sqlite { .. })));
        set("DROP TABLE holds");
        assert_eq!(upgrade(&file).unwrap(), 1);
    }

    #[test]
    fn other_versions_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("records.sqlite");
        assert!(matches!(upgrade(&file), Err(Error::Absent(_))));
        drop(Store::open(&file).unwrap());
        assert_eq!(upgrade(&file).unwrap(), VERSION);
        let set = |version: i64| {
            let connection = Connection::open(&file).unwrap();
            connection
                .execute("UPDATE schema SET version = ?1", (version,))
                .unwrap();
        };
        set(VERSION + 1);
        assert!(matches!(upgrade(&file), Err(Error::Newer { .. })));
        set(0);
        assert!(matches!(upgrade(&file), Err(Error::Foreign(_))));
    }
}
