// SPDX-License-Identifier: GPL-2.0

//! Attributes: what follows the header of a message of version 3.
//!
//! Source: `include/uapi/nfsd_ha_cld.h`. Each is a type, a length and so many bytes, one after the other:
//!
//! ```text
//!  0      2        4             4+length
//!  +------+--------+-------------+------
//!  | type | length | value       | ...
//!  +------+--------+-------------+------
//! ```
//!
//! This file makes no kernel calls; it is also compiled and tested on the host.

use crate::nfs4::record::{Client, HASH_LEN, NAME_MAX};
use crate::scopes::place::{ExportId, FileSystem};
use crate::scopes::scope::Fsid;
use crate::scopes::was_held;
use core::fmt::{self, Write};
use kernel::prelude::*;

/// What names an epoch of the daemon's: bytes to compare, and to say back.
pub(crate) type Epoch = [u8; 16];

/// The longest text of an address or an export, in bytes.
const TEXT_MAX: usize = 64;

/// A type that we know (`enum nfsd_ha_cld_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(crate) enum Type {
    /// A client's name: each one begins a client in the records of GraceStart.
    Name = 1,
    /// SHA-256 of its principal.
    Principal = 2,
    /// Its minor version.
    Minor = 3,
    /// The server's address that it came to, as text.
    Address = 4,
    /// An epoch of the daemon's.
    Epoch = 5,
    /// The fsid of an export, as text: each one begins an export in the records of GraceStart.
    Export = 6,
    /// The UUID of its file system.
    FileSystem = 7,
    /// A time, in seconds since 1970.
    Until = 8,
    /// Who held something on an export: bits.
    Holders = 9,
    /// On how many exports a client held something.
    Holds = 10,
    /// The exports are all that somebody held something on.
    Known = 11,
}

impl Type {
    const ALL: [Type; 11] = [
        Type::Name,
        Type::Principal,
        Type::Minor,
        Type::Address,
        Type::Epoch,
        Type::Export,
        Type::FileSystem,
        Type::Until,
        Type::Holders,
        Type::Holds,
        Type::Known,
    ];

    /// Does it begin a record?
    fn begins(self) -> bool {
        matches!(self, Type::Name | Type::Export)
    }

    /// The type of the number that a record has which begins so.
    fn number(self) -> Self {
        match self {
            Type::Export => Type::Holders,
            _ => Type::Holds,
        }
    }

    /// May a value have so many bytes?
    fn fits(self, len: usize) -> bool {
        match self {
            Type::Name => (1..=NAME_MAX).contains(&len),
            Type::Principal => len == HASH_LEN,
            Type::Minor | Type::Holders | Type::Holds => len == size_of::<u32>(),
            Type::Address | Type::Export => (1..=TEXT_MAX).contains(&len),
            Type::Epoch => len == size_of::<Epoch>(),
            Type::FileSystem => len == size_of::<FileSystem>(),
            Type::Until => len == size_of::<u64>(),
            Type::Known => len == 0,
        }
    }
}

/// Appends an attribute. Fails with `EINVAL` if there can be no such value, and with `ENOMEM`. May sleep.
pub(crate) fn push(message: &mut KVec<u8>, kind: Type, value: &[u8]) -> Result {
    if !kind.fits(value.len()) {
        return Err(EINVAL);
    }
    message.extend_from_slice(&(kind as u16).to_ne_bytes(), GFP_KERNEL)?;
    message.extend_from_slice(&(value.len() as u16).to_ne_bytes(), GFP_KERNEL)?;
    Ok(message.extend_from_slice(value, GFP_KERNEL)?)
}

/// The same, with a value that is written as text.
pub(crate) fn push_text(message: &mut KVec<u8>, kind: Type, value: impl fmt::Display) -> Result {
    let mut text = Short {
        bytes: [0; TEXT_MAX],
        len: 0,
    };
    write!(text, "{value}").map_err(|_| EINVAL)?;
    push(message, kind, &text.bytes[..text.len])
}

/// A text that is not longer than an address.
struct Short {
    bytes: [u8; TEXT_MAX],
    len: usize,
}

impl Write for Short {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.len + text.len();
        let room = self.bytes.get_mut(self.len..end).ok_or(fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}

/// Reads attributes, and leaves out those of types that we do not know.
///
/// Ends after one that goes beyond the end, or has a length that its type cannot have: `EINVAL`.
#[derive(Clone, Copy)]
pub(crate) struct Attributes<'a>(&'a [u8]);

impl<'a> Attributes<'a> {
    /// Those of the bytes behind a message's header.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Attributes(bytes)
    }

    /// The next one, of whatever type, and what is behind it.
    fn split(self) -> Option<(u16, &'a [u8], &'a [u8])> {
        let (&[t0, t1, l0, l1], rest) = self.0.split_first_chunk()?;
        let len = usize::from(u16::from_ne_bytes([l0, l1]));
        let (value, rest) = rest.split_at_checked(len)?;
        Some((u16::from_ne_bytes([t0, t1]), value, rest))
    }

    /// Looks through all. Returns the type of the first. Fails with `EINVAL` as reading does, and if one is there twice
    /// of one record.
    fn check(self) -> Result<Option<Type>> {
        let (mut first, mut seen) = (None, 0u32);
        for attribute in self {
            let (kind, _) = attribute?;
            first = first.or(Some(kind));
            if kind.begins() {
                seen = 0;
            }
            let bit = 1 << kind as u16;
            if seen & bit != 0 {
                return Err(EINVAL);
            }
            seen |= bit;
        }
        Ok(first)
    }

    /// What the end of an answer says. Fails with `EINVAL` as reading does, and if one is there twice.
    pub(crate) fn end(self) -> Result<End> {
        self.check()?;
        let mut end = End::default();
        for attribute in self {
            match attribute? {
                (Type::Epoch, value) => end.epoch = value.first_chunk().copied(),
                (Type::Known, _) => end.known = true,
                _ => {}
            }
        }
        Ok(end)
    }

    /// The records. Fails with `EINVAL` as reading does, and if there is none, something before the first, or something
    /// twice of one.
    pub(crate) fn records(self) -> Result<Records<'a>> {
        match self.check()? {
            Some(first) if first.begins() => Ok(Records(self)),
            _ => Err(EINVAL),
        }
    }
}

/// The end of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct End {
    /// An epoch.
    pub(crate) epoch: Option<Epoch>,
    /// The exports of the records are all that somebody held something on.
    pub(crate) known: bool,
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<(Type, &'a [u8])>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.0.is_empty() {
            let Some((number, value, rest)) = self.split() else {
                self.0 = &[];
                return Some(Err(EINVAL));
            };
            self.0 = rest;
            let known = Type::ALL.into_iter().find(|kind| *kind as u16 == number);
            match known {
                Some(kind) if kind.fits(value.len()) => return Some(Ok((kind, value))),
                Some(_) => {
                    self.0 = &[];
                    return Some(Err(EINVAL));
                }
                None => {}
            }
        }
        None
    }
}

/// Records, of attributes that were looked through.
#[derive(Clone, Copy)]
pub(crate) struct Records<'a>(Attributes<'a>);

/// A record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Record<'a> {
    /// A client that may reclaim, and on how many exports it held something, if that is said.
    Client(Client<'a>, Option<u32>),
    /// An export that somebody held something on, if its fsid is one that we know, and who: bits, see `was_held.rs`.
    Export(Option<ExportId>, u32),
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        let (kind, first) = self.0.next()?.ok()?;
        let (mut hash, mut number): (&[u8], Option<u32>) = (&[], None);
        let mut file_system = FileSystem::default();
        loop {
            let mut rest = self.0;
            match rest.next() {
                Some(Ok((kind, _))) if kind.begins() => break,
                Some(Ok((Type::Principal, value))) => hash = value,
                Some(Ok((of, value))) if of == kind.number() => {
                    number = value.first_chunk().map(|value| u32::from_ne_bytes(*value));
                }
                Some(Ok((Type::FileSystem, value))) => {
                    file_system = value.first_chunk().copied().unwrap_or_default();
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => break,
            }
            self.0 = rest;
        }
        Some(match kind {
            Type::Export => {
                let fsid = core::str::from_utf8(first).ok().and_then(Fsid::parse);
                let export = fsid.map(|fsid| ExportId { fsid, file_system });
                // Of whom nobody says anything, it may be both.
                Record::Export(export, number.unwrap_or(was_held::NFS4 | was_held::NLM))
            }
            _ => Record::Client(Client { name: first, hash }, number),
        })
    }
}
