// SPDX-License-Identifier: GPL-2.0

//! Changes of the daemon's records that it has not confirmed.
//!
//! nfsd wants the record of a client stored or removed, or a client holds something on an export, or nothing any more.
//! Until the daemon says that it has done so, that is a change in this table; there is one for a [`Row`] at most, and one
//! upcall for it at a time, so that no request overtakes an earlier one for the same row:
//!
//! ```text
//!   store(), remove() --> wanted --> begin() --> busy --> end(done) --> forgotten
//!                           ^                      |
//!                           +----------------------+  end(failed), or wanted otherwise meanwhile
//! ```
//!
//! As to remove a client removes its holds, one that is wanted waits for a Remove of the same name.
//!
//! This file makes no kernel calls; it is also compiled and tested on the host.

use crate::base::index::KeyedHash;
use crate::base::table::Table;
use crate::nfs4::record::{Client, OwnedClient};
use crate::scopes::place::ExportId;
use crate::tracking::cld::{About, Command, Details};
use crate::tracking::holds::Row;
use kernel::prelude::*;

/// What a record is to become.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Want<O> {
    /// Stored, of which this client is to hear, or which is a hold of this client's; nobody's are those of NLM.
    Stored(Option<O>),
    /// Removed.
    Removed,
    /// Neither: it is on its way, and its client has gone.
    Any,
}

/// How the daemon forgets the hold of a client that has gone.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unhold {
    /// By an Unhold.
    Now,
    /// By the Remove of that client.
    ByRemove,
    /// It does not, as the client may reclaim again after a crash.
    Never,
}

/// One record that is not what it should be.
struct Change<O> {
    client: OwnedClient,
    details: Details,
    /// It is a hold of this.
    export: Option<ExportId>,
    want: Want<O>,
    /// How often `want` has changed.
    generation: u32,
    /// An upcall for it is on its way.
    busy: bool,
    /// The daemon may have a record of this name.
    doubtful: bool,
    /// The end of the grace period waits for it.
    owed: bool,
}

impl<O: PartialEq> Change<O> {
    fn row(&self) -> Row<'_> {
        Row {
            name: self.client.get().name,
            export: self.export,
        }
    }
}

/// A change whose upcall is on its way.
#[derive(Debug)]
pub(crate) struct Job {
    at: usize,
    generation: u32,
    /// The upcall.
    pub(crate) command: Command,
}

/// What the daemon has on record now.
pub(crate) enum Done<O> {
    /// This client.
    Stored(O),
    /// A hold of this export, by the client of this name, which is this one unless it is all of NLM.
    Held(OwnedClient, ExportId, Option<O>),
}

/// What is to be done for a row.
#[derive(Debug)]
pub(crate) enum Next {
    /// Nothing: its record is as it should be.
    Settled,
    /// Somebody else's upcall has to end first.
    Busy,
    /// This upcall.
    Upcall(Job),
}

/// How many changes there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Records to store.
    pub(crate) stored: usize,
    /// Records to remove.
    pub(crate) removed: usize,
    /// Records to store before the grace period may end.
    pub(crate) owed: usize,
    /// Holds among the records to store.
    pub(crate) holds: usize,
}

/// The table of changes. `O` names a client of nfsd.
pub(crate) struct Changes<H, O> {
    hash: H,
    table: Table<Change<O>>,
    /// Where [`Changes::begin_next`] goes on.
    cursor: usize,
    counts: Counts,
    /// How many upcalls have ended.
    ended: u64,
}

impl<H: KeyedHash, O: Copy + PartialEq> Changes<H, O> {
    /// No changes.
    pub(crate) const fn new(hash: H) -> Self {
        Changes {
            hash,
            table: Table::new(),
            cursor: 0,
            counts: Counts {
                stored: 0,
                removed: 0,
                owed: 0,
                holds: 0,
            },
            ended: 0,
        }
    }

    /// A number that changes when an upcall ends.
    pub(crate) fn ended(&self) -> u64 {
        self.ended
    }

    /// How many changes there are, those on their way among them.
    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// A number for a row, which the other functions take beside it, so that it is hashed once.
    pub(crate) fn key(&self, row: Row<'_>) -> u64 {
        let name = self.hash.hash(row.name);
        match row.export {
            None => name,
            Some(ExportId { fsid, file_system }) => {
                let export = self.hash.hash(&fsid.key()) ^ self.hash.hash(&file_system);
                name.rotate_left(1) ^ export
            }
        }
    }

    /// Wants the record of `client` stored, and `owner` told; `key` is that of its name.
    ///
    /// What was wanted for that name before is forgotten. Fails with `ENOMEM` and changes
    /// nothing. May sleep.
    pub(crate) fn store(
        &mut self,
        key: u64,
        client: Client<'_>,
        details: Details,
        owner: O,
    ) -> Result {
        let owned = OwnedClient::new(client)?;
        let Some(at) = self.find(key, of_client(client.name)) else {
            return self.insert(key, owned, details, None, Want::Stored(Some(owner)));
        };
        self.want(at, Want::Stored(Some(owner)));
        if let Some(change) = self.table.get_mut(at) {
            change.client = owned;
            change.details = details;
        }
        Ok(())
    }

    /// Wants the record of a client removed; `on_record` says whether it had one before.
    ///
    /// Returns whether there is anything to do: not if the record was never stored, or is by
    /// now that of another client with the same name. Fails with `ENOMEM` and changes nothing.
    /// May sleep.
    pub(crate) fn remove(
        &mut self,
        key: u64,
        name: &[u8],
        owner: O,
        on_record: bool,
    ) -> Result<bool> {
        let Some(at) = self.find(key, of_client(name)) else {
            if on_record {
                let owned = OwnedClient::new(Client { name, hash: &[] })?;
                self.insert(key, owned, Details::default(), None, Want::Removed)?;
            }
            return Ok(on_record);
        };
        let Some(change) = self.table.get_mut(at) else {
            return Ok(false);
        };
        match change.want {
            Want::Removed | Want::Any => Ok(true),
            Want::Stored(other) if other != Some(owner) => {
                // The record of this one is there until that of the other one takes its place.
                change.doubtful |= on_record;
                Ok(false)
            }
            Want::Stored(_) if change.busy || change.doubtful => {
                self.want(at, Want::Removed);
                Ok(true)
            }
            Want::Stored(_) => {
                drop(self.forget(at));
                Ok(false)
            }
        }
    }

    /// A client goes, and another one of its name has come, which is to have the record, if there is one or may be one;
    /// `on_record` says whether the first one had one before.
    ///
    /// Returns whether there is anything to do. Fails with `ENOMEM` and changes nothing; not if a change is about the client
    /// that goes. May sleep.
    pub(crate) fn pass_on(
        &mut self,
        key: u64,
        client: Client<'_>,
        details: Details,
        [from, to]: [O; 2],
        on_record: bool,
    ) -> Result<bool> {
        let at = self.find(key, of_client(client.name));
        let want = at.and_then(|at| Some((at, self.table.get(at)?.want)));
        match want {
            Some((at, Want::Stored(owner))) if owner == Some(from) => {
                self.want(at, Want::Stored(Some(to)));
                return Ok(true);
            }
            // It is that one's already.
            Some((_, Want::Stored(_))) => return Ok(false),
            None if !on_record => return Ok(false),
            Some((_, Want::Removed | Want::Any)) | None => {}
        }
        self.store(key, client, details, to).map(|()| true)
    }

    /// Wants a hold stored, for a client unless it is one of NLM. Fails with `ENOMEM` and changes nothing. May sleep.
    pub(crate) fn hold(&mut self, row: Row<'_>, owner: Option<O>) -> Result {
        self.want_hold(row, Want::Stored(owner))
    }

    /// Wants a hold removed. The same holds.
    pub(crate) fn unhold(&mut self, row: Row<'_>) -> Result {
        self.want_hold(row, Want::Removed)
    }

    fn want_hold(&mut self, row: Row<'_>, want: Want<O>) -> Result {
        let key = self.key(row);
        match self.find(key, row) {
            Some(at) => {
                self.want(at, want);
                Ok(())
            }
            None => {
                let (name, hash): (_, &[u8]) = (row.name, &[]);
                let owned = OwnedClient::new(Client { name, hash })?;
                self.insert(key, owned, Details::default(), row.export, want)
            }
        }
    }

    /// Does not want a hold any more, if it is that of a client that has gone, which the daemon forgets as `how` says. That of
    /// another client of this name is sent again if it is on its way: a Remove of the first one may come after it.
    pub(crate) fn drop_hold(&mut self, row: Row<'_>, owner: O, how: Unhold) {
        if self.counts.holds == 0 {
            return;
        }
        let Some(at) = self.find(self.key(row), row) else {
            return;
        };
        let Some(change) = self.table.get_mut(at) else {
            return;
        };
        if change.want != Want::Stored(Some(owner)) {
            if change.busy && how == Unhold::ByRemove {
                change.generation = change.generation.wrapping_add(1);
            }
            return;
        }
        match (how, change.busy, change.doubtful) {
            (Unhold::Never, true, _) => self.want(at, Want::Any),
            (Unhold::Never, false, _) | (_, false, false) => drop(self.forget(at)),
            (_, _, _) => self.want(at, Want::Removed),
        }
    }

    /// The daemon of a job does not know holds: this one is not wanted any more.
    pub(crate) fn cancel(&mut self, job: Job) {
        self.ended += 1;
        let _ = self.forget(job.at);
    }

    /// The daemon is one that does not know holds: none is wanted, or on its way.
    pub(crate) fn drop_all_holds(&mut self) {
        for at in 0..self.table.places() {
            let is_hold = |change: &Change<O>| change.export.is_some() && !change.busy;
            if self.table.get(at).is_some_and(is_hold) {
                let _ = self.forget(at);
            }
        }
    }

    /// Begins the upcall that a row needs, if it needs one.
    pub(crate) fn begin(&mut self, key: u64, row: Row<'_>) -> Next {
        match self.find(key, row) {
            Some(at) => self.begin_at(at).map_or(Next::Busy, Next::Upcall),
            None => Next::Settled,
        }
    }

    /// Begins an upcall of any change that has none on its way, each in its turn.
    pub(crate) fn begin_next(&mut self) -> Option<Job> {
        for _ in 0..self.table.places() {
            let at = self.cursor % self.table.places();
            self.cursor = at + 1;
            if let Some(job) = self.begin_at(at) {
                return Some(job);
            }
        }
        None
    }

    fn begin_at(&mut self, at: usize) -> Option<Job> {
        let change = self.table.get(at)?;
        if change.busy || change.export.is_some() && self.is_to_go(change.row().name) {
            return None;
        }
        let change = self.table.get_mut(at)?;
        let command = match (change.export, change.want) {
            (None, Want::Stored(_)) => Command::Create,
            (None, Want::Removed) => Command::Remove,
            (Some(_), Want::Stored(_)) => Command::Hold,
            (Some(_), Want::Removed) => Command::Unhold,
            (_, Want::Any) => return None,
        };
        change.busy = true;
        Some(Job {
            at,
            generation: change.generation,
            command,
        })
    }

    /// Is a client of this name to be removed? What is on its way comes to the daemon before what is sent after it.
    fn is_to_go(&self, name: &[u8]) -> bool {
        let row = of_client(name);
        self.counts.removed > 0
            && self
                .find(self.key(row), row)
                .and_then(|at| self.table.get(at))
                .is_some_and(|change| change.want == Want::Removed)
    }

    /// What the upcall of a job is about.
    pub(crate) fn about(&self, job: &Job) -> About<'_> {
        // A change stays while it is busy.
        self.table
            .get(job.at)
            .map_or_else(About::default, |change| About {
                client: Some(change.client.get()).filter(|client| !client.name.is_empty()),
                details: change.details,
                export: change.export,
                ..About::default()
            })
    }

    /// The upcall of a job ended; `done` if the daemon has done what it asked for.
    ///
    /// Returns what is stored now.
    pub(crate) fn end(&mut self, job: Job, done: bool) -> Option<Done<O>> {
        self.ended += 1;
        let change = self.table.get_mut(job.at)?;
        change.busy = false;
        if change.want == Want::Any {
            drop(self.forget(job.at));
            return None;
        }
        if !done || change.generation != job.generation {
            // Also if it failed: an answer may have been lost.
            change.doubtful = true;
            return None;
        }
        let (want, export) = (change.want, change.export);
        let client = self.forget(job.at)?;
        match (want, export) {
            (Want::Removed | Want::Any, _) => None,
            (Want::Stored(owner), Some(export)) => Some(Done::Held(client, export, owner)),
            (Want::Stored(owner), None) => owner.map(Done::Stored),
        }
    }

    /// From now on, [`Counts::owed`] counts those of the records to store that are known now.
    pub(crate) fn owe(&mut self) {
        self.counts.owed = 0;
        for change in self.table.iter_mut() {
            change.owed = matches!(change.want, Want::Stored(_));
            self.counts.owed += usize::from(change.owed);
        }
    }

    /// The same of one more, if it is to be stored.
    pub(crate) fn owe_one(&mut self, key: u64, row: Row<'_>) {
        let Some(change) = self.find(key, row).and_then(|at| self.table.get_mut(at)) else {
            return;
        };
        if matches!(change.want, Want::Stored(_)) && !change.owed {
            change.owed = true;
            self.counts.owed += 1;
        }
    }

    /// A daemon has come that may have any records: what another one is about to say, or has said, is no answer of its.
    pub(crate) fn doubt(&mut self) {
        for change in self.table.iter_mut() {
            change.doubtful = true;
            if change.busy {
                change.generation = change.generation.wrapping_add(1);
            }
        }
    }

    fn find(&self, key: u64, row: Row<'_>) -> Option<usize> {
        self.table.find(key, |change| change.row() == row)
    }

    /// Counts a change that has come, or one that goes.
    fn count(&mut self, want: Want<O>, is_hold: bool, comes: bool) {
        let add = |count: &mut usize| match comes {
            true => *count += 1,
            false => *count -= 1,
        };
        match want {
            Want::Stored(_) => add(&mut self.counts.stored),
            Want::Removed => add(&mut self.counts.removed),
            Want::Any => {}
        }
        if is_hold && matches!(want, Want::Stored(_)) {
            add(&mut self.counts.holds);
        }
    }

    /// Changes what is wanted.
    fn want(&mut self, at: usize, want: Want<O>) {
        let Some(change) = self.table.get_mut(at) else {
            return;
        };
        if change.export.is_some() && change.want == want {
            return;
        }
        let before = core::mem::replace(&mut change.want, want);
        let is_hold = change.export.is_some();
        change.generation = change.generation.wrapping_add(1);
        // There was a record to remove, or there may be one by the upcall that is on its way.
        change.doubtful |= before == Want::Removed;
        // A client that is gone needs no record.
        if !matches!(want, Want::Stored(_)) && core::mem::take(&mut change.owed) {
            self.counts.owed -= 1;
        }
        self.count(before, is_hold, false);
        self.count(want, is_hold, true);
    }

    fn insert(
        &mut self,
        key: u64,
        client: OwnedClient,
        details: Details,
        export: Option<ExportId>,
        want: Want<O>,
    ) -> Result {
        let change = Change {
            client,
            details,
            export,
            want,
            generation: 0,
            busy: false,
            doubtful: want == Want::Removed,
            owed: false,
        };
        self.table.insert(key, change)?;
        self.count(want, export.is_some(), true);
        Ok(())
    }

    fn forget(&mut self, at: usize) -> Option<OwnedClient> {
        let change = self.table.take(at)?;
        self.count(change.want, change.export.is_some(), false);
        self.counts.owed -= usize::from(change.owed);
        Some(change.client)
    }
}

/// The row of a client's record.
fn of_client(name: &[u8]) -> Row<'_> {
    Row { name, export: None }
}
