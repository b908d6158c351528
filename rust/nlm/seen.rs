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
use core::fmt::{self, Write};
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
    /// A recorder could not store it, and goes on trying: nobody waits for that.
    pub(crate) unstored: bool,
    /// lockd has forgotten the client; the pair only waits for its place to be used again.
    gone: bool,
}

/// What a recorder says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Recorded<'a> {
    /// All up to this change is on stable storage,
    pub(crate) sequence: u64,
    /// but for what is new of these exports: words as they are shown.
    pub(crate) except: &'a str,
    /// It wants to know what has come since.
    pub(crate) news: bool,
}

impl<'a> Recorded<'a> {
    /// Reads `N`, `N news` or `N news except FSID...`. Fails with `EINVAL`.
    pub(crate) fn parse(line: &'a str) -> Result<Self> {
        let (number, wish) = match line.split_once(' ') {
            Some((number, wish)) => (number, Some(wish)),
            None => (line, None),
        };
        let except = match wish {
            None | Some("news") => "",
            Some(wish) => wish.strip_prefix("news except ").ok_or(EINVAL)?,
        };
        if !number.bytes().all(|c| c.is_ascii_digit()) {
            return Err(EINVAL);
        }
        Ok(Recorded {
            sequence: number.parse().map_err(|_| EINVAL)?,
            except,
            news: wish.is_some(),
        })
    }

    /// Is an export one of those that it has not stored?
    fn excepts(&self, fsid: &Fsid) -> bool {
        self.except.split(' ').any(|word| {
            let mut rest = Rest(word);
            write!(rest, "{fsid}").is_ok() && rest.0.is_empty()
        })
    }
}

/// What is left of a text that something is compared with, as it is written.
struct Rest<'a>(&'a str);

impl Write for Rest<'_> {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        self.0 = self.0.strip_prefix(part).ok_or(fmt::Error)?;
        Ok(())
    }
}

/// All pairs.
pub(crate) struct Pairs<H> {
    hash: H,
    index: Index,
    pairs: KVVec<Pair>,
    gone: usize,
    sequence: u64,
    /// Some may be unstored.
    unstored: bool,
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
            unstored: false,
            recent: [0; RECENT],
        }
    }

    /// The number of the last change.
    pub(crate) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The pairs that came after a change, the last one first.
    pub(crate) fn since(&self, change: u64) -> impl Iterator<Item = &Pair> {
        let pairs = self.pairs.iter().rev();
        pairs
            .take_while(move |pair| pair.sequence > change)
            .filter(|pair| !pair.gone)
    }

    /// A recorder of a net namespace, which had stored all up to an earlier change, says this.
    pub(crate) fn recorded(&mut self, net: u64, earlier: u64, said: &Recorded<'_>) {
        if said.except.is_empty() && !self.unstored {
            return;
        }
        self.unstored = false;
        for pair in self.pairs.iter_mut() {
            if pair.peer.net == net && pair.sequence <= said.sequence {
                let new = pair.unstored || pair.sequence > earlier;
                pair.unstored = new && said.excepts(&pair.fsid);
            }
            self.unstored |= pair.unstored && !pair.gone;
        }
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
            unstored: false,
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
