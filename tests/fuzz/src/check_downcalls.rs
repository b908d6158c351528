// SPDX-License-Identifier: GPL-2.0

//! A daemon that writes anything, against offsets of include/uapi/linux/nfsd/cld.h and nfsd_ha_cld.h written
//! out by hand.
//!
//! An input is the version of the protocol, the number of allocations that succeed (255: all), and
//! what is written: messages of the version's length, of which the last may be shorter. Of version 3, each
//! has its length before it, in 16 bits.

use crate::nfs4::record::Client;
use crate::nfs4::records::{Counts, RecordTable};
use crate::scopes::place::{ExportId, Place};
use crate::scopes::scope::{Fsid, Scope};
use crate::scopes::subject::Subject;
use crate::scopes::was_held::WasHeld;
use crate::tracking::attributes::Record;
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
    was_held: WasHeld,
    known: bool,
}

/// What it should have.
struct Model {
    upcalls: BTreeMap<u32, Command>,
    /// By their names: what the clients' principals are, and whether they may have held something.
    records: BTreeMap<Vec<u8>, (Vec<u8>, bool)>,
    /// Who held something on which export.
    exports: Vec<(ExportId, u32)>,
    /// There was one that nobody knows.
    unclear: bool,
    /// Memory was short.
    partly: bool,
}

/// A record, as the second parser reads it.
#[derive(Debug, PartialEq)]
enum Row {
    /// Name, principal, and on how many exports it held something.
    Client(Vec<u8>, Vec<u8>, Option<u32>),
    /// Its fsid as text, its file system, and who held something there.
    Export(Vec<u8>, [u8; 16], u32),
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
            was_held: WasHeld::default(),
            known: false,
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
                match self.version {
                    Version::V3 => check_records(message, records.iter()),
                    version => records
                        .iter()
                        .for_each(|one| check_record(version, message, one)),
                }
                // The upcall fails then, not the write.
                let inserted = with_memory(memory, || {
                    records.iter().try_for_each(|one| match one {
                        Record::Client(client, holds) => {
                            self.records.insert(client, holds != Some(0))
                        }
                        Record::Export(export, holders) => self.was_held.add(export, holders),
                    })
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
                self.known |= said.known;
                true
            }
        };
        if done {
            assert!(self.upcalls.remove(downcall.xid).is_some());
        }
        Ok(())
    }
}

/// The same of records of version 3: they are those that the second parser finds.
fn check_records<'a>(message: &[u8], records: impl Iterator<Item = Record<'a>>) {
    let mut rows = rows(message).into_iter();
    for record in records {
        match (record, rows.next().unwrap()) {
            (Record::Client(client, holds), row) => {
                let (name, hash) = (client.name.to_vec(), client.hash.to_vec());
                assert_eq!(row, Row::Client(name, hash, holds));
            }
            (Record::Export(export, holders), Row::Export(text, file_system, who)) => {
                let read = fsid(&text).map(|fsid| ExportId { fsid, file_system });
                assert_eq!((export, holders), (read, who));
            }
            (Record::Export(..), row) => panic!("an export is {row:?}"),
        }
    }
    assert_eq!(rows.next(), None);
}

/// A record of version 1 or 2 that was accepted: what it says is what was written, and it can be written again.
fn check_record(version: Version, message: &[u8], record: Record<'_>) {
    let Record::Client(client, None) = record else {
        panic!("{record:?}");
    };
    let Client { name, hash } = client;
    assert!((1..=1024).contains(&name.len()) && hash.len() <= 32);
    let about = About {
        client: Some(client),
        ..About::default()
    };
    let again = cld::encode(version, Command::GraceStart, &about);
    let mut again = again.unwrap().to_vec();
    cld::set_xid(&mut again, u32_at(message, XID));
    again.resize(version.message_len().unwrap(), 0);
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
    assert!(records.iter().eq([record]));
}

/// What an answer says.
fn check_answer(version: Version, message: &[u8], said: Said) {
    if version == Version::V3 {
        let all = attributes(&message[NAME..]).unwrap();
        let mut epochs = all.iter().filter(|(kind, _)| *kind == 5);
        let last = epochs.next_back();
        let last = last.map(|(_, value)| *value);
        assert_eq!(said.epoch.as_ref().map(|epoch| &epoch[..]), last);
        assert_eq!(said.known, all.iter().any(|(kind, _)| *kind == 11));
        return;
    }
    assert!(!said.known);
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
            4 | 6 => (1..=64).contains(&value.len()),
            5 | 7 => value.len() == 16,
            8 => value.len() == 8,
            9 | 10 => value.len() == 4,
            11 => value.is_empty(),
            _ => continue,
        };
        if let 1 | 6 = kind {
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

/// The records of a message of version 3.
fn rows(message: &[u8]) -> Vec<Row> {
    let mut all: Vec<Row> = Vec::new();
    for (kind, value) in attributes(&message[NAME..]).unwrap() {
        match (kind, all.last_mut()) {
            (1, _) => all.push(Row::Client(value.to_vec(), Vec::new(), None)),
            (6, _) => all.push(Row::Export(value.to_vec(), [0; 16], 3)),
            (2, Some(Row::Client(_, hash, _))) => *hash = value.to_vec(),
            (10, Some(Row::Client(_, _, holds))) => *holds = Some(u32_at(value, 0)),
            (7, Some(Row::Export(_, file_system, _))) => {
                *file_system = value.try_into().unwrap();
            }
            (9, Some(Row::Export(_, _, holders))) => *holders = u32_at(value, 0),
            _ => {}
        }
    }
    all
}

/// The fsid that a text shows.
fn fsid(text: &[u8]) -> Option<Fsid> {
    let text = std::str::from_utf8(text).ok()?;
    let bytes = |digits: &str| -> Option<Vec<u8>> {
        let digit = |c: char| c.to_digit(16).map(|digit| digit as u8);
        let digits: Vec<u8> = digits.chars().map(digit).collect::<Option<_>>()?;
        let pairs = digits.chunks(2);
        pairs.map(|two| Some(two[0] << 4 | two.get(1)?)).collect()
    };
    match text.split_once(':') {
        Some(("uuid8", digits)) => Some(Fsid::Uuid8(bytes(digits)?.try_into().ok()?)),
        Some(("uuid4", digits)) => Some(Fsid::Uuid4(bytes(digits)?.try_into().ok()?)),
        _ => match Scope::parse(text) {
            Ok(Scope::Export(fsid)) => Some(fsid),
            _ => None,
        },
    }
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
        let begins =
            |all: &Vec<(u16, &[u8])>| all.first().is_some_and(|(kind, _)| matches!(kind, 1 | 6));
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
            Version::V1 => vec![Row::Client(name(message), Vec::new(), None)],
            Version::V2 => {
                let hash = &message[HASH + 1..HASH + 1 + usize::from(message[HASH])];
                vec![Row::Client(name(message), hash.to_vec(), None)]
            }
            Version::V3 => rows(message),
        };
        // Without memory, the first ones are there. Which exports that are, nobody can say.
        self.partly |= ended;
        for row in all {
            match row {
                Row::Client(name, hash, holds) => {
                    let mut there = kernel.records.iter().map(|(client, _)| client);
                    let there = there.find(|client| client.name == name);
                    if ended
                        && there.is_none_or(|client| client.hash.is_empty() && !hash.is_empty())
                    {
                        return;
                    }
                    let known = self.records.entry(name).or_default();
                    if known.0.is_empty() {
                        known.0 = hash;
                    }
                    known.1 |= holds != Some(0);
                }
                Row::Export(..) if ended => {}
                Row::Export(text, file_system, holders) => match fsid(&text) {
                    Some(fsid) => self.exports.push((ExportId { fsid, file_system }, holders)),
                    None => self.unclear = true,
                },
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
        if !self.partly {
            assert_eq!(kernel.was_held.is_clear(), !self.unclear);
        }
    }

    /// Only who goes where nobody held anything is exempt.
    fn exempt(&self, kernel: &Kernel) {
        let exempts = |fsid, file_system, kinds| {
            let place = Place {
                export: Some(fsid),
                file_system: Some(file_system),
                ..Place::default()
            };
            let subject = Subject {
                files: [place, Place::default()],
                ..Subject::default()
            };
            kernel.was_held.exempts(&subject, kinds)
        };
        let other = (Fsid::Num(77), [77; 16]);
        let all = self.exports.iter();
        let all = all.map(|(export, _)| (export.fsid, export.file_system));
        for (fsid, file_system) in all.chain([other]) {
            for kinds in 1..4 {
                for (fsid, file_system) in
                    [(fsid, file_system), (fsid, other.1), (other.0, file_system)]
                {
                    let is_held = self.exports.iter().any(|(export, holders)| {
                        holders & kinds != 0
                            && (Scope::Export(export.fsid).has(&fsid)
                                || export.file_system == file_system)
                    });
                    let exempt = exempts(fsid, file_system, kinds);
                    assert!(!exempt || !is_held && !self.unclear);
                    assert!(exempt || is_held || self.unclear || self.partly);
                }
            }
        }
    }

    /// Each of the clients may reclaim, as who it is, and nobody else.
    fn reclaim(&self, mut kernel: Kernel) {
        let known = kernel.known && !self.partly;
        kernel.records.know(known);
        let is_awaited = |record: &(Vec<u8>, bool)| record.1 || !known;
        let awaited = self.records.values().filter(|r| is_awaited(r)).count();
        assert_eq!(kernel.records.awaited(), awaited);
        for (name, (hash, _)) in &self.records {
            let other = [name, &b"x"[..]].concat();
            if !self.records.contains_key(&other) {
                assert!(!kernel.records.claim(&other, Some(hash)));
            }
            assert!(kernel.records.claim(name, Some(hash)));
            assert_eq!(kernel.records.claim(name, None), hash.is_empty());
        }
        let mut left = awaited;
        for (name, record) in &self.records {
            let hash = &record.0;
            assert!(hash.is_empty() || !kernel.records.complete(name, None));
            left -= usize::from(is_awaited(record));
            let is_last = is_awaited(record) && left == 0;
            assert_eq!(kernel.records.complete(name, Some(hash)), is_last);
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
        exports: Vec::new(),
        unclear: false,
        partly: false,
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
    model.exempt(&kernel);
    model.reclaim(kernel);
}
