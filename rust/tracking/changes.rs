// SPDX-License-Identifier: GPL-2.0

//! Changes of the daemon's records that it has not confirmed.
//!
//! nfsd wants the record of a client stored or removed. Until the daemon says that it has done
//! so, that is a change in this table; there is one for a name at most, and one upcall for it
//! at a time, so that no request overtakes an earlier one for the same client:
//!
//! ```text
//!   store(), remove() --> wanted --> begin() --> busy --> end(done) --> forgotten
//!                           ^                      |
//!                           +----------------------+  end(failed), or wanted otherwise meanwhile
//! ```
//!
//! This file makes no kernel calls; it is also compiled and tested on the host.

use crate::base::index::{Index, KeyedHash};
use crate::nfs4::record::{Client, OwnedClient};
use crate::tracking::cld::{About, Command, Details};
use kernel::prelude::*;

/// Places that are kept when there is no change, for the next ones.
const KEPT: usize = 64;

/// What a record is to become.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Want<O> {
    /// Stored, of which this client is to hear.
    Stored(O),
    /// Removed.
    Removed,
}

/// One record that is not what it should be.
struct Change<O> {
    client: OwnedClient,
    details: Details,
    key: u64,
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

/// A place for a change.
enum Slot<O> {
    /// Without one; the next free place, if there is one.
    Free(Option<u32>),
    Used(Change<O>),
}

/// A change whose upcall is on its way.
#[derive(Debug)]
pub(crate) struct Job {
    at: usize,
    generation: u32,
    /// The upcall: `Create` or `Remove`.
    pub(crate) command: Command,
}

/// What is to be done for a name.
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
}

/// The table of changes. `O` names a client of nfsd.
pub(crate) struct Changes<H, O> {
    hash: H,
    index: Index,
    slots: KVVec<Slot<O>>,
    free: Option<u32>,
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
            index: Index::new(),
            slots: KVVec::new(),
            free: None,
            cursor: 0,
            counts: Counts {
                stored: 0,
                removed: 0,
                owed: 0,
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

    /// A number for a name, which the other functions take beside it, so that it is hashed once.
    pub(crate) fn key(&self, name: &[u8]) -> u64 {
        self.hash.hash(name)
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
        let Some(at) = self.find(key, client.name) else {
            return self.insert(key, owned, details, Want::Stored(owner));
        };
        self.want(at, Want::Stored(owner));
        if let Slot::Used(change) = &mut self.slots[at] {
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
        let Some(at) = self.find(key, name) else {
            if on_record {
                let owned = OwnedClient::new(Client { name, hash: &[] })?;
                self.insert(key, owned, Details::default(), Want::Removed)?;
            }
            return Ok(on_record);
        };
        let Slot::Used(change) = &mut self.slots[at] else {
            return Ok(false);
        };
        match change.want {
            Want::Removed => Ok(true),
            Want::Stored(other) if other != owner => {
                // The record of this one is there until that of the other one takes its place.
                change.doubtful |= on_record;
                Ok(false)
            }
            Want::Stored(_) if change.busy || change.doubtful => {
                self.want(at, Want::Removed);
                Ok(true)
            }
            Want::Stored(_) => {
                self.forget(at);
                Ok(false)
            }
        }
    }

    /// Begins the upcall that `name` needs, if it needs one.
    pub(crate) fn begin(&mut self, key: u64, name: &[u8]) -> Next {
        match self.find(key, name) {
            Some(at) => self.begin_at(at).map_or(Next::Busy, Next::Upcall),
            None => Next::Settled,
        }
    }

    /// Begins an upcall of any change that has none on its way, each in its turn.
    pub(crate) fn begin_next(&mut self) -> Option<Job> {
        for _ in 0..self.slots.len() {
            let at = self.cursor % self.slots.len();
            self.cursor = at + 1;
            if let Some(job) = self.begin_at(at) {
                return Some(job);
            }
        }
        None
    }

    fn begin_at(&mut self, at: usize) -> Option<Job> {
        let Slot::Used(change) = &mut self.slots[at] else {
            return None;
        };
        if core::mem::replace(&mut change.busy, true) {
            return None;
        }
        Some(Job {
            at,
            generation: change.generation,
            command: match change.want {
                Want::Stored(_) => Command::Create,
                Want::Removed => Command::Remove,
            },
        })
    }

    /// What the upcall of a job is about.
    pub(crate) fn about(&self, job: &Job) -> About<'_> {
        match &self.slots[job.at] {
            Slot::Used(change) => About {
                client: Some(change.client.get()),
                details: change.details,
                epoch: None,
            },
            // Not so: a change stays while it is busy.
            Slot::Free(_) => About::default(),
        }
    }

    /// The upcall of a job ended; `done` if the daemon has done what it asked for.
    ///
    /// Returns the client whose record is stored now.
    pub(crate) fn end(&mut self, job: Job, done: bool) -> Option<O> {
        self.ended += 1;
        let Slot::Used(change) = &mut self.slots[job.at] else {
            return None;
        };
        change.busy = false;
        if !done || change.generation != job.generation {
            // Also if it failed: an answer may have been lost.
            change.doubtful = true;
            return None;
        }
        let owner = match change.want {
            Want::Stored(owner) => Some(owner),
            Want::Removed => None,
        };
        self.forget(job.at);
        owner
    }

    /// From now on, [`Counts::owed`] counts those of the records to store that are known now.
    pub(crate) fn owe(&mut self) {
        self.counts.owed = 0;
        for slot in &mut *self.slots {
            if let Slot::Used(change) = slot {
                change.owed = matches!(change.want, Want::Stored(_));
                self.counts.owed += usize::from(change.owed);
            }
        }
    }

    /// A daemon has come that may have any records: what another one is about to say, or has said, is no answer of its.
    pub(crate) fn doubt(&mut self) {
        for slot in &mut *self.slots {
            if let Slot::Used(change) = slot {
                change.doubtful = true;
                if change.busy {
                    change.generation = change.generation.wrapping_add(1);
                }
            }
        }
    }

    fn find(&self, key: u64, name: &[u8]) -> Option<usize> {
        let is =
            |at: usize| matches!(&self.slots[at], Slot::Used(c) if c.client.get().name == name);
        self.index.find(key, is)
    }

    fn count(&mut self, want: Want<O>) -> &mut usize {
        match want {
            Want::Stored(_) => &mut self.counts.stored,
            Want::Removed => &mut self.counts.removed,
        }
    }

    /// Changes what is wanted.
    fn want(&mut self, at: usize, want: Want<O>) {
        let Slot::Used(change) = &mut self.slots[at] else {
            return;
        };
        let before = core::mem::replace(&mut change.want, want);
        change.generation = change.generation.wrapping_add(1);
        // There was a record to remove, or there may be one by the upcall that is on its way.
        change.doubtful |= before == Want::Removed;
        // A client that is gone needs no record.
        if want == Want::Removed && core::mem::take(&mut change.owed) {
            self.counts.owed -= 1;
        }
        *self.count(before) -= 1;
        *self.count(want) += 1;
    }

    fn insert(&mut self, key: u64, client: OwnedClient, details: Details, want: Want<O>) -> Result {
        if !self.index.has_room(1) {
            self.grow()?;
        }
        let slot = Slot::Used(Change {
            client,
            details,
            key,
            want,
            generation: 0,
            busy: false,
            doubtful: want == Want::Removed,
            owed: false,
        });
        let at = match self.free {
            Some(at) => {
                let at = at as usize;
                if let Slot::Free(next) = core::mem::replace(&mut self.slots[at], slot) {
                    self.free = next;
                }
                at
            }
            None => {
                self.slots.push(slot, GFP_KERNEL)?;
                self.slots.len() - 1
            }
        };
        self.index.insert(key, at);
        *self.count(want) += 1;
        Ok(())
    }

    /// Makes room for twice the changes.
    fn grow(&mut self) -> Result {
        let mut index = Index::with_room((self.slots.len() + 1) * 2)?;
        for (at, slot) in self.slots.iter().enumerate() {
            if let Slot::Used(change) = slot {
                index.insert(change.key, at);
            }
        }
        self.index = index;
        Ok(())
    }

    fn forget(&mut self, at: usize) {
        let free = Slot::Free(self.free);
        let Slot::Used(change) = core::mem::replace(&mut self.slots[at], free) else {
            return;
        };
        self.free = Some(at as u32);
        *self.count(change.want) -= 1;
        self.counts.owed -= usize::from(change.owed);
        if self.counts.stored + self.counts.removed == 0 && self.slots.len() > KEPT {
            // An outage is over: what it took is free again.
            self.index = Index::new();
            self.slots = KVVec::new();
            self.free = None;
            return;
        }
        let slots = &self.slots;
        self.index
            .remove(change.key, at, |other| match &slots[other] {
                Slot::Used(change) => change.key,
                Slot::Free(_) => 0,
            });
    }
}
