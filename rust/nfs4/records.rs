// SPDX-License-Identifier: GPL-2.0

//! The clients on record: those that may reclaim in this grace period.
//!
//! GraceStart fills the table, reclaims look into it, and the end of the grace period empties
//! it; no record is removed on its own. An [`Index`] finds it by the client's name, so the cost of
//! an operation does not grow with the number of records. Clients choose their names: the hash
//! is keyed.
//!
//! This file makes no kernel calls; it is also compiled and tested on the host.

use crate::base::index::{Index, KeyedHash};
use crate::nfs4::identity::{self, Since};
use crate::nfs4::record::{Client, OwnedClient};
use core::net::IpAddr;
use kernel::prelude::*;

/// One client on record.
struct Record {
    client: OwnedClient,
    claimed: bool,
    complete: bool,
    /// It may have held something.
    holds: bool,
}

/// How far a client on record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It has not reclaimed anything.
    Waiting,
    /// It has.
    Reclaimed,
    /// It has sent RECLAIM_COMPLETE.
    Complete,
}

/// How many records there are, and what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Clients on record.
    pub(crate) known: usize,
    /// Of these, the ones that reclaimed something.
    pub(crate) reclaimed: usize,
    /// Of these, the ones that sent RECLAIM_COMPLETE.
    pub(crate) complete: usize,
}

/// Where to find a record, by its name and by parts of that, see `identity.rs`.
struct Names {
    whole: Index,
    /// By the owner, if an address was added to it.
    owners: Index,
    /// One record with each address that was added to some.
    addresses: Index,
}

impl Names {
    const fn new() -> Self {
        Names {
            whole: Index::new(),
            owners: Index::new(),
            addresses: Index::new(),
        }
    }

    /// Without records, and with room for `n`. Fails with `ENOMEM`. May sleep.
    fn with_room(n: usize) -> Result<Self> {
        Ok(Names {
            whole: Index::with_room(n)?,
            owners: Index::with_room(n)?,
            addresses: Index::with_room(n)?,
        })
    }

    /// Adds the record at a position.
    fn insert(&mut self, hash: &impl KeyedHash, records: &[Record], at: usize) {
        let name = records[at].client.get().name;
        self.whole.insert(hash.hash(name), at);
        if let Some((owner, _)) = identity::split(name) {
            self.owners.insert(hash.hash(owner), at);
            let address = &name[owner.len()..];
            let same = |at: usize| records[at].client.get().name.ends_with(address);
            if self.addresses.find(hash.hash(address), same).is_none() {
                self.addresses.insert(hash.hash(address), at);
            }
        }
    }
}

/// The table of clients on record.
pub(crate) struct RecordTable<H> {
    hash: H,
    names: Names,
    records: KVVec<Record>,
    reclaimed: usize,
    complete: usize,
    /// Of those who held something, if that is known.
    awaited: Option<Awaited>,
}

/// Who is waited for.
struct Awaited {
    all: usize,
    complete: usize,
}

impl<H: KeyedHash> RecordTable<H> {
    /// An empty table.
    pub(crate) const fn new(hash: H) -> Self {
        RecordTable {
            hash,
            names: Names::new(),
            records: KVVec::new(),
            reclaimed: 0,
            complete: 0,
            awaited: None,
        }
    }

    /// How many of them are waited for: those who may reclaim something.
    pub(crate) fn awaited(&self) -> usize {
        let known = self.awaited.as_ref().map(|awaited| awaited.all);
        known.unwrap_or(self.records.len())
    }

    /// Is it known who held something? Who did not is not waited for then.
    pub(crate) fn know(&mut self, known: bool) {
        let holding = || self.records.iter().filter(|record| record.holds);
        self.awaited = known.then(|| Awaited {
            all: holding().count(),
            complete: holding().filter(|record| record.complete).count(),
        });
    }

    /// How many records there are, and what became of them.
    pub(crate) fn counts(&self) -> Counts {
        Counts {
            known: self.records.len(),
            reclaimed: self.reclaimed,
            complete: self.complete,
        }
    }

    /// Where the record of a name is among those that [`RecordTable::iter`] goes through.
    pub(crate) fn position(&self, name: &[u8]) -> Option<usize> {
        if self.records.is_empty() {
            return None;
        }
        let hash = self.hash.hash(name);
        let is = |at: usize| self.records[at].client.get().name == name;
        self.names.whole.find(hash, is)
    }

    fn find(&mut self, name: &[u8]) -> Option<&mut Record> {
        let at = self.position(name)?;
        self.records.get_mut(at)
    }

    /// The name by which a client is on record that comes as `name` and is not on record by that: the one that it had
    /// before the floating addresses changed. Fails with `ENOMEM`. May sleep.
    ///
    /// `since` says whether an address is floating, and since when. Who comes to a floating address was on record by
    /// its owner alone, if that address was not floating then: no name on record has it, or it became one while the
    /// server ran. Who comes to another one may be on record with an address that is not floating any more.
    pub(crate) fn former_name(
        &self,
        name: &[u8],
        since: impl Fn(IpAddr) -> Option<Since>,
    ) -> Result<Option<KVec<u8>>> {
        if self.records.is_empty() || self.position(name).is_some() {
            return Ok(None);
        }
        let former = match identity::split(name) {
            Some((owner, address)) => {
                let had_it = || {
                    let suffix = &name[owner.len()..];
                    let same = |at: usize| self.name(at).ends_with(suffix);
                    self.names.addresses.find(self.hash.hash(suffix), same)
                };
                let was_owner = match since(address) {
                    None => false,
                    Some(Since::LastRun) => true,
                    Some(Since::Unknown) => had_it().is_none(),
                };
                self.position(owner).filter(|_| was_owner)
            }
            None => self.names.owners.find(self.hash.hash(name), |at| {
                let split = identity::split(self.name(at));
                split.is_some_and(|(owner, address)| owner == name && since(address).is_none())
            }),
        };
        let Some(former) = former.map(|at| self.name(at)) else {
            return Ok(None);
        };
        let mut copy = KVec::with_capacity(former.len(), GFP_KERNEL)?;
        copy.extend_from_slice(former, GFP_KERNEL)?;
        Ok(Some(copy))
    }

    fn name(&self, at: usize) -> &[u8] {
        self.records[at].client.get().name
    }

    /// Adds a record.
    ///
    /// `holds` says whether it may have held something. A name that is there already stays one record; a principal's hash completes it if it
    /// had none (as `nfs4_client_to_reclaim()` does). Fails with `ENOMEM` and changes nothing.
    /// May sleep.
    pub(crate) fn insert(&mut self, client: Client<'_>, holds: bool) -> Result {
        if let Some(record) = self.find(client.name) {
            record.holds |= holds;
            if record.client.get().hash.is_empty() {
                record.client.set_hash(client.hash)?;
            }
            return Ok(());
        }
        if !self.names.whole.has_room(1) {
            self.grow()?;
        }
        let record = Record {
            client: OwnedClient::new(client)?,
            claimed: false,
            complete: false,
            holds,
        };
        self.records.push(record, GFP_KERNEL)?;
        self.names
            .insert(&self.hash, &self.records, self.records.len() - 1);
        Ok(())
    }

    /// Makes room for twice the records.
    fn grow(&mut self) -> Result {
        let mut names = Names::with_room((self.records.len() + 1) * 2)?;
        for at in 0..self.records.len() {
            names.insert(&self.hash, &self.records, at);
        }
        self.names = names;
        Ok(())
    }

    /// The record of the client `name`, whose principal has the hash `principal`: if the record has a
    /// hash, it must be the same one (`nfsd4_cld_check_v2()`).
    fn record(&mut self, name: &[u8], principal: Option<&[u8]>) -> Option<&mut Record> {
        let record = self.find(name)?;
        let hash = record.client.get().hash;
        if !hash.is_empty() && !principal.is_some_and(|p| p.starts_with(hash)) {
            return None;
        }
        Some(record)
    }

    /// May the client `name` reclaim, whose principal has the hash `principal`?
    ///
    /// Yes if it is on record. It then counts as reclaimed.
    pub(crate) fn claim(&mut self, name: &[u8], principal: Option<&[u8]>) -> bool {
        let Some(record) = self.record(name, principal) else {
            return false;
        };
        let first = !core::mem::replace(&mut record.claimed, true);
        self.reclaimed += usize::from(first);
        true
    }

    /// Has the client `name` sent RECLAIM_COMPLETE? `None` if it is not on record with this principal.
    pub(crate) fn is_complete(&mut self, name: &[u8], principal: Option<&[u8]>) -> Option<bool> {
        Some(self.record(name, principal)?.complete)
    }

    /// The client `name` has sent RECLAIM_COMPLETE, with the principal of its record if that has one. Returns
    /// whether it was the last one: all that are waited for are done.
    pub(crate) fn complete(&mut self, name: &[u8], principal: Option<&[u8]>) -> bool {
        let Some(record) = self.record(name, principal) else {
            return false;
        };
        let first = !core::mem::replace(&mut record.complete, true);
        let holds = record.holds;
        self.complete += usize::from(first);
        match &mut self.awaited {
            Some(awaited) => {
                awaited.complete += usize::from(first && holds);
                first && holds && awaited.complete == awaited.all
            }
            None => first && self.complete == self.records.len(),
        }
    }

    /// The clients on record.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Client<'_>, Progress)> {
        self.records.iter().map(|record| {
            let progress = match record {
                Record { complete: true, .. } => Progress::Complete,
                Record { claimed: true, .. } => Progress::Reclaimed,
                _ => Progress::Waiting,
            };
            (record.client.get(), progress)
        })
    }

    /// Forgets all records and their memory. May sleep.
    pub(crate) fn clear(&mut self) {
        self.names = Names::new();
        self.records = KVVec::new();
        self.reclaimed = 0;
        self.complete = 0;
        self.awaited = None;
    }
}
