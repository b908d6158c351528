// SPDX-License-Identifier: GPL-2.0

//! A daemon that writes anything, against offsets of include/uapi/linux/nfsd/cld.h written out by
//! hand.
//!
//! An input is the version of the protocol, the number of allocations that succeed (255: all), and
//! what is written: messages of the version's length, of which the last may be shorter.

use crate::nfs4::record::Client;
use crate::nfs4::records::{Counts, RecordTable};
use crate::tracking::cld::{self, Body, Command, Downcall, Version, ANSWER_LEN};
use crate::tracking::xid::XidTable;
use crate::{with_memory, Weak};
use kernel::prelude::*;
use std::collections::BTreeMap;

const STATUS: usize = 2;
const XID: usize = 4;
const NAME: usize = 8;
const HASH: usize = 8 + 2 + 1024;

/// The xid of the first of the upcalls in flight; the others follow.
const FIRST_XID: u32 = 0x6162_6364;
const IN_FLIGHT: [Command; 3] = [Command::GetVersion, Command::GraceStart, Command::Create];

/// The kernel's side: what `State` has, without its locks and sleepers.
struct Kernel {
    version: Version,
    upcalls: XidTable<Command>,
    records: RecordTable<Weak>,
}

/// What it should have.
struct Model {
    upcalls: BTreeMap<u32, Command>,
    records: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Kernel {
    fn new(version: Version) -> Self {
        let mut upcalls = XidTable::new(FIRST_XID);
        for command in IN_FLIGHT {
            let xid = upcalls.reserve().unwrap();
            upcalls.insert(xid, command);
        }
        Kernel {
            version,
            upcalls,
            records: RecordTable::new(Weak),
        }
    }

    /// Reads a message as `Channel::downcall()` does, and finds its upcall as `State::receive()`.
    fn read<'a>(&self, message: &'a [u8]) -> Result<Downcall<'a>> {
        let start = &message[..message.len().min(ANSWER_LEN)];
        let whole = cld::is_record(message.len(), start);
        let read = if whole { message } else { start };
        let downcall = Downcall::parse(self.version, message.len(), read)?;
        let command = self.upcalls.get(downcall.xid).ok_or(ENOENT)?;
        if downcall.command != *command as u8 {
            return Err(EINVAL);
        }
        Ok(downcall)
    }

    /// Takes a message; nothing has changed if that fails.
    fn take(&mut self, message: &[u8], memory: u8) -> Result {
        let downcall = self.read(message)?;
        let done = match downcall.body {
            Body::Record(client) => {
                check_record(self.version, message, client);
                // The upcall fails then, not the write.
                let inserted = with_memory(memory, || self.records.insert(client));
                assert!(inserted.is_ok() || inserted == Err(ENOMEM));
                inserted.is_err()
            }
            Body::Done { status, version } => {
                assert!((-4095..=0).contains(&status) && status != -115);
                assert_eq!(version, message[NAME]);
                true
            }
        };
        if done {
            assert!(self.upcalls.remove(downcall.xid).is_some());
        }
        Ok(())
    }
}

/// A record that was accepted: what it says is what was written, and it can be written again.
fn check_record(version: Version, message: &[u8], client: Client<'_>) {
    let Client { name, hash } = client;
    assert!((1..=1024).contains(&name.len()) && hash.len() <= 32);
    let mut again = cld::encode(version, Command::GraceStart, Some(client))
        .unwrap()
        .to_vec();
    cld::set_xid(&mut again, u32_at(message, XID));
    again.resize(version.message_len(), 0);
    again[STATUS..XID].copy_from_slice(&(-115i16).to_ne_bytes());
    assert_eq!(again[1..NAME + 2], message[1..NAME + 2], "the header");
    let end = NAME + 2 + name.len();
    assert_eq!(again[NAME + 2..end], message[NAME + 2..end], "the name");
    if version == Version::V2 {
        let end = HASH + 1 + hash.len();
        assert_eq!(again[HASH..end], message[HASH..end], "the hash");
    }
    let downcall = Downcall::parse(version, again.len(), &again).unwrap();
    assert_eq!(downcall.body, Body::Record(client));
}

fn u32_at(message: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(message[at..at + 4].try_into().unwrap())
}

fn u16_at(message: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes(message[at..at + 2].try_into().unwrap())
}

impl Model {
    /// What the answer to a message should be.
    fn expects(&self, version: Version, message: &[u8]) -> Result {
        let record = message.len() >= NAME && u16_at(message, STATUS) as i16 == -115;
        let hash_len = match version {
            Version::V1 => 0,
            Version::V2 => message.get(HASH).copied().unwrap_or(0),
        };
        let refused = message.len() != if version == Version::V1 { 1034 } else { 1067 }
            || !(-4095..=0).contains(&(u16_at(message, STATUS) as i16))
            || record && message[1] != 4
            || record && !(1..=1024).contains(&u16_at(message, NAME))
            || record && hash_len > 32;
        if refused {
            return Err(EINVAL);
        }
        let command = self.upcalls.get(&u32_at(message, XID)).ok_or(ENOENT)?;
        if *command as u8 == message[1] {
            Ok(())
        } else {
            Err(EINVAL)
        }
    }

    /// Notes a message that was taken.
    fn take(&mut self, kernel: &Kernel, message: &[u8]) {
        let xid = u32_at(message, XID);
        let ended = kernel.upcalls.get(xid).is_none();
        if ended {
            self.upcalls.remove(&xid);
        }
        let record = u16_at(message, STATUS) as i16 == -115;
        assert!(record || ended);
        if record && !ended {
            let len = usize::from(u16_at(message, NAME));
            let name = message[NAME + 2..NAME + 2 + len].to_vec();
            let hash = match kernel.version {
                Version::V1 => &[],
                Version::V2 => &message[HASH + 1..HASH + 1 + usize::from(message[HASH])],
            };
            let known = self.records.entry(name).or_default();
            if known.is_empty() {
                known.extend(hash);
            }
        }
    }

    /// Is this what the kernel has?
    fn compare(&self, kernel: &Kernel) {
        assert_eq!(kernel.upcalls.len(), self.upcalls.len());
        for (xid, command) in &self.upcalls {
            assert_eq!(kernel.upcalls.get(*xid), Some(command));
        }
        let counts = Counts {
            known: self.records.len(),
            ..Counts::default()
        };
        assert_eq!(kernel.records.counts(), counts);
    }

    /// Each of the clients may reclaim, as who it is, and nobody else.
    fn reclaim(&self, mut kernel: Kernel) {
        for (name, hash) in &self.records {
            let other = [name, &b"x"[..]].concat();
            if !self.records.contains_key(&other) {
                assert!(!kernel.records.claim(&other, Some(hash)));
            }
            assert!(kernel.records.claim(name, Some(hash)));
            assert_eq!(kernel.records.claim(name, None), hash.is_empty());
        }
        let last = self.records.len().saturating_sub(1);
        for (n, (name, hash)) in self.records.iter().enumerate() {
            assert!(hash.is_empty() || !kernel.records.complete(name, None));
            assert_eq!(kernel.records.complete(name, Some(hash)), n == last);
        }
    }
}

/// A daemon writes.
pub fn downcalls(data: &[u8]) {
    let [version, memory, writes @ ..] = data else {
        return;
    };
    let mut kernel = Kernel::new(Version::negotiate(*version));
    let upcalls = (FIRST_XID..).zip(IN_FLIGHT).collect();
    let mut model = Model {
        upcalls,
        records: BTreeMap::new(),
    };
    let len = kernel.version.message_len();
    for message in writes.chunks(len) {
        let expected = model.expects(kernel.version, message);
        assert_eq!(kernel.take(message, *memory), expected);
        if expected.is_ok() {
            model.take(&kernel, message);
        }
        model.compare(&kernel);
        if message.len() == len {
            let longer = [message, &[0]].concat();
            assert_eq!(kernel.take(&longer, *memory), Err(EINVAL));
        }
    }
    model.reclaim(kernel);
}
