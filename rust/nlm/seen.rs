// SPDX-License-Identifier: GPL-2.0

//! Which clients have asked for a monitored lock on which export.
//!
//! A pair is there before the client's first lock on the export is granted, and until lockd
//! forgets the client, as whoever moves the export must notify it even if it holds nothing at
//! that moment; or until the export comes back. Each change has a number; somebody who keeps a copy of the pairs on stable
//! storage, a *recorder*, says up to which number it has done so.
//!
//! This file makes no kernel calls; it is also compiled and tested on the host.

use crate::base::index::{Index, KeyedHash};
use crate::scopes::place::Place;
use crate::scopes::scope::{address_key, Fsid, KEY_LEN};
use core::net::IpAddr;
use kernel::prelude::*;

/// A client as lockd tells them apart, in one net namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Peer {
    /// The cookie of the net namespace.
    pub(crate) net: u64,
    /// The server's address that the client uses.
    pub(crate) server: IpAddr,
    /// The client's address.
    pub(crate) client: IpAddr,
    /// The NLM version: 1, 3 or 4.
    pub(crate) version: u32,
    /// The transport: an IP protocol number.
    pub(crate) protocol: u16,
}

/// A client and an export.
pub(crate) struct Pair {
    /// The client.
    pub(crate) peer: Peer,
    /// The export.
    pub(crate) fsid: Fsid,
    /// Where that is, as far as it was known.
    pub(crate) at: Place,
    /// The name that the client gave itself.
    pub(crate) name: KVec<u8>,
    /// The number of the change that brought it.
    pub(crate) sequence: u64,
    /// lockd has forgotten the client; the pair only waits for its place to be used again.
    gone: bool,
}

/// Reads what a recorder says: the number of a change. Fails with `EINVAL`.
pub(crate) fn recorded(line: &str) -> Result<u64> {
    if !line.bytes().all(|c| c.is_ascii_digit()) {
        return Err(EINVAL);
    }
    line.parse().map_err(|_| EINVAL)
}

/// All pairs.
pub(crate) struct Pairs<H> {
    hash: H,
    index: Index,
    pairs: KVVec<Pair>,
    gone: usize,
    sequence: u64,
    /// Where pairs were found lately, by a number that is quicker to have than the hash: most locks are
    /// of the same few clients.
    recent: [u32; RECENT],
}

/// Places of the last few pairs.
const RECENT: usize = 64;

const KEY: usize = 8 + 3 * KEY_LEN + 6;

impl<H: KeyedHash> Pairs<H> {
    /// No pairs.
    pub(crate) const fn new(hash: H) -> Self {
        Pairs {
            hash,
            index: Index::new(),
            pairs: KVVec::new(),
            gone: 0,
            sequence: 0,
            recent: [0; RECENT],
        }
    }

    /// The number of the last change.
    pub(crate) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// All pairs, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Pair> {
        self.pairs.iter().filter(|pair| !pair.gone)
    }

    fn hash_of(&self, peer: &Peer, fsid: &Fsid) -> u64 {
        let mut key = [0; KEY];
        let (net, rest) = key.split_at_mut(8);
        net.copy_from_slice(&peer.net.to_ne_bytes());
        let parts = [
            fsid.key(),
            address_key(peer.server),
            address_key(peer.client),
        ];
        for (slot, part) in rest.chunks_mut(KEY_LEN).zip(parts) {
            slot.copy_from_slice(&part);
        }
        let tail = &mut rest[3 * KEY_LEN..];
        tail[..4].copy_from_slice(&peer.version.to_ne_bytes());
        tail[4..].copy_from_slice(&peer.protocol.to_ne_bytes());
        self.hash.hash(&key)
    }

    /// The pair, if it is there.
    pub(crate) fn get(&mut self, peer: &Peer, fsid: &Fsid) -> Option<&Pair> {
        let same = |pair: &Pair| !pair.gone && pair.fsid == *fsid && pair.peer == *peer;
        let host = match peer.client {
            IpAddr::V4(address) => address.octets()[3],
            IpAddr::V6(address) => address.octets()[15],
        };
        let export = match fsid {
            Fsid::Num(n) => *n as u8,
            Fsid::Uuid(uuid) => uuid[0],
            Fsid::Uuid8(half) => half[0],
            Fsid::Uuid4(quarter) => quarter[0],
            Fsid::Dev { minor, .. } => *minor as u8,
        };
        let recent = usize::from(host ^ export) % RECENT;
        let mut at = self.recent[recent] as usize;
        if !self.pairs.get(at).is_some_and(same) {
            let hash = self.hash_of(peer, fsid);
            at = self.index.find(hash, |at| same(&self.pairs[at]))?;
            self.recent[recent] = at as u32;
        }
        self.pairs.get(at)
    }

    /// Adds a pair that is not there. Returns the number of the change. Fails with `ENOMEM` and
    /// changes nothing. May sleep.
    pub(crate) fn add(&mut self, peer: &Peer, fsid: &Fsid, at: &Place, name: &[u8]) -> Result<u64> {
        let mut own = KVec::with_capacity(name.len(), GFP_KERNEL)?;
        own.extend_from_slice(name, GFP_KERNEL)?;
        if !self.index.has_room(1) {
            self.make_room()?;
        }
        let pair = Pair {
            peer: *peer,
            fsid: *fsid,
            at: Place {
                handle: Some(*fsid),
                ..*at
            },
            name: own,
            sequence: self.sequence + 1,
            gone: false,
        };
        self.pairs.push(pair, GFP_KERNEL)?;
        self.index
            .insert(self.hash_of(peer, fsid), self.pairs.len() - 1);
        self.sequence += 1;
        Ok(self.sequence)
    }

    /// Makes room for as many pairs as there are, in the places of those that are gone and in
    /// new ones.
    fn make_room(&mut self) -> Result {
        let used = self.pairs.len() - self.gone;
        self.index = Index::with_room((used + 1) * 2)?;
        self.pairs.retain(|pair| !pair.gone);
        self.gone = 0;
        for at in 0..self.pairs.len() {
            let pair = &self.pairs[at];
            let hash = self.hash_of(&pair.peer, &pair.fsid);
            self.index.insert(hash, at);
        }
        Ok(())
    }

    /// Forgets some pairs. Returns whether there were any.
    pub(crate) fn forget(&mut self, is_one: impl Fn(&Pair) -> bool) -> bool {
        let mut any = false;
        for pair in self.pairs.iter_mut() {
            if !pair.gone && is_one(pair) {
                pair.gone = true;
                pair.name = KVec::new();
                self.gone += 1;
                any = true;
            }
        }
        self.sequence += u64::from(any);
        any
    }
}
