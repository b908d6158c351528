// SPDX-License-Identifier: GPL-2.0
//! Who of those on record of a server that has crashed held something on what is taken over.
//!
//! To leave out who held something there costs it its opens and locks, and who is listed in vain is only waited for. So all
//! are taken unless their server has said, for a time that is not over by the clock of this machine, that all that is
//! held is on record; and then each one of whom it is not sure that it held nothing there.

use super::{Error, Kind};
use crate::owner::{digits, Owner};
use crate::records::{self, Client, ExportName, FileSystem, Hold, HoldRecord, Reader};
use crate::scope::{Fsid, Scope};
use std::collections::HashSet;
use std::net::IpAddr;

/// What is taken over from a server that has crashed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// These exports, each by a number or a UUID, which means the same on each server.
    Exports(Vec<Fsid>),
    /// What came to this address of the server.
    Address(IpAddr),
    /// Something: nobody knows what that server called it.
    Unknown,
}

impl Wanted {
    /// Some exports; of one of them it may be that its fsid is not known.
    pub fn exports(fsids: impl IntoIterator<Item = Option<Fsid>>) -> Self {
        let same = |fsid: &Fsid| matches!(fsid, Fsid::Number(_) | Fsid::Uuid(_));
        let fsids: Option<Vec<_>> = fsids.into_iter().map(|fsid| fsid.filter(same)).collect();
        match fsids {
            Some(fsids) if !fsids.is_empty() => Self::Exports(fsids),
            _ => Self::Unknown,
        }
    }
}

impl From<&Scope> for Wanted {
    fn from(scope: &Scope) -> Self {
        match *scope {
            Scope::Export(fsid) => Self::exports([Some(fsid)]),
            Scope::Address(address) => Self::Address(address),
        }
    }
}

/// Who is taken of those who may reclaim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Those who may have held something there.
    Holders {
        /// How many these are.
        taken: u64,
        /// How many are on record.
        of: u64,
    },
    /// All, as nobody knows who held what.
    All(NotKnown),
}

/// Why nobody knows who held what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotKnown {
    /// The daemon does not record it, as it is nfsdcld or of an older version.
    NotRecorded,
    /// The server has not said that all of it is on record since it started.
    NotSaid,
    /// What it has said was true until then, in seconds since 1970, which is over.
    Over(i64),
    /// It has said so at this time, which is later than now: one of the clocks is wrong.
    Later(i64),
    /// Some of it is not as nfsd-had writes it.
    Odd,
    /// It cannot be read, for this reason.
    Unreadable(String),
}

impl super::Database {
    /// Tells of each client that may reclaim, and may have held something on what is wanted, as [`super::Database::each`]
    /// does; `now` is in seconds since 1970.
    pub fn holders(
        &self,
        wanted: &Wanted,
        now: i64,
        mut tell: impl FnMut(Owner, Option<String>),
    ) -> Result<Taken, Error> {
        let Kind::Had(reader) = &self.0 else {
            self.each(tell)?;
            return Ok(Taken::All(NotKnown::NotRecorded));
        };
        let holders = who_holds(reader, wanted, now)?;
        let (mut taken, mut of) = (0, 0);
        self.clients(|client, _| {
            of += 1;
            let holds = match &holders {
                Ok(holders) => holders.contains(&client.owner) && may_have_come(&client, wanted),
                Err(_) => true,
            };
            if holds {
                taken += 1;
                let principal = client.principal.map(|hash| digits(&hash));
                tell(client.owner, principal);
            }
        })?;
        Ok(match holders {
            Ok(_) => Taken::Holders { taken, of },
            Err(why) => Taken::All(why),
        })
    }
}

/// Who may have held something on what is wanted, on record or not. The outer error: there is no table of epochs.
fn who_holds(
    reader: &Reader,
    wanted: &Wanted,
    now: i64,
) -> Result<Result<HashSet<Owner>, NotKnown>, Error> {
    if !reader.has_holds() {
        return Ok(Err(NotKnown::NotRecorded));
    }
    let last = reader.starts()?.pop();
    let held = last.and_then(|start| start.held_from.zip(start.held_until));
    Ok(match held {
        None => Err(NotKnown::NotSaid),
        Some((from, _)) if now < from => Err(NotKnown::Later(from)),
        Some((_, until)) if now > until => Err(NotKnown::Over(until)),
        Some(_) => read(reader, wanted),
    })
}

fn read(reader: &Reader, wanted: &Wanted) -> Result<HashSet<Owner>, NotKnown> {
    let each = |tell: &mut dyn FnMut(Hold)| {
        let counts = |record: HoldRecord| record.counts.then_some(record.hold);
        match reader.each_hold(|record| counts(record).into_iter().for_each(&mut *tell)) {
            Ok(true) => Ok(()),
            Ok(false) => Err(NotKnown::Odd),
            Err(records::Error::Sqlite { source, .. }) => {
                Err(NotKnown::Unreadable(source.to_string()))
            }
            Err(error) => Err(NotKnown::Unreadable(error.to_string())),
        }
    };
    let mut there = HashSet::new();
    each(&mut |hold| {
        if is_of(&hold, wanted) {
            there.extend(hold.file_system);
        }
    })?;
    let mut holders = HashSet::new();
    each(&mut |hold| {
        if may_be_of(&hold, wanted, &there) {
            holders.extend(hold.owner);
        }
    })?;
    Ok(holders)
}

/// Is it on one of the exports that are wanted?
fn is_of(hold: &Hold, wanted: &Wanted) -> bool {
    let Wanted::Exports(fsids) = wanted else {
        return false;
    };
    let own = hold.file_system.map(Fsid::Uuid);
    fsid(&hold.export)
        .into_iter()
        .chain(own)
        .any(|fsid| fsids.contains(&fsid))
}

/// May it be on one of them? `there` are the file systems that they are known to be on: what is held by way of another
/// export of the same one is the same.
fn may_be_of(hold: &Hold, wanted: &Wanted, there: &HashSet<FileSystem>) -> bool {
    let Wanted::Exports(fsids) = wanted else {
        return true;
    };
    // A device or a part of a UUID may be any of them: nobody asks for an export by these.
    let is_other = |fsid: Fsid| {
        fsids.iter().all(|wanted| match (wanted, fsid) {
            (Fsid::Number(wanted), Fsid::Number(number)) => *wanted != number,
            (Fsid::Uuid(wanted), Fsid::Uuid(uuid)) => *wanted != uuid,
            _ => false,
        })
    };
    is_of(hold, wanted)
        || hold.file_system.is_some_and(|uuid| there.contains(&uuid))
        || !fsid(&hold.export).is_some_and(is_other)
}

fn fsid(export: &ExportName) -> Option<Fsid> {
    export.as_str().parse().ok()
}

/// May it have come to the address that is wanted? Of some clients, the kernel has not told.
fn may_have_come(client: &Client, wanted: &Wanted) -> bool {
    let Wanted::Address(wanted) = wanted else {
        return true;
    };
    let floating = client.owner.split().map(|(_, address)| address);
    client
        .address
        .is_none_or(|address| address.to_canonical() == *wanted)
        || floating == Some(*wanted)
}

#[cfg(test)]
mod tests;
