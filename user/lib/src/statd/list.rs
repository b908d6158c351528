// SPDX-License-Identifier: GPL-2.0
//! The list of one export.

use super::store::{sync, write};
use super::{Record, State};
use crate::files::{Directory, Error};
use std::fs::File;
use std::net::IpAddr;
use std::path::Path;

/// The longest record, in bytes: some hundred addresses of the server.
const RECORD_MAX: usize = 1 << 16;
/// How many clients a list has at most.
const CLIENTS_MAX: usize = 1 << 20;

/// The list of an export, in its directory, which only root can change. sm-notify takes the same directory
/// (`-P`), and works as root there, as it is the owner of `sm`.
///
/// As long as this lives, the file system with the list cannot be unmounted.
#[derive(Debug)]
pub struct List {
    directory: Directory,
    sm: Directory,
}

impl List {
    /// The list in a directory; it is made if there is none.
    ///
    /// Fails as [`Directory::open`] does.
    pub fn open(directory: Directory) -> Result<Self, Error> {
        let sm = match directory.child("sm") {
            Err(Error::Missing { .. }) => {
                // Who finds `sm` finds the others.
                directory.make_child("sm.bak")?;
                if state_in(&directory)?.is_none() {
                    set_state(&directory, State::first())?;
                }
                directory.make_child("sm")
            }
            found => found,
        };
        Ok(Self { sm: sm?, directory })
    }

    /// The directory of those who must be told.
    pub(super) fn sm(&self) -> &Directory {
        &self.sm
    }

    /// Keeps other programs of ours from changing the list meanwhile; sm-notify does not ask.
    pub(super) fn lock(&self) -> Result<File, Error> {
        self.directory.lock("lock")
    }

    /// The number of the last notices, or the one that a new list begins with; `None` if the file has none.
    pub fn state(&self) -> Result<Option<State>, Error> {
        state_in(&self.directory)
    }

    /// The number for new notices to all on some lists: above those of these lists, which other nodes may have
    /// sent, and above all that this node has sent, which `node` has. A client may have something from one
    /// server address on two lists that are told one after the other.
    ///
    /// It is on the disk when this returns, so that no other notices will have it.
    pub fn next_state(node: &Directory, lists: &[Self]) -> Result<State, Error> {
        let _locked = node.lock("state.lock")?;
        let mut next = state_in(node)?.map_or_else(State::first, State::next);
        for list in lists {
            next = list.state()?.map_or(next, |state| next.max(state.next()));
        }
        set_state(node, next)?;
        lists
            .iter()
            .try_for_each(|list| set_state(&list.directory, next))?;
        Ok(next)
    }

    /// The directory of those who are being told.
    fn bak(&self) -> Result<Directory, Error> {
        self.directory.make_child("sm.bak")
    }

    /// Everybody on the list is to be told now: moves the records to those who are being told. Who comes
    /// from now on is recorded anew. Returns all who are to be told, also those of earlier times who were
    /// not reached.
    pub fn retire(&self) -> Result<Vec<Record>, Error> {
        let (locked, bak) = (self.lock()?, self.bak()?);
        for name in names(&self.sm)? {
            let older = read(&bak, &name)?;
            let mut all = read(&self.sm, &name)?;
            if older.iter().any(|record| !all.contains(record)) {
                all.extend(
                    older
                        .into_iter()
                        .filter(|record| !all.contains(record))
                        .collect::<Vec<_>>(),
                );
                self.sm.replace(&name, &lines(&all))?;
            }
            self.sm.move_to(&name, &bak)?;
        }
        bak.sync()?;
        self.sm.sync()?;
        drop(locked);
        self.being_told()
    }

    /// These are to be told now, too: they are on record somewhere else. Nothing is written of those who are being told
    /// already.
    pub fn add(&self, records: &[Record]) -> Result<(), Error> {
        let (_locked, bak) = (self.lock()?, self.bak()?);
        let mut records = records.to_vec();
        records.sort();
        records.dedup();
        let mut files = Vec::new();
        for of_client in records.chunk_by(|one, other| one.client == other.client) {
            let of_client: Vec<_> = of_client.iter().collect();
            files.push(write(&bak, &of_client)?);
            // Of several none is needed, and there are not so many open files.
            files.truncate(2);
        }
        sync(&bak, &files)
    }

    /// Who must be told when the export moves, and who is being told.
    pub fn all(&self) -> Result<Vec<Record>, Error> {
        let mut all = records(&self.sm)?;
        all.extend(self.being_told()?);
        all.sort();
        all.dedup();
        Ok(all)
    }

    /// Who is being told.
    pub fn being_told(&self) -> Result<Vec<Record>, Error> {
        records(&self.bak()?)
    }

    /// A client has confirmed a notice: its record is removed from those who are being told.
    pub fn told(&self, record: &Record) -> Result<(), Error> {
        let (bak, name) = (self.bak()?, record.file());
        let mut left = read(&bak, &name)?;
        left.retain(|other| other != record);
        if left.is_empty() {
            bak.remove(&name)
        } else {
            bak.replace(&name, &lines(&left))
        }
    }

    /// Keeps others from telling the clients on this list while the result lives; `None` if somebody does.
    pub fn try_lock(&self) -> Result<Option<File>, Error> {
        self.bak()?.try_lock(".lock")
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Returns when what [`List::told`] has removed is off the disk.
    pub fn sync(&self) -> Result<(), Error> {
        self.bak()?.sync()
    }
}

fn state_in(directory: &Directory) -> Result<Option<State>, Error> {
    Ok(directory
        .read("state", RECORD_MAX)?
        .and_then(|bytes| State::parse(&bytes)))
}

fn set_state(directory: &Directory, state: State) -> Result<(), Error> {
    directory.replace("state", &state.bytes())
}

/// The records of a client, by the name of its file.
pub(super) fn read(directory: &Directory, name: &str) -> Result<Vec<Record>, Error> {
    let mut records = Record::parse(&directory.read(name, RECORD_MAX)?.unwrap_or_default());
    records.retain(|record| record.file() == name);
    Ok(records)
}

fn records(directory: &Directory) -> Result<Vec<Record>, Error> {
    let mut records = Vec::new();
    for name in names(directory)? {
        records.extend(read(directory, &name)?);
    }
    Ok(records)
}

/// The names of records: addresses. Others are of somebody who was interrupted, or not ours.
fn names(directory: &Directory) -> Result<Vec<String>, Error> {
    let names = directory
        .names(CLIENTS_MAX)?
        .into_iter()
        .filter_map(|name| name.into_string().ok());
    let is_address = |name: &String| name.parse().is_ok_and(|a: IpAddr| a.to_string() == *name);
    Ok(names.filter(is_address).collect())
}

/// Records as they are in a file.
pub(super) fn lines<'a>(records: impl IntoIterator<Item = &'a Record>) -> Vec<u8> {
    records
        .into_iter()
        .map(Record::line)
        .collect::<String>()
        .into_bytes()
}
