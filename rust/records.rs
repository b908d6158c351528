// SPDX-License-Identifier: GPL-2.0

//! The clients on record: those that may reclaim in this grace period.
//!
//! GraceStart fills the table, reclaims look into it, and the end of the grace period empties
//! it; no record is removed on its own. A hash table with open addressing holds indices into a
//! vector of records, so the cost of an operation does not grow with their number.
//!
//! Clients choose their names, so the hash is keyed ([`NameHash`]).
//!
//! This file makes no kernel calls; it is also compiled and tested on the host.

use crate::cld::Client;
use kernel::prelude::*;

/// Slots of a table that has its first record; a power of two, as every size is.
const MIN_SLOTS: usize = 64;
/// A slot without a record.
const FREE: u32 = u32::MAX;

/// One client on record.
struct Record {
    /// The name, then the principal's hash.
    bytes: KVec<u8>,
    name_len: u16,
    claimed: bool,
    complete: bool,
}

impl Record {
    fn new(client: Client<'_>) -> Result<Self> {
        let mut bytes = KVec::with_capacity(client.name.len() + client.hash.len(), GFP_KERNEL)?;
        bytes.extend_from_slice(client.name, GFP_KERNEL)?;
        bytes.extend_from_slice(client.hash, GFP_KERNEL)?;
        Ok(Record {
            bytes,
            name_len: client.name.len() as u16,
            claimed: false,
            complete: false,
        })
    }

    fn name(&self) -> &[u8] {
        &self.bytes[..usize::from(self.name_len)]
    }

    fn hash(&self) -> &[u8] {
        &self.bytes[usize::from(self.name_len)..]
    }
}

/// A hash of client names that a client cannot predict.
pub(crate) trait NameHash {
    /// The hash of `name`.
    fn hash(&self, name: &[u8]) -> u64;
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
    slots: KVVec<u32>,
    records: KVVec<Record>,
    reclaimed: usize,
    complete: usize,
}

impl<H: NameHash> RecordTable<H> {
    /// An empty table.
    pub(crate) const fn new(hash: H) -> Self {
        RecordTable {
            hash,
            slots: KVVec::new(),
            records: KVVec::new(),
            reclaimed: 0,
            complete: 0,
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

    /// The slot of `name`, or the free slot where it would go. There must be slots.
    fn slot(&self, name: &[u8]) -> usize {
        let mask = self.slots.len() - 1;
        let mut slot = self.hash.hash(name) as usize & mask;
        while self.slots[slot] != FREE && self.records[self.slots[slot] as usize].name() != name {
            slot = (slot + 1) & mask;
        }
        slot
    }

    fn find(&mut self, name: &[u8]) -> Option<&mut Record> {
        if self.slots.is_empty() {
            return None;
        }
        match self.slots[self.slot(name)] {
            FREE => None,
            index => self.records.get_mut(index as usize),
        }
    }

    /// Adds a record.
    ///
    /// A name that is there already stays one record; a principal's hash completes it if it
    /// had none (as `nfs4_client_to_reclaim()` does). Fails with `ENOMEM` and changes nothing.
    /// May sleep.
    pub(crate) fn insert(&mut self, client: Client<'_>) -> Result {
        if let Some(record) = self.find(client.name) {
            if record.hash().is_empty() {
                record.bytes.extend_from_slice(client.hash, GFP_KERNEL)?;
            }
            return Ok(());
        }
        if (self.records.len() + 1) * 2 > self.slots.len() {
            self.grow()?;
        }
        self.records.push(Record::new(client)?, GFP_KERNEL)?;
        let slot = self.slot(client.name);
        self.slots[slot] = (self.records.len() - 1) as u32;
        Ok(())
    }

    /// Doubles the slots.
    fn grow(&mut self) -> Result {
        let size = (self.slots.len() * 2).max(MIN_SLOTS);
        if size > FREE as usize {
            return Err(ENOMEM);
        }
        let mut slots = KVVec::with_capacity(size, GFP_KERNEL)?;
        slots.extend_with(size, FREE, GFP_KERNEL)?;
        self.slots = slots;
        for index in 0..self.records.len() {
            let slot = self.slot(self.records[index].name());
            self.slots[slot] = index as u32;
        }
        Ok(())
    }

    /// May the client `name` reclaim, whose principal has the hash `principal`?
    ///
    /// Yes if it is on record, and if the record has a hash, the same one
    /// (`nfsd4_cld_check_v2()`). It then counts as reclaimed.
    pub(crate) fn claim(&mut self, name: &[u8], principal: Option<&[u8]>) -> bool {
        let Some(record) = self.find(name) else {
            return false;
        };
        let hash = record.hash();
        if !hash.is_empty() && !principal.is_some_and(|p| p.starts_with(hash)) {
            return false;
        }
        let first = !core::mem::replace(&mut record.claimed, true);
        self.reclaimed += usize::from(first);
        true
    }

    /// The client `name` has sent RECLAIM_COMPLETE. Returns whether it was the last one: all
    /// clients on record are done.
    pub(crate) fn complete(&mut self, name: &[u8]) -> bool {
        let Some(record) = self.find(name) else {
            return false;
        };
        let first = !core::mem::replace(&mut record.complete, true);
        self.complete += usize::from(first);
        first && self.complete == self.records.len()
    }

    /// Forgets all records and their memory. May sleep.
    pub(crate) fn clear(&mut self) {
        self.slots = KVVec::new();
        self.records = KVVec::new();
        self.reclaimed = 0;
        self.complete = 0;
    }
}
