// SPDX-License-Identifier: GPL-2.0

//! A daemon that writes anything, against offsets of include/uapi/linux/nfsd/cld.h and nfsd_ha_cld.h written
//! out by hand.
//!
//! An input is the version of the protocol, the number of allocations that succeed (255: all), and
//! what is written: messages of the version's length, of which the last may be shorter. Of version 3, each
//! has its length before it, in 16 bits.

use crate::nfs4::record::Client;
use crate::nfs4::records::{Counts, RecordTable};
use crate::tracking::cld::{self, About, Body, Command, Downcall, Said, Version, ANSWER_LEN};
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
            Body::Records(records) => {
                records
                    .iter()
                    .for_each(|one| check_record(self.version, message, one));
                // The upcall fails then, not the write.
                let inserted = with_memory(memory, || {
                    records.iter().try_for_each(|one| self.records.insert(one))
                });
                assert!(inserted.is_ok() || inserted == Err(ENOMEM));
                inserted.is_err()
            }
            Body::Failed(why) => {
                assert!((1..=4095).contains(&why) && why != 115);
                true
            }
            Body::Done(said) => {
                check_answer(self.version, message, said);
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
    let Some(len) = version.message_len() else {
        return;
    };
    let about = About {
        client: Some(client),
        ..About::default()
    };
    let again = cld::encode(version, Command::GraceStart, &about);
    let mut again = again.unwrap().to_vec();
    cld::set_xid(&mut again, u32_at(message, XID));
    again.resize(len, 0);
    again[STATUS..XID].copy_from_slice(&(-115i16).to_ne_bytes());
    assert_eq!(again[1..NAME + 2], message[1..NAME + 2], "the header");
    let end = NAME + 2 + name.len();
    assert_eq!(again[NAME + 2..end], message[NAME + 2..end], "the name");
    if version == Version::V2 {
        let end = HASH + 1 + hash.len();
        assert_eq!(again[HASH..end], message[HASH..end], "the hash");
    }
    let downcall = Downcall::parse(version, again.len(), &again).unwrap();
    let Body::Records(records) = downcall.body else {
        panic!("it is none any more");
    };
    assert!(records.iter().eq([client]));
}

/// What an answer says.
fn check_answer(version: Version, message: &[u8], said: Said) {
    if version == Version::V3 {
        let all = attributes(&message[NAME..]).unwrap();
        let mut epochs = all.iter().filter(|(kind, _)| *kind == 5);
        let last = epochs.next_back();
        let last = last.map(|(_, value)| *value);
        assert_eq!(said.epoch.as_ref().map(|epoch| &epoch[..]), last);
        return;
    }
    let ours = message[NAME] >= 3 && &message[NAME + 1..NAME + 9] == b"nfsd-ha!";
    assert_eq!(
        said.epoch,
        ours.then(|| message[NAME + 9..NAME + 25].try_into().unwrap())
    );
    let highest = message[NAME].clamp(1, 2);
    assert_eq!(said.version as u8, if ours { 3 } else { highest });
}

/// The attributes of a message that we know, if all of it are good ones.
fn attributes(mut bytes: &[u8]) -> Option<Vec<(u16, &[u8])>> {
    let (mut all, mut seen) = (Vec::new(), Vec::new());
    while !bytes.is_empty() {
        let kind = u16_at(bytes.get(..4)?, 0);
        let value = bytes[4..].get(..usize::from(u16_at(bytes, 2)))?;
        bytes = &bytes[4 + value.len()..];
        let good = match kind {
            1 => (1..=1024).contains(&value.len()),
            2 => value.len() == 32,
            3 => value.len() == 4,
            4 => (1..=64).contains(&value.len()),
            5 => value.len() == 16,
            _ => continue,
        };
        if kind == 1 {
            seen.clear();
        }
        if !good || seen.contains(&kind) {
            return None;
        }
        seen.push(kind);
        all.push((kind, value));
    }
    Some(all)
}

/// The clients of a record of version 3.
fn clients(message: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut all: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    for (kind, value) in attributes(&message[NAME..]).unwrap() {
        match (kind, all.last_mut()) {
            (1, _) => all.push((value.to_vec(), Vec::new())),
            (2, Some((_, hash))) => *hash = value.to_vec(),
            _ => {}
        }
    }
    all
}

/// The name of a record of version 1 or 2.
fn name(message: &[u8]) -> Vec<u8> {
    let len = usize::from(u16_at(message, NAME));
    message[NAME + 2..NAME + 2 + len].to_vec()
}

/// The next message.
fn next<'a>(version: Version, rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (len, from) = match (version.message_len(), &rest[..]) {
        (_, []) => return None,
        (Some(len), _) => (len, 0),
        (None, [a, b, ..]) => (usize::from(u16::from_ne_bytes([*a, *b])), 2),
        (None, [_]) => (0, 1),
    };
    let (message, left) = rest[from..].split_at(len.min(rest.len() - from));
    *rest = left;
    Some(message)
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
            Version::V3 => return self.expects_attributes(message),
        };
        let refused = message.len() != if version == Version::V1 { 1034 } else { 1067 }
            || !(-4095..=0).contains(&(u16_at(message, STATUS) as i16))
            || record && message[1] != 4
            || record && !(1..=1024).contains(&u16_at(message, NAME))
            || record && hash_len > 32;
        if refused {
            return Err(EINVAL);
        }
        self.expects_upcall(message)
    }

    /// The same, of one of version 3.
    fn expects_attributes(&self, message: &[u8]) -> Result {
        let status = message.get(..NAME).ok_or(EINVAL)?;
        let status = u16_at(status, STATUS) as i16;
        let attributes = attributes(&message[NAME..]);
        let begins = |all: &Vec<(u16, &[u8])>| all.first().is_some_and(|(kind, _)| *kind == 1);
        let good = message.len() <= 32 << 10
            && match status {
                -115 => message[1] == 4 && attributes.as_ref().is_some_and(begins),
                0 => message.len() <= 64 && attributes.is_some(),
                _ => (-4095..0).contains(&status),
            };
        if !good {
            return Err(EINVAL);
        }
        self.expects_upcall(message)
    }

    fn expects_upcall(&self, message: &[u8]) -> Result {
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
        if !record || ended && kernel.version < Version::V3 {
            return;
        }
        let all = match kernel.version {
            Version::V1 => vec![(name(message), Vec::new())],
            Version::V2 => {
                let hash = &message[HASH + 1..HASH + 1 + usize::from(message[HASH])];
                vec![(name(message), hash.to_vec())]
            }
            Version::V3 => clients(message),
        };
        for (name, hash) in all {
            // Without memory, the first ones are there.
            let mut there = kernel.records.iter().map(|(client, _)| client);
            let there = there.find(|client| client.name == name);
            if ended && there.is_none_or(|client| client.hash.is_empty() && !hash.is_empty()) {
                return;
            }
            let known = self.records.entry(name).or_default();
            if known.is_empty() {
                *known = hash;
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
    let version = match *version {
        0 | 1 => Version::V1,
        2 => Version::V2,
        3.. => Version::V3,
    };
    let mut kernel = Kernel::new(version);
    let upcalls = (FIRST_XID..).zip(IN_FLIGHT).collect();
    let mut model = Model {
        upcalls,
        records: BTreeMap::new(),
    };
    let mut rest = writes;
    while let Some(message) = next(version, &mut rest) {
        let expected = model.expects(kernel.version, message);
        assert_eq!(kernel.take(message, *memory), expected);
        if expected.is_ok() {
            model.take(&kernel, message);
        }
        model.compare(&kernel);
        if version.message_len() == Some(message.len()) {
            let longer = [message, &[0]].concat();
            assert_eq!(kernel.take(&longer, *memory), Err(EINVAL));
        }
    }
    model.reclaim(kernel);
}
