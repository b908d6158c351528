// SPDX-License-Identifier: GPL-2.0
//! The database of a daemon that records clients: who may reclaim after a restart.
//!
//! It is nfsdcld's (`utils/nfsdcld/sqlite.c` of nfs-utils), or nfsd-had's ([`crate::records`]). What is in the file says
//! which; by its name it is only found. Who had not reclaimed yet, in the grace period of the server, may do so.
//!
//! That of another server comes from a disk that others may have written to, and nothing of it is
//! trusted. Only files that are plain are read, without following links, and copied with what SQLite
//! needs to complete or take back a transaction, up to a bound. A name of a table becomes a part of SQL
//! only if it is one that a daemon makes. Views, triggers and virtual tables are not looked into. The bytes
//! that come out are names of clients, or are passed over. Time and memory have bounds.

mod careful;
mod holders;
mod nfsdcld;

pub(crate) use careful::Careful;
pub use holders::{NotKnown, Taken, Wanted};

use crate::net::connections::Connection;
use crate::owner::{digits, Owner};
use crate::records::{self, Client, Epoch, Hold, NlmRecord, Reader};
use careful::{Place, TIME_MAX};
use rusqlite::types::ValueRef;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why a database cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is none.
    #[error("there is no {}: name the directory that it is in, or the file", .0.display())]
    Absent(PathBuf),
    /// There is one of each daemon.
    #[error("{} has a database of nfsdcld and one of nfsd-had: name the file, main.sqlite or records.sqlite", .0.display())]
    Several(PathBuf),
    /// It is not what a daemon has written.
    #[error("{} {why}, so no daemon has written it: who else can write there?", .file.display())]
    Odd {
        /// The file.
        file: PathBuf,
        /// What is odd.
        why: &'static str,
    },
    /// It cannot be read, or not be copied.
    #[error("cannot read {}: {source}", .file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// SQLite cannot read it.
    #[error("cannot read {}: {source}: is it a database of nfsdcld or nfsd-had?", .file.display())]
    Sqlite {
        /// The file.
        file: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// It is nfsd-had's, and of another version.
    #[error(transparent)]
    Records(#[from] records::Error),
}

/// Where a client on record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It was stored since the server has started, or has reclaimed since.
    Stored,
    /// The server is in its grace period, and the client has not come back yet.
    Waiting,
}

impl Standing {
    fn of(epoch: Epoch, last: Epoch) -> Self {
        if epoch >= last {
            Self::Stored
        } else {
            Self::Waiting
        }
    }
}

/// A database that is open.
#[derive(Debug)]
pub struct Database(Kind);

#[derive(Debug)]
enum Kind {
    Nfsdcld(Careful),
    Had(Reader),
}

impl Database {
    /// That of this server's daemon, which may be writing: its file, or the directory that it is in.
    pub fn of_own(path: &Path) -> Result<Self, Error> {
        let place = Place::of(path)?;
        let file = place.file("");
        // What is odd is said in the same way.
        place.find("")?.ok_or_else(|| Error::Absent(file.clone()))?;
        let failed = |source| Error::File {
            file: file.clone(),
            source,
        };
        let real = file.canonicalize().map_err(failed)?;
        Self::new(Careful::in_place(&real, file)?)
    }

    /// That of a server that has crashed, given as the others are. It may be this one, whose nfsd-had runs again and
    /// writes: a copy would not be whole then.
    pub fn of_crashed(path: &Path) -> Result<Self, Error> {
        match records::is_in_use(&Place::of(path)?.file("")) {
            true => Self::of_own(path),
            false => Self::of_other(path),
        }
    }

    /// That of another server, as it was when it crashed: a copy is read. Give the file, or the directory that it is in.
    pub fn of_other(path: &Path) -> Result<Self, Error> {
        Self::within(path, TIME_MAX)
    }

    fn within(path: &Path, time: Duration) -> Result<Self, Error> {
        Self::new(Careful::copied(&Place::of(path)?, time)?)
    }

    fn new(opened: Careful) -> Result<Self, Error> {
        let ours = Reader::is_one(&opened).map_err(failed(&opened.file))?;
        Ok(Self(if ours {
            Kind::Had(Reader::new(opened)?)
        } else {
            Kind::Nfsdcld(opened)
        }))
    }

    /// Which file it is, or was copied from.
    pub(crate) fn file(&self) -> &Path {
        match &self.0 {
            Kind::Had(reader) => &reader.opened().file,
            Kind::Nfsdcld(opened) => &opened.file,
        }
    }

    /// Tells of each client that may reclaim: its name, and the hash of its principal in hexadecimal digits. One
    /// may come twice.
    pub fn each(&self, mut tell: impl FnMut(Owner, Option<String>)) -> Result<(), Error> {
        self.clients(|client, _| {
            let principal = client.principal.map(|hash| digits(&hash));
            tell(client.owner, principal);
        })
    }

    /// Tells of each client that may reclaim all that is known. One may come twice.
    pub fn clients(&self, mut tell: impl FnMut(Client, Standing)) -> Result<(), Error> {
        match &self.0 {
            Kind::Nfsdcld(opened) => nfsdcld::each(opened, &mut tell).map_err(failed(&opened.file)),
            Kind::Had(reader) => {
                let last = reader.last_epoch()?;
                Ok(reader.each(|record| {
                    if record.may_reclaim {
                        tell(record.client, Standing::of(record.epoch, last));
                    }
                })?)
            }
        }
    }

    /// Tells on which exports something is held by who may reclaim, as far as that is known. nfsdcld knows nothing of it.
    pub fn holds(&self, mut tell: impl FnMut(Hold, Standing)) -> Result<(), Error> {
        if let Kind::Had(reader) = &self.0 {
            let last = reader.last_epoch()?;
            reader.each_hold(|record| {
                if record.counts {
                    tell(record.hold, Standing::of(record.epoch, last));
                }
            })?;
        }
        Ok(())
    }

    /// The clients of NLM on record: nfsdcld has none, nor has an nfsd-had of version 1.
    pub fn nlm(&self) -> Result<Vec<NlmRecord>, Error> {
        match &self.0 {
            Kind::Nfsdcld(_) => Ok(Vec::new()),
            Kind::Had(reader) => Ok(reader.nlm()?),
        }
    }

    /// Who was connected to floating addresses; nothing where there are no clients of NLM either.
    pub fn connections(&self) -> Result<Vec<Connection>, Error> {
        match &self.0 {
            Kind::Nfsdcld(_) => Ok(Vec::new()),
            Kind::Had(reader) => {
                let all = reader.connections()?.into_iter();
                Ok(all.map(|one| one.connection).collect())
            }
        }
    }
}

fn failed(file: &Path) -> impl Fn(rusqlite::Error) -> Error + '_ {
    |source| Error::Sqlite {
        file: file.to_owned(),
        source,
    }
}

fn bytes(value: ValueRef<'_>) -> &[u8] {
    match value {
        ValueRef::Blob(bytes) | ValueRef::Text(bytes) => bytes,
        _ => &[],
    }
}

#[cfg(any(test, fuzzing))]
pub mod laws;
#[cfg(test)]
mod tests;
