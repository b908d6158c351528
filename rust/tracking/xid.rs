// SPDX-License-Identifier: GPL-2.0

//! The table of upcalls in flight, by xid.
//!
//! A daemon answers upcalls in any order; the xid says which one. xids count up, so that one
//! that was answered or given up comes back after 2^32 others at the earliest. An entry sits
//! in the slot that the low bits of its xid name, and a xid whose slot is taken is skipped.
//! As at least half of the slots are free, finding is one step, and inserting is two on
//! average.
//!
//! This file makes no kernel calls; it is also compiled and tested on the host.

use kernel::prelude::*;

/// Slots of a table that has its first entry; a power of two, as every size is.
const MIN_SLOTS: usize = 16;
/// Entries at most: a bound on memory, far over the number of nfsd threads a server has.
pub(crate) const MAX_ENTRIES: usize = 1 << 16;

/// A table of `T` by xid.
pub(crate) struct XidTable<T> {
    slots: KVec<Option<(u32, T)>>,
    len: usize,
    next: u32,
}

impl<T> XidTable<T> {
    /// An empty table whose first xid is `first`.
    pub(crate) const fn new(first: u32) -> Self {
        XidTable {
            slots: KVec::new(),
            len: 0,
            next: first,
        }
    }

    /// The number of entries.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    fn slot(&self, xid: u32) -> usize {
        xid as usize & (self.slots.len() - 1)
    }

    /// The next free xid, with room for an entry of it: [`XidTable::insert`] comes next.
    ///
    /// Fails with `ENOMEM`, or with `EBUSY` if there are [`MAX_ENTRIES`]. May sleep.
    pub(crate) fn reserve(&mut self) -> Result<u32> {
        if self.len >= MAX_ENTRIES {
            return Err(EBUSY);
        }
        if (self.len + 1) * 2 > self.slots.len() {
            self.grow()?;
        }
        while self.slots[self.slot(self.next)].is_some() {
            self.next = self.next.wrapping_add(1);
        }
        Ok(self.next)
    }

    /// Inserts an entry at a xid that [`XidTable::reserve`] has just returned.
    pub(crate) fn insert(&mut self, xid: u32, value: T) {
        debug_assert_eq!(xid, self.next);
        let slot = self.slot(xid);
        self.slots[slot] = Some((xid, value));
        self.next = xid.wrapping_add(1);
        self.len += 1;
    }

    /// Takes all entries out, as a table that goes on with the same xids.
    pub(crate) fn take(&mut self) -> Self {
        let next = self.next;
        core::mem::replace(self, XidTable::new(next))
    }

    /// Doubles the slots. Two xids that had slots of their own keep slots of their own, as one
    /// more bit tells them apart.
    fn grow(&mut self) -> Result {
        let size = (self.slots.len() * 2).max(MIN_SLOTS);
        let mut old = KVec::with_capacity(size, GFP_KERNEL)?;
        for _ in 0..size {
            old.push(None, GFP_KERNEL)?;
        }
        core::mem::swap(&mut self.slots, &mut old);
        for (xid, value) in old.into_iter().flatten() {
            let slot = self.slot(xid);
            self.slots[slot] = Some((xid, value));
        }
        Ok(())
    }

    /// The entry of `xid`.
    pub(crate) fn get(&self, xid: u32) -> Option<&T> {
        if self.slots.is_empty() {
            return None;
        }
        match &self.slots[self.slot(xid)] {
            Some((x, value)) if *x == xid => Some(value),
            _ => None,
        }
    }

    /// Takes the entry of `xid` out.
    pub(crate) fn remove(&mut self, xid: u32) -> Option<T> {
        self.get(xid)?;
        let slot = self.slot(xid);
        self.len -= 1;
        self.slots[slot].take().map(|(_, value)| value)
    }

    /// All entries, in no order.
    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().flatten().map(|(_, value)| value)
    }
}
