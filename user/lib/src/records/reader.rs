// SPDX-License-Identifier: GPL-2.0
//! Records that are only read: while nfsd-had writes them, or from a file that nobody trusts.

mod holds;
mod nlm;

pub use holds::HoldRecord;

use super::schema::{self, Found, FIRST};
use super::store::MAY_RECLAIM;
use super::{Client, Epoch, Error, VERSION};
use crate::database::{self, Careful};
use crate::files::Directory;
use crate::owner::Owner;
use rusqlite::types::ValueRef;
use rusqlite::Row;
use std::path::Path;

/// A client on record, and all that is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Who.
    pub client: Client,
    /// When it was stored first, in seconds since 1970.
    pub since: i64,
    /// The epoch in which it was stored last.
    pub epoch: Epoch,
    /// May it reclaim after the next start? Else its epoch is over, and it will be removed.
    pub may_reclaim: bool,
}

/// A start of the server.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Start {
    /// Its number.
    pub epoch: Epoch,
    /// When it was, in seconds since 1970.
    pub started: i64,
    /// When its grace period was over, if it is.
    pub ended: Option<i64>,
    /// Since when what is held in it is on record, in seconds since 1970; nothing if that was never so.
    pub held_from: Option<i64>,
    /// Until when, if that was not said anew.
    pub held_until: Option<i64>,
}

/// Records, open to be read.
#[derive(Debug)]
pub struct Reader {
    opened: Careful,
    version: i64,
}

impl Reader {
    /// Opens the records of this machine; nfsd-had may be writing them.
    ///
    /// Fails if there are none, if others could change them, and if they are of a newer version.
    pub fn open(file: &Path) -> Result<Self, Error> {
        Self::new(in_place(file)?)
    }

    /// Is this a file of nfsd-had's, of whatever version?
    pub(crate) fn is_one(opened: &Careful) -> rusqlite::Result<bool> {
        Ok(matches!(
            schema::find(&opened.connection)?,
            Found::Records(_)
        ))
    }

    /// Records in a file that is open. Fails if they are of a newer version, or not all there. In those of an
    /// older one, what was not recorded then is not known.
    pub(crate) fn new(opened: Careful) -> Result<Self, Error> {
        let file = opened.file.clone();
        let version = version(&opened)?;
        match version {
            FIRST..=VERSION => {}
            version if version > VERSION => return Err(Error::Newer { file, version }),
            _ => return Err(Error::Foreign(file)),
        }
        let reader = Self { opened, version };
        for table in schema::tables(version) {
            if !reader.result(reader.opened.has_table(table))? {
                return Err(Error::Foreign(file));
            }
        }
        Ok(reader)
    }

    /// The version of the tables.
    pub fn version(&self) -> i64 {
        self.version
    }

    /// Can there be Holds in a file of its version?
    pub fn has_holds(&self) -> bool {
        self.version > FIRST
    }

    /// Tells of each client, also of those that may not reclaim any more. What is no name of a client is passed over.
    pub fn each(&self, mut tell: impl FnMut(Record)) -> Result<(), Error> {
        let mut each = || {
            let sql = format!(
                "SELECT name, principal, minor, address, since, epoch, {MAY_RECLAIM} FROM clients"
            );
            let mut statement = self.opened.connection.prepare(&sql)?;
            let mut rows = statement.query(())?;
            while let Some(row) = rows.next()? {
                record(row)?.into_iter().for_each(&mut tell);
            }
            Ok(())
        };
        self.result(each())
    }

    /// The last start; 0 if there was none.
    pub fn last_epoch(&self) -> Result<Epoch, Error> {
        let starts = self.starts()?;
        Ok(starts.last().map_or(0, |start| start.epoch))
    }

    /// The last starts that are on record, 1000 at most, in their order.
    pub fn starts(&self) -> Result<Vec<Start>, Error> {
        let starts = || {
            let held = match self.version {
                FIRST => "NULL, NULL",
                _ => "held_from, held_until",
            };
            let sql = format!(
                "SELECT epoch, started, ended, {held} FROM epochs WHERE typeof(epoch) = 'integer'
                ORDER BY epoch DESC LIMIT 1000"
            );
            let mut statement = self.opened.connection.prepare(&sql)?;
            let mut rows = statement.query(())?;
            let mut starts = Vec::new();
            while let Some(row) = rows.next()? {
                let integers = [integer(row, 0)?, integer(row, 1)?, integer(row, 2)?];
                if let [Some(epoch), Some(started), ended] = integers {
                    starts.push(Start {
                        epoch,
                        started,
                        ended,
                        held_from: integer(row, 3)?,
                        held_until: integer(row, 4)?,
                    });
                }
            }
            starts.reverse();
            Ok(starts)
        };
        self.result(starts())
    }

    /// The file, for who looks closer.
    pub(crate) fn opened(&self) -> &Careful {
        &self.opened
    }

    fn result<T>(&self, result: rusqlite::Result<T>) -> Result<T, Error> {
        result.map_err(|source| Error::Sqlite {
            file: self.opened.file.clone(),
            source,
        })
    }
}

/// Opens a file of this machine, whatever is in it.
pub(super) fn in_place(file: &Path) -> Result<Careful, Error> {
    let name = file.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| Error::Foreign(file.to_owned()))?;
    let parent = match file.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let directory = match Directory::open(parent) {
        Err(crate::files::Error::Missing { .. }) => return Err(Error::Absent(file.to_owned())),
        directory => directory?,
    };
    directory
        .find(name)?
        .ok_or_else(|| Error::Absent(file.to_owned()))?;
    let opened = Careful::in_place(&directory.path().join(name), file.to_owned());
    opened.map_err(|e| match e {
        database::Error::Sqlite { file, source } => Error::Sqlite { file, source },
        e => Error::File {
            file: file.to_owned(),
            source: std::io::Error::other(e),
        },
    })
}

/// The version of the records in a file. Fails if it has none.
pub(super) fn version(opened: &Careful) -> Result<i64, Error> {
    let file = || opened.file.clone();
    match schema::find(&opened.connection) {
        Ok(Found::Records(version)) => Ok(version),
        Ok(Found::Empty | Found::Foreign) => Err(Error::Foreign(file())),
        Err(source) => Err(Error::Sqlite {
            file: file(),
            source,
        }),
    }
}

/// A client of a row. `None` if its name is none, or its epoch is no number. What else is not as it should be, is not known.
fn record(row: &Row<'_>) -> rusqlite::Result<Option<Record>> {
    let name = match row.get_ref(0)? {
        ValueRef::Blob(name) => name,
        _ => return Ok(None),
    };
    let (Ok(owner), Some(epoch)) = (Owner::new(name), integer(row, 5)?) else {
        return Ok(None);
    };
    let principal = match row.get_ref(1)? {
        ValueRef::Blob(hash) => hash.try_into().ok(),
        _ => None,
    };
    let address = match row.get_ref(3)? {
        ValueRef::Text(text) => std::str::from_utf8(text).ok(),
        _ => None,
    };
    Ok(Some(Record {
        client: Client {
            owner,
            principal,
            minor: integer(row, 2)?.and_then(|minor| minor.try_into().ok()),
            address: address.and_then(|address| address.parse().ok()),
        },
        since: integer(row, 4)?.unwrap_or_default(),
        epoch,
        may_reclaim: integer(row, 6)? == Some(1),
    }))
}

fn integer(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<i64>> {
    Ok(match row.get_ref(column)? {
        ValueRef::Integer(number) => Some(number),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::{Batch, Store};
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    fn batch(store: &mut Store, change: impl Fn(&mut Batch<'_>) -> Result<(), Error>) {
        let mut batch = store.begin().unwrap();
        change(&mut batch).unwrap();
        batch.commit().unwrap();
    }

    fn client(name: &str) -> Client {
        Client::new(Owner::new(name).unwrap(), None)
    }

    /// One epoch is over, in which `old` was not stored.
    fn made() -> (tempfile::TempDir, PathBuf, Store) {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("records.sqlite");
        let mut store = Store::open(&file).unwrap().0;
        for name in ["old", "new"] {
            batch(&mut store, |batch| {
                batch.begin_epoch()?;
                batch.store(&client(name))
            });
        }
        batch(&mut store, |batch| batch.end_grace(2).map(drop));
        (directory, file, store)
    }

    fn all(reader: &Reader) -> Vec<(String, Epoch, bool)> {
        let mut all = Vec::new();
        let tell = |record: Record| {
            all.push((
                record.client.owner.to_string(),
                record.epoch,
                record.may_reclaim,
            ));
        };
        reader.each(tell).unwrap();
        all
    }

    #[test]
    fn the_daemon_may_be_writing() {
        let (_directory, file, mut store) = made();
        let reader = Reader::open(&file).unwrap();
        assert_eq!(
            all(&reader),
            [("old".into(), 1, false), ("new".into(), 2, true)]
        );
        assert_eq!(reader.starts().unwrap().len(), 2);
        assert_eq!(reader.last_epoch().unwrap(), 2);
        batch(&mut store, |batch| batch.store(&client("newer")));
        assert_eq!(all(&reader).len(), 3);
        drop(reader);
        batch(&mut store, |batch| batch.store(&client("newest")));
        assert_eq!(all(&Reader::open(&file).unwrap()).len(), 4);
    }

    #[test]
    fn a_look_leaves_nothing_that_others_can_read() {
        let (directory, file, store) = made();
        drop(store);
        let reader = Reader::open(&file).unwrap();
        assert_eq!(all(&reader).len(), 2);
        let modes = || {
            for entry in fs::read_dir(directory.path()).unwrap().flatten() {
                let mode = entry.metadata().unwrap().permissions().mode();
                assert_eq!(mode & 0o777, 0o600, "{entry:?}");
            }
        };
        modes();
        drop(reader);
        modes();
        // And nothing that keeps the daemon from its work.
        let mut store = Store::open(&file).unwrap().0;
        batch(&mut store, |batch| batch.store(&client("newer")));
    }

    #[test]
    fn what_others_can_change_is_not_read() {
        let (_directory, file, store) = made();
        drop(store);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
        assert!(matches!(Reader::open(&file), Err(Error::Place(_))));
    }
}
