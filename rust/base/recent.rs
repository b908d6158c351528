// SPDX-License-Identifier: GPL-2.0

//! What was found lately: digests that are compared without a lock.
//!
//! This file makes no kernel calls; it is also compiled and tested on the host.

use core::sync::atomic::{AtomicU64, Ordering};

/// Some of the digests that were added since all were forgotten last. There is room for `SIZE`, each where its own last bits
/// say.
pub(crate) struct Recent<const SIZE: usize = 256> {
    digests: [AtomicU64; SIZE],
    /// How often all were forgotten: it is part of each digest.
    epoch: AtomicU64,
}

/// A digest of some words, as FNV makes it. Who could choose the words could make one that is there, so they have to be such
/// that nobody can who would gain by it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Digest(u64);

/// Adds a word to a digest.
pub(crate) fn mix(digest: u64, word: u64) -> u64 {
    (digest ^ word)
        .wrapping_mul(0x0100_0000_01b3)
        .rotate_left(23)
}

impl<const SIZE: usize> Recent<SIZE> {
    /// None.
    pub(crate) const fn new() -> Self {
        Recent {
            digests: [const { AtomicU64::new(0) }; SIZE],
            epoch: AtomicU64::new(0),
        }
    }

    /// The digest of some words, now.
    pub(crate) fn digest(&self, words: impl Iterator<Item = u64>) -> Digest {
        // A place without one has 0.
        Digest(words.fold(self.epoch(), mix).max(1))
    }

    fn place(&self, digest: Digest) -> &AtomicU64 {
        &self.digests[digest.0 as usize % SIZE]
    }

    /// Is it there?
    pub(crate) fn has(&self, digest: Digest) -> bool {
        self.place(digest).load(Ordering::Relaxed) == digest.0
    }

    /// Adds one.
    pub(crate) fn add(&self, digest: Digest) {
        self.place(digest).store(digest.0, Ordering::Relaxed);
    }

    /// None of those that were made so far is good any more.
    pub(crate) fn forget(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// How often that was.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }
}
