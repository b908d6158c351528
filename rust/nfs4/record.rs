// SPDX-License-Identifier: GPL-2.0

//! A client as a record on stable storage names it.
//!
//! This file makes no kernel calls; it is also compiled and tested on the host.

use kernel::prelude::*;

/// Longest NFSv4 client name, in bytes (`NFS4_OPAQUE_LIMIT`, RFC 8881 section 3.2).
pub(crate) const NAME_MAX: usize = 1024;
/// Length of a principal hash, in bytes (SHA-256).
pub(crate) const HASH_LEN: usize = 32;
/// A client as an upcall or a record names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Client<'a> {
    /// The client's name (`co_ownerid`), 1 to [`NAME_MAX`] bytes.
    pub(crate) name: &'a [u8],
    /// SHA-256 of the principal, or nothing; version 1 has no room for it.
    pub(crate) hash: &'a [u8],
}

/// A client's name and hash, kept.
pub(crate) struct OwnedClient {
    /// The name, then the hash.
    bytes: KVec<u8>,
    name_len: u16,
}

impl OwnedClient {
    /// A copy of `client`. Fails with `ENOMEM`. May sleep.
    pub(crate) fn new(client: Client<'_>) -> Result<Self> {
        let mut bytes = KVec::with_capacity(client.name.len() + client.hash.len(), GFP_KERNEL)?;
        bytes.extend_from_slice(client.name, GFP_KERNEL)?;
        bytes.extend_from_slice(client.hash, GFP_KERNEL)?;
        Ok(OwnedClient {
            bytes,
            name_len: client.name.len() as u16,
        })
    }

    /// The client.
    pub(crate) fn get(&self) -> Client<'_> {
        let (name, hash) = self.bytes.split_at(usize::from(self.name_len));
        Client { name, hash }
    }

    /// Adds the hash of one that had none. Fails with `ENOMEM` and changes nothing. May sleep.
    pub(crate) fn set_hash(&mut self, hash: &[u8]) -> Result {
        Ok(self.bytes.extend_from_slice(hash, GFP_KERNEL)?)
    }
}
