// SPDX-License-Identifier: GPL-2.0

//! As `rust/base/siphash.rs`, by the standard library's SipHash; a key of the schedule's.

use crate::base::index::KeyedHash;
use shuttle::rand::{thread_rng, Rng};
use std::hash::{DefaultHasher, Hasher};

pub(crate) struct SipHash(u64);

impl SipHash {
    pub(crate) fn random() -> Self {
        SipHash(thread_rng().gen())
    }

    pub(crate) fn word(&self) -> u32 {
        self.0 as u32
    }
}

impl KeyedHash for SipHash {
    fn hash(&self, key: &[u8]) -> u64 {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.0);
        hasher.write(key);
        hasher.finish()
    }
}
