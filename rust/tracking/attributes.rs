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
use core::fmt::{self, Write};
use kernel::prelude::*;

/// What names an epoch of the daemon's: bytes to compare, and to say back.
pub(crate) type Epoch = [u8; 16];

/// The longest text of an address, in bytes.
const ADDRESS_MAX: usize = 64;

/// A type that we know (`enum nfsd_ha_cld_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(crate) enum Type {
    /// A client's name: each one begins a client.
    Name = 1,
    /// SHA-256 of its principal.
    Principal = 2,
    /// Its minor version.
    Minor = 3,
    /// The server's address that it came to, as text.
    Address = 4,
    /// An epoch of the daemon's.
    Epoch = 5,
}

impl Type {
    const ALL: [Type; 5] = [
        Type::Name,
        Type::Principal,
        Type::Minor,
        Type::Address,
        Type::Epoch,
    ];

    /// May a value have so many bytes?
    fn fits(self, len: usize) -> bool {
        match self {
            Type::Name => (1..=NAME_MAX).contains(&len),
            Type::Principal => len == HASH_LEN,
            Type::Minor => len == size_of::<u32>(),
            Type::Address => (1..=ADDRESS_MAX).contains(&len),
            Type::Epoch => len == size_of::<Epoch>(),
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
        bytes: [0; ADDRESS_MAX],
        len: 0,
    };
    write!(text, "{value}").map_err(|_| EINVAL)?;
    push(message, kind, &text.bytes[..text.len])
}

/// A text that is not longer than an address.
struct Short {
    bytes: [u8; ADDRESS_MAX],
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
    /// of one client.
    fn check(self) -> Result<Option<Type>> {
        let (mut first, mut seen) = (None, 0u32);
        for attribute in self {
            let (kind, _) = attribute?;
            first = first.or(Some(kind));
            if kind == Type::Name {
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

    /// The epoch, if it is there. Fails with `EINVAL` as reading does, and if one is there twice.
    pub(crate) fn epoch(self) -> Result<Option<Epoch>> {
        self.check()?;
        let mut epoch = None;
        for attribute in self {
            let (kind, value) = attribute?;
            if kind == Type::Epoch {
                epoch = value.first_chunk().copied();
            }
        }
        Ok(epoch)
    }

    /// The clients. Fails with `EINVAL` as reading does, and if there is none, something before the first, or something
    /// twice of one.
    pub(crate) fn clients(self) -> Result<Clients<'a>> {
        match self.check()? {
            Some(Type::Name) => Ok(Clients(self)),
            _ => Err(EINVAL),
        }
    }
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

/// Clients, of attributes that were looked through.
#[derive(Clone, Copy)]
pub(crate) struct Clients<'a>(Attributes<'a>);

impl<'a> Iterator for Clients<'a> {
    type Item = Client<'a>;

    fn next(&mut self) -> Option<Client<'a>> {
        let (_, name) = self.0.next()?.ok()?;
        let mut client = Client { name, hash: &[] };
        loop {
            let mut rest = self.0;
            match rest.next() {
                Some(Ok((Type::Name, _)) | Err(_)) | None => return Some(client),
                Some(Ok((Type::Principal, hash))) => client.hash = hash,
                Some(Ok(_)) => {}
            }
            self.0 = rest;
        }
    }
}
