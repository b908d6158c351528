// SPDX-License-Identifier: GPL-2.0
//! The daemon's side of the records: one writer.

mod connections;
mod holds;
mod nlm;
mod purge;

pub use nlm::NlmId;
#[cfg(test)]
pub(super) use purge::PURGED;

use super::place::{connect, failed, identity, make_room, number, Identity, Place};
use super::schema::{self, Found};
use super::{Client, Epoch, EpochName, Error, VERSION};
use crate::owner::Owner;
use purge::Stale;
use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// How long the log may be when what is in it was copied to the file, in bytes.
const LOG_MAX: i64 = 16 << 20;

/// Those who may reclaim: the epochs from the last one that has ended.
pub(super) const MAY_RECLAIM: &str =
    "epoch >= (SELECT coalesce(max(epoch), 0) FROM epochs WHERE ended IS NOT NULL)";

/// The current epoch: that of the last start, or zeros.
#[derive(Clone, Copy, Debug, Default)]
struct Current {
    epoch: Epoch,
    started: i64,
}

impl Current {
    fn name(self, file: u32) -> EpochName {
        let mut name = EpochName::default();
        if self.epoch > 0 {
            name[..8].copy_from_slice(&self.epoch.to_ne_bytes());
            name[8..12].copy_from_slice(&(self.started as u32).to_ne_bytes());
            name[12..].copy_from_slice(&file.to_ne_bytes());
        }
        name
    }
}

/// The records, open for writing.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    file: PathBuf,
    log: PathBuf,
    /// Which files SQLite has open.
    opened: (Option<Identity>, Option<Identity>),
    current: Current,
    /// See [`number`].
    number: u32,
    /// Where to look for those of old epochs, if there may be some.
    purge: Option<Stale>,
    _lock: File,
}

impl Store {
    /// Opens the records, and makes the file if it is missing, and its directory if it is that of [`super::DEFAULT`]. Says whether
    /// it made the file.
    ///
    /// Fails if another daemon has it, if others could change it, if it is of another version, and if SQLite cannot
    /// write it.
    pub fn open(file: &Path) -> Result<(Self, bool), Error> {
        let Place {
            directory,
            name,
            file,
            lock,
        } = Place::lock(file)?;
        let new = directory.find(&name)?.is_none();
        if new {
            // SQLite would let others read it.
            directory.create(&name, &[])?;
        }
        let connection = connect(&file).map_err(failed(&file))?;
        prepare(&connection, &file)?;
        let log = directory.path().join(format!("{name}-wal"));
        let mut store = Self {
            connection,
            number: number(&file)?,
            opened: (None, None),
            log,
            file,
            current: Current::default(),
            purge: Some(Stale::FIRST),
            _lock: lock,
        };
        let sql = "SELECT epoch, started FROM epochs ORDER BY epoch DESC LIMIT 1";
        let read = |row: &Row<'_>| {
            Ok(Current {
                epoch: row.get(0)?,
                started: row.get(1)?,
            })
        };
        let current = store.connection.query_row(sql, (), read).optional();
        store.current = store.result(current)?.unwrap_or_default();
        store.opened = (identity(&store.file)?, identity(&store.log)?);
        // If there is no such room, it is slower.
        let _ = make_room(&store.log);
        directory.sync()?;
        Ok((store, new))
    }

    /// Where it is.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Begins a batch of changes. What was begun and not committed is forgotten.
    ///
    /// Fails if the file is not that which was opened, and if another program writes it for a second.
    pub fn begin(&mut self) -> Result<Batch<'_>, Error> {
        // A file that has no name is written as well as any other.
        let there = (identity(&self.file)?, identity(&self.log)?);
        if there != self.opened {
            return Err(Error::Moved(self.file.clone()));
        }
        let begun = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate);
        Ok(Batch {
            transaction: begun.map_err(failed(&self.file))?,
            file: &self.file,
            now: UNIX_EPOCH.elapsed().unwrap_or_default().as_secs() as i64,
            current: self.current,
            number: self.number,
            purge: self.purge.clone(),
            kept: (&mut self.current, &mut self.purge),
        })
    }

    /// The current epoch: that of the last start.
    pub fn epoch(&self) -> Epoch {
        self.current.epoch
    }

    /// The name of the current epoch.
    pub fn epoch_name(&self) -> EpochName {
        self.current.name(self.number)
    }

    /// Tells of each client that may reclaim. One whose name is none is passed over.
    pub fn each(&self, mut tell: impl FnMut(Client) -> bool) -> Result<(), Error> {
        self.query("0", |client, _| tell(client))
    }

    /// Tells the value of an expression, too, which is a number.
    fn query(&self, value: &str, mut tell: impl FnMut(Client, u32) -> bool) -> Result<(), Error> {
        let mut query = || {
            let sql = format!(
                "SELECT name, principal, minor, address, {value} FROM clients WHERE {MAY_RECLAIM}"
            );
            let mut statement = self.connection.prepare(&sql)?;
            let mut rows = statement.query(())?;
            while let Some(row) = rows.next()? {
                let value = row.get(4)?;
                if !client(row)?.is_none_or(|client| tell(client, value)) {
                    break;
                }
            }
            Ok(())
        };
        self.result(query())
    }

    /// Are there records that nobody asks for any more? See [`Batch::purge`].
    pub fn is_stale(&self) -> bool {
        self.purge.is_some()
    }

    fn result<T>(&self, result: rusqlite::Result<T>) -> Result<T, Error> {
        result.map_err(failed(&self.file))
    }
}

/// Changes that are stored together, or not at all.
#[derive(Debug)]
pub struct Batch<'a> {
    transaction: rusqlite::Transaction<'a>,
    file: &'a Path,
    now: i64,
    current: Current,
    number: u32,
    purge: Option<Stale>,
    /// What the store knows of the two, until this is committed.
    kept: (&'a mut Current, &'a mut Option<Stale>),
}

impl Batch<'_> {
    /// Begins an epoch: a server starts. Returns it.
    pub fn begin_epoch(&mut self) -> Result<Epoch, Error> {
        let (epoch, started) = (self.current.epoch + 1, self.now);
        self.execute(
            "INSERT INTO epochs (epoch, started) VALUES (?1, ?2)",
            (epoch, started),
        )?;
        self.current = Current { epoch, started };
        Ok(epoch)
    }

    /// Begins an epoch if the last one has ended, and began before this time. Old kernels do not say when they start.
    pub fn begin_epoch_after(&mut self, started: i64) -> Result<(), Error> {
        let sql =
            "SELECT count(*) FROM epochs WHERE epoch = ?1 AND (ended IS NULL OR started >= ?2)";
        let goes_on = || {
            self.transaction
                .query_row(sql, (self.current.epoch, started), |row| row.get(0))
        };
        let goes_on: i64 = goes_on().map_err(failed(self.file))?;
        if goes_on == 0 {
            self.begin_epoch()?;
        }
        Ok(())
    }

    /// Stores a client: it is new, or has reclaimed.
    pub fn store(&mut self, client: &Client) -> Result<(), Error> {
        let sql = "INSERT INTO clients (name, principal, minor, address, since, epoch)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6)
            ON CONFLICT (name) DO UPDATE SET principal = excluded.principal, minor = excluded.minor,
                address = excluded.address, epoch = excluded.epoch";
        let address = client.address.map(|address| address.to_string());
        let values = (
            client.owner.bytes(),
            client.principal,
            client.minor,
            address,
            self.now,
            self.current.epoch,
        );
        self.execute(sql, values).map(drop)
    }

    /// Removes a client, and what it holds. Returns whether it was there.
    pub fn remove(&mut self, owner: &Owner) -> Result<bool, Error> {
        self.execute("DELETE FROM holds WHERE name = ?1", (owner.bytes(),))?;
        let sql = "DELETE FROM clients WHERE name = ?1";
        Ok(self.execute(sql, (owner.bytes(),))? > 0)
    }

    /// May this client reclaim? If so, it is stored as one that has.
    ///
    /// Old kernels ask this, and do not ask for all records at once.
    pub fn claim(&mut self, owner: &Owner) -> Result<bool, Error> {
        let sql = format!("UPDATE clients SET epoch = ?1 WHERE name = ?2 AND {MAY_RECLAIM}");
        Ok(self.execute(&sql, (self.current.epoch, owner.bytes()))? > 0)
    }

    /// The grace period of an epoch is over: who was not stored in it may not reclaim any more.
    ///
    /// To say so twice, or of an epoch that is not the current one, changes nothing. Returns whether it ended now.
    pub fn end_grace(&mut self, epoch: Epoch) -> Result<bool, Error> {
        let sql = "UPDATE epochs SET ended = ?1 WHERE epoch = ?2 AND ended IS NULL";
        let ends = epoch == self.current.epoch && self.execute(sql, (self.now, epoch))? > 0;
        if ends {
            self.purge = Some(Stale::FIRST);
        }
        Ok(ends)
    }

    /// The epoch that changes are stored in.
    pub fn epoch(&self) -> Epoch {
        self.current.epoch
    }

    /// The name of that epoch.
    pub fn epoch_name(&self) -> EpochName {
        self.current.name(self.number)
    }

    /// Returns when all of it is on the disk. If this fails, none of it is stored.
    pub fn commit(self) -> Result<(), Error> {
        self.transaction.commit().map_err(failed(self.file))?;
        *self.kept.0 = self.current;
        *self.kept.1 = self.purge;
        Ok(())
    }

    fn execute(&self, sql: &str, values: impl rusqlite::Params) -> Result<usize, Error> {
        let execute = || self.transaction.prepare_cached(sql)?.execute(values);
        execute().map_err(failed(self.file))
    }
}

/// Makes the tables if there are none, and sees to it that there are ours.
fn prepare(connection: &Connection, file: &Path) -> Result<(), Error> {
    // Before the journal is changed: what is not ours stays as it is.
    match schema::find(connection).map_err(failed(file))? {
        Found::Foreign => return Err(Error::Foreign(file.to_owned())),
        Found::Records(version) if version > VERSION => {
            let file = file.to_owned();
            return Err(Error::Newer { file, version });
        }
        Found::Records(version) if version < VERSION => {
            let file = file.to_owned();
            return Err(Error::Older { file, version });
        }
        Found::Records(_) | Found::Empty => {}
    }
    let prepare = || {
        // It answers with the mode that it has then.
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
        connection.pragma_update_and_check(None, "journal_size_limit", LOG_MAX, |_| Ok(()))?;
        let transaction =
            rusqlite::Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
        if schema::find(&transaction)? == Found::Empty {
            schema::bring_up(&transaction, 0)?;
        }
        transaction.commit()
    };
    prepare().map_err(failed(file))
}

/// A client of a row; `None` if its name is none. What else is not as it should be, is not known.
fn client(row: &Row<'_>) -> rusqlite::Result<Option<Client>> {
    let Ok(owner) = Owner::new(row.get_ref(0)?.as_bytes().unwrap_or_default()) else {
        return Ok(None);
    };
    let principal = row.get_ref(1)?.as_bytes_or_null().unwrap_or_default();
    let address = row.get_ref(3)?.as_str_or_null().unwrap_or_default();
    Ok(Some(Client {
        owner,
        principal: principal.and_then(|hash| hash.try_into().ok()),
        minor: row.get(2).unwrap_or_default(),
        address: address.and_then(|address| address.parse().ok()),
    }))
}
