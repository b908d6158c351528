// SPDX-License-Identifier: GPL-2.0
//! From records to a database of nfsdcld, for who goes back to it: version 4, that of nfs-utils 2.8.3.
//!
//! nfsdcld lets those reclaim after the next start who are in its table for the current epoch; if a grace period goes on,
//! those in the one before, and the end of it drops that table. So all who may reclaim are in the one before if one goes
//! on here, and who has come back is in the current one, too. If nfsdcld were told that a grace period is over of which it
//! knows nothing, it would drop the records of all.

use super::{Client, Error, Reader};
use crate::files::{self, Directory};
use rusqlite::{Connection, OpenFlags};
use std::path::{Path, PathBuf};

/// What nfsdcld calls it.
const NAME: &str = "main.sqlite";
/// What would become a part of it.
const BESIDE: [&str; 3] = ["main.sqlite-journal", "main.sqlite-wal", "main.sqlite-shm"];

/// As nfsdcld makes them. `first_time` would have it throw away what is here for what nfsdcltrack has left.
const TABLES: &str = "
CREATE TABLE parameters (key TEXT PRIMARY KEY, value TEXT);
CREATE TABLE grace (current INTEGER , recovery INTEGER);
CREATE TABLE \"rec-0000000000000001\" (id BLOB PRIMARY KEY, princhash BLOB);
INSERT INTO parameters VALUES ('version', '4'), ('first_time', '0');
";

/// No grace period goes on.
const OUTSIDE: &str = "INSERT INTO grace VALUES (1, 0)";
/// One does, and clients have come back in it.
const IN_GRACE: &str = "INSERT INTO grace VALUES (2, 1);
CREATE TABLE \"rec-0000000000000002\" (id BLOB PRIMARY KEY, princhash BLOB)";

/// Why there is no database for nfsdcld.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The records.
    #[error(transparent)]
    From(#[from] Error),
    /// The directory.
    #[error(transparent)]
    To(#[from] files::Error),
    /// There is one already.
    #[error("{} is there already: move it away, or name another directory", .0.display())]
    There(PathBuf),
    /// It cannot be written.
    #[error("cannot write {}: {source}", .file.display())]
    Sqlite {
        /// The file.
        file: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
}

/// Writes who may reclaim into a new database in this directory, which is made if it is missing. Returns how many they are.
pub fn export(from: &Reader, to: &Path) -> Result<u64, ExportError> {
    let directory = Directory::make(to)?;
    for name in std::iter::once(NAME).chain(BESIDE) {
        if directory.path().join(name).symlink_metadata().is_ok() {
            return Err(ExportError::There(directory.path().join(name)));
        }
    }
    // SQLite would let others read it.
    drop(directory.create(NAME, &[])?);
    let written = write(from, &directory.path().join(NAME)).and_then(|clients| {
        directory.sync()?;
        Ok(clients)
    });
    if written.is_err() {
        for name in std::iter::once(NAME).chain(BESIDE) {
            let _ = directory.remove(name);
        }
    }
    written
}

fn write(from: &Reader, file: &Path) -> Result<u64, ExportError> {
    let failed = |source| ExportError::Sqlite {
        file: file.to_owned(),
        source,
    };
    let open = || {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_NOFOLLOW
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(file, flags)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        // A record then survives a power cut, see docs/nfsdcld.md. It answers with the mode that it has then.
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
        Ok(connection)
    };
    let mut connection = open().map_err(failed)?;
    let transaction = connection.transaction().map_err(failed)?;
    transaction.execute_batch(TABLES).map_err(failed)?;
    let starts = from.starts()?;
    let going_on = starts.last().filter(|start| start.ended.is_none());
    let grace = going_on.map_or(OUTSIDE, |_| IN_GRACE);
    transaction.execute_batch(grace).map_err(failed)?;
    let store = |table: u8, client: &Client| {
        let sql = format!("INSERT INTO \"rec-{table:016}\" (id, princhash) VALUES (?1, ?2)");
        let values = (client.owner.bytes(), client.principal);
        transaction.prepare_cached(&sql)?.execute(values).map(drop)
    };
    let mut clients = 0;
    let mut stored = Ok(());
    from.each(|record| {
        if record.may_reclaim && stored.is_ok() {
            let is_back = going_on.is_some_and(|start| record.epoch == start.epoch);
            let tables = if is_back { &[1, 2][..] } else { &[1] };
            stored = tables
                .iter()
                .try_for_each(|table| store(*table, &record.client));
            clients += 1;
        }
    })?;
    stored.map_err(failed)?;
    transaction.commit().map_err(failed)?;
    // The log is copied to the file, and removed.
    connection.close().map_err(|(_, source)| failed(source))?;
    Ok(clients)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::owner::Owner;
    use crate::records::{Client, Store};
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn records() -> (tempfile::TempDir, Reader) {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("records.sqlite");
        let mut store = Store::open(&file).unwrap().0;
        let mut batch = store.begin().unwrap();
        let epoch = batch.begin_epoch().unwrap();
        let owner = Owner::new(&b"\0one"[..]).unwrap();
        batch.store(&Client::new(owner, None)).unwrap();
        batch.end_grace(epoch).unwrap();
        batch.commit().unwrap();
        (directory, Reader::open(&file).unwrap())
    }

    #[test]
    fn nfsdcld_takes_it() {
        let (directory, reader) = records();
        let to = directory.path().join("nfsdcld");
        assert_eq!(export(&reader, &to).unwrap(), 1);
        let names: Vec<_> = fs::read_dir(&to).unwrap().flatten().collect();
        assert_eq!(names.len(), 1, "{names:?}");
        assert_eq!(
            names[0].metadata().unwrap().permissions().mode() & 0o777,
            0o600
        );
        let connection = Connection::open(to.join(NAME)).unwrap();
        // What nfsdcld asks when it starts, and when a grace period begins.
        let ask = |sql: &str| -> i64 { connection.query_row(sql, (), |row| row.get(0)).unwrap() };
        let parameter = |key| {
            ask(&format!(
                "SELECT CAST(value AS INTEGER) FROM parameters WHERE key == \"{key}\""
            ))
        };
        assert_eq!((parameter("version"), parameter("first_time")), (4, 0));
        assert_eq!(ask("SELECT current FROM grace WHERE recovery = 0"), 1);
        assert_eq!(ask("SELECT count(*) FROM \"rec-0000000000000001\" WHERE id == x'006f6e65' AND princhash IS NULL"), 1);
    }

    #[test]
    fn in_a_grace_period_nfsdcld_goes_on_with_it() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("records.sqlite");
        let mut store = Store::open(&file).unwrap().0;
        let mut batch = store.begin().unwrap();
        let client = |name: &str| Client::new(Owner::new(name).unwrap(), None);
        let epoch = batch.begin_epoch().unwrap();
        batch.store(&client("away")).unwrap();
        batch.store(&client("back")).unwrap();
        batch.end_grace(epoch).unwrap();
        batch.begin_epoch().unwrap();
        batch.store(&client("back")).unwrap();
        batch.commit().unwrap();
        let to = directory.path().join("nfsdcld");
        assert_eq!(export(&Reader::open(&file).unwrap(), &to).unwrap(), 2);
        let connection = Connection::open(to.join(NAME)).unwrap();
        let ask = |sql: &str| -> i64 { connection.query_row(sql, (), |row| row.get(0)).unwrap() };
        assert_eq!(ask("SELECT recovery FROM grace WHERE current = 2"), 1);
        assert_eq!(ask("SELECT count(*) FROM \"rec-0000000000000001\""), 2);
        assert_eq!(
            ask("SELECT count(*) FROM \"rec-0000000000000002\" WHERE id = CAST('back' AS BLOB)"),
            1
        );
        assert_eq!(ask("SELECT count(*) FROM \"rec-0000000000000002\""), 1);
    }

    #[test]
    fn nothing_is_overwritten() {
        let (directory, reader) = records();
        for name in [NAME, BESIDE[0], BESIDE[1]] {
            let to = directory.path().join(name);
            fs::create_dir(&to).unwrap();
            std::os::unix::fs::symlink("nowhere", to.join(name)).unwrap();
            let error = export(&reader, &to).unwrap_err();
            assert!(matches!(error, ExportError::There(_)), "{error}");
            assert_eq!(fs::read_dir(&to).unwrap().count(), 1);
        }
    }
}
