// SPDX-License-Identifier: GPL-2.0

//! A table of entries that are found by a number, which a keyed hash makes of what they are: each stays at its place until
//! it is taken out.
//!
//! This file makes no kernel calls; it is also compiled and tested on the host.

use crate::base::index::Index;
use kernel::prelude::*;

/// Places that are kept when the table is empty, for the next entries.
const KEPT: usize = 64;

/// A place for an entry.
enum Place<T> {
    /// Without one; the next free place, if there is one.
    Free(Option<u32>),
    /// With one, and its number.
    Used(u64, T),
}

/// The table.
pub(crate) struct Table<T> {
    index: Index,
    places: KVVec<Place<T>>,
    free: Option<u32>,
    len: usize,
}

impl<T> Table<T> {
    /// An empty one.
    pub(crate) const fn new() -> Self {
        Table {
            index: Index::new(),
            places: KVVec::new(),
            free: None,
            len: 0,
        }
    }

    /// How many places there are, with entries or without.
    pub(crate) fn places(&self) -> usize {
        self.places.len()
    }

    /// The entry at a place.
    pub(crate) fn get(&self, at: usize) -> Option<&T> {
        match self.places.get(at)? {
            Place::Used(_, entry) => Some(entry),
            Place::Free(_) => None,
        }
    }

    /// The same, to be changed.
    pub(crate) fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        match self.places.get_mut(at)? {
            Place::Used(_, entry) => Some(entry),
            Place::Free(_) => None,
        }
    }

    /// All entries, to be changed.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.places.iter_mut().filter_map(|place| match place {
            Place::Used(_, entry) => Some(entry),
            Place::Free(_) => None,
        })
    }

    /// The place of the entry with a number for which `is` holds.
    pub(crate) fn find(&self, number: u64, mut is: impl FnMut(&T) -> bool) -> Option<usize> {
        self.index
            .find(number, |at| self.get(at).is_some_and(&mut is))
    }

    /// Adds an entry; returns its place. Fails with `ENOMEM` and changes nothing. May sleep.
    pub(crate) fn insert(&mut self, number: u64, entry: T) -> Result<usize> {
        if !self.index.has_room(1) {
            self.grow()?;
        }
        let place = Place::Used(number, entry);
        let at = match self.free {
            Some(at) => {
                let at = at as usize;
                if let Place::Free(next) = core::mem::replace(&mut self.places[at], place) {
                    self.free = next;
                }
                at
            }
            None => {
                self.places.push(place, GFP_KERNEL)?;
                self.places.len() - 1
            }
        };
        self.index.insert(number, at);
        self.len += 1;
        Ok(at)
    }

    /// Makes room for twice the entries.
    fn grow(&mut self) -> Result {
        let mut index = Index::with_room((self.places.len() + 1) * 2)?;
        for (at, place) in self.places.iter().enumerate() {
            if let Place::Used(number, _) = place {
                index.insert(*number, at);
            }
        }
        self.index = index;
        Ok(())
    }

    /// Takes out the entry at a place. The last of many takes the memory with it.
    pub(crate) fn take(&mut self, at: usize) -> Option<T> {
        let free = Place::Free(self.free);
        let (number, entry) = match core::mem::replace(self.places.get_mut(at)?, free) {
            Place::Used(number, entry) => (number, entry),
            place => {
                self.places[at] = place;
                return None;
            }
        };
        self.free = Some(at as u32);
        self.len -= 1;
        if self.len == 0 && self.places.len() > KEPT {
            *self = Table::new();
            return Some(entry);
        }
        let places = &self.places;
        self.index.remove(number, at, |other| match &places[other] {
            Place::Used(number, _) => *number,
            Place::Free(_) => 0,
        });
        Some(entry)
    }
}
