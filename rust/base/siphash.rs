// SPDX-License-Identifier: GPL-2.0

//! The kernel's SipHash, as a [`KeyedHash`].
//!
//! C header: `include/linux/siphash.h`.

use crate::base::index::KeyedHash;
use crate::base::private;
use kernel::bindings;

/// A hash with a secret key.
pub(crate) struct SipHash(private::siphash_key_t);

impl SipHash {
    /// A hash with a key of its own.
    pub(crate) fn random() -> Self {
        let mut key = private::siphash_key_t { key: [0; 2] };
        // SAFETY: The key is valid for its size.
        unsafe { bindings::get_random_bytes((&raw mut key).cast(), size_of_val(&key)) };
        SipHash(key)
    }

    /// An unpredictable number.
    pub(crate) fn word(&self) -> u32 {
        self.0.key[0] as u32
    }
}

impl KeyedHash for SipHash {
    fn hash(&self, key: &[u8]) -> u64 {
        // SAFETY: `key` is valid for its length and may be unaligned, and our own key is valid.
        unsafe { private::__siphash_unaligned(key.as_ptr().cast(), key.len(), &self.0) }
    }
}
