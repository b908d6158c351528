// SPDX-License-Identifier: GPL-2.0

//! A hash index into a vector, with open addressing.
//!
//! The slots hold positions of the vector's entries; at most half of the slots are in use, so
//! that finding takes a constant number of steps.
//!
//! This file makes no kernel calls; it is also compiled and tested on the host.

use kernel::prelude::*;

/// Slots of an index that has its first entry; a power of two, as every size is.
const MIN_SLOTS: usize = 64;
/// A slot without an entry.
const FREE: u32 = u32::MAX;

/// A keyed hash, which who chooses the keys cannot predict.
pub(crate) trait KeyedHash {
    /// The hash of `key`.
    fn hash(&self, key: &[u8]) -> u64;
}

/// Positions of a vector's entries, by hash.
pub(crate) struct Index {
    slots: KVVec<u32>,
    used: usize,
}

impl Index {
    /// An index of nothing, without room.
    pub(crate) const fn new() -> Self {
        Index {
            slots: KVVec::new(),
            used: 0,
        }
    }

    /// An empty index with room for `n` entries. Fails with `ENOMEM`. May sleep.
    pub(crate) fn with_room(n: usize) -> Result<Self> {
        let size = n.saturating_mul(2).max(MIN_SLOTS).next_power_of_two();
        if size > FREE as usize {
            return Err(ENOMEM);
        }
        let mut slots = KVVec::with_capacity(size, GFP_KERNEL)?;
        slots.extend_with(size, FREE, GFP_KERNEL)?;
        Ok(Index { slots, used: 0 })
    }

    /// Is there room for `n` more entries?
    pub(crate) fn has_room(&self, n: usize) -> bool {
        (self.used + n) * 2 <= self.slots.len()
    }

    /// The first position with this hash for which `is` holds.
    pub(crate) fn find(&self, hash: u64, mut is: impl FnMut(usize) -> bool) -> Option<usize> {
        let mask = self.slots.len().checked_sub(1)?;
        let mut slot = hash as usize & mask;
        loop {
            match self.slots[slot] {
                FREE => return None,
                at if is(at as usize) => return Some(at as usize),
                _ => slot = (slot + 1) & mask,
            }
        }
    }

    /// Adds a position. There must be room.
    pub(crate) fn insert(&mut self, hash: u64, at: usize) {
        let mask = self.slots.len() - 1;
        let mut slot = hash as usize & mask;
        while self.slots[slot] != FREE {
            slot = (slot + 1) & mask;
        }
        self.slots[slot] = at as u32;
        self.used += 1;
    }

    /// Takes out a position that was inserted with `hash`. `hash_of` gives the hashes of all
    /// positions that are in the index.
    pub(crate) fn remove(&mut self, hash: u64, at: usize, hash_of: impl Fn(usize) -> u64) {
        let mask = self.slots.len() - 1;
        let mut hole = hash as usize & mask;
        while self.slots[hole] != at as u32 {
            hole = (hole + 1) & mask;
        }
        // Who comes later in the same row, and may be in the hole, moves there, as finding ends
        // at a free slot.
        let mut slot = hole;
        loop {
            slot = (slot + 1) & mask;
            let next = self.slots[slot];
            if next == FREE {
                break;
            }
            let home = hash_of(next as usize) as usize & mask;
            if slot.wrapping_sub(home) & mask >= slot.wrapping_sub(hole) & mask {
                self.slots[hole] = next;
                hole = slot;
            }
        }
        self.slots[hole] = FREE;
        self.used -= 1;
    }
}
