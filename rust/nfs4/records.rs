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
use crate::nfs4::identity;
use crate::nfs4::record::{Client, OwnedClient};
use core::net::IpAddr;
use kernel::prelude::*;

/// How many addresses are looked for that are part of names on record. Clients choose names: more are not needed.
const MAX_ADDRESSES: usize = 16;

/// One client on record.
struct Record {
    client: OwnedClient,
    claimed: bool,
    complete: bool,
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

/// The table of clients on record.
pub(crate) struct RecordTable<H> {
    hash: H,
    index: Index,
    records: KVVec<Record>,
    reclaimed: usize,
    complete: usize,
    /// The floating addresses that are part of the names, see `identity.rs`.
    addresses: KVec<IpAddr>,
}

impl<H: KeyedHash> RecordTable<H> {
    /// An empty table.
    pub(crate) const fn new(hash: H) -> Self {
        RecordTable {
            hash,
            index: Index::new(),
            records: KVVec::new(),
            reclaimed: 0,
            complete: 0,
            addresses: KVec::new(),
        }
    }

    /// How many records there are, and what became of them.
    pub(crate) fn counts(&self) -> Counts {
        Counts {
            known: self.records.len(),
            reclaimed: self.reclaimed,
            complete: self.complete,
        }
    }

    fn position(&self, name: &[u8]) -> Option<usize> {
        if self.records.is_empty() {
            return None;
        }
        let hash = self.hash.hash(name);
        let is = |at: usize| self.records[at].client.get().name == name;
        self.index.find(hash, is)
    }

    fn find(&mut self, name: &[u8]) -> Option<&mut Record> {
        let at = self.position(name)?;
        self.records.get_mut(at)
    }

    /// The name by which a client is on record that comes as `name` and is not on record by that: the one that it had
    /// before the floating addresses changed, of which `is_floating` knows those of now. Fails with `ENOMEM`. May sleep.
    ///
    /// Who comes to a floating address was on record by its owner alone, if that address was not floating then: no name
    /// on record has it. Who comes to another one may be on record with an address that is not floating any more.
    pub(crate) fn former_name(
        &self,
        name: &[u8],
        is_floating: impl Fn(IpAddr) -> bool,
    ) -> Result<Option<KVec<u8>>> {
        if self.position(name).is_some() {
            return Ok(None);
        }
        if let Some((owner, address)) = identity::split(name) {
            if !is_floating(address) || self.addresses.contains(&address) {
                return Ok(None);
            }
            if self.position(owner).is_none() {
                return Ok(None);
            }
            let mut former = KVec::with_capacity(owner.len(), GFP_KERNEL)?;
            former.extend_from_slice(owner, GFP_KERNEL)?;
            return Ok(Some(former));
        }
        for address in self.addresses.iter().filter(|a| !is_floating(**a)) {
            if let Some(former) = identity::at(name, *address)? {
                if self.position(&former).is_some() {
                    return Ok(Some(former));
                }
            }
        }
        Ok(None)
    }

    /// Adds a record.
    ///
    /// A name that is there already stays one record; a principal's hash completes it if it
    /// had none (as `nfs4_client_to_reclaim()` does). Fails with `ENOMEM` and changes nothing.
    /// May sleep.
    pub(crate) fn insert(&mut self, client: Client<'_>) -> Result {
        if let Some(record) = self.find(client.name) {
            if record.client.get().hash.is_empty() {
                record.client.set_hash(client.hash)?;
            }
            return Ok(());
        }
        if !self.index.has_room(1) {
            self.grow()?;
        }
        if let Some((_, address)) = identity::split(client.name) {
            if !self.addresses.contains(&address) && self.addresses.len() < MAX_ADDRESSES {
                self.addresses.push(address, GFP_KERNEL)?;
            }
        }
        let record = Record {
            client: OwnedClient::new(client)?,
            claimed: false,
            complete: false,
        };
        self.records.push(record, GFP_KERNEL)?;
        self.index
            .insert(self.hash.hash(client.name), self.records.len() - 1);
        Ok(())
    }

    /// Makes room for twice the records.
    fn grow(&mut self) -> Result {
        let mut index = Index::with_room((self.records.len() + 1) * 2)?;
        for (at, record) in self.records.iter().enumerate() {
            index.insert(self.hash.hash(record.client.get().name), at);
        }
        self.index = index;
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
    /// whether it was the last one: all clients on record are done.
    pub(crate) fn complete(&mut self, name: &[u8], principal: Option<&[u8]>) -> bool {
        let Some(record) = self.record(name, principal) else {
            return false;
        };
        let first = !core::mem::replace(&mut record.complete, true);
        self.complete += usize::from(first);
        first && self.complete == self.records.len()
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
        self.index = Index::new();
        self.records = KVVec::new();
        self.addresses = KVec::new();
        self.reclaimed = 0;
        self.complete = 0;
    }
}
