// SPDX-License-Identifier: GPL-2.0
//! Version 3: behind the header there are attributes, one after the other, without padding.
//!
//! ```text
//!          +----------+-----------+-------------------+
//!          | type, 2  | length, 2 | value, of length  |
//!          +----------+-----------+-------------------+
//! ```

use super::{Command, HASH};
use crate::owner::Owner;
use crate::records::{Client, EpochName};
use rustix::io::Errno;

/// The version whose messages have them.
pub(super) const VERSION: u8 = 3;

/// A client's name: 1 to 1024 bytes.
const NAME: u16 = 1;
/// The SHA-256 of its principal.
const PRINCIPAL: u16 = 2;
/// The minor version of NFSv4, 4 bytes.
const MINOR: u16 = 3;
/// The server's address that it came to, as text.
const ADDRESS: u16 = 4;
/// The name of an epoch, 16 bytes.
const EPOCH: u16 = 5;

/// The longest text of an address, in bytes. What std writes for an IP address is shorter.
const ADDRESS_MAX: usize = 64;

/// What is asked for by a number and what is behind the header, or what to answer.
pub(super) fn command(number: u8, body: &[u8]) -> Result<Command, Errno> {
    Ok(match number {
        0 => Command::Create(Told::read(body)?.client()?),
        1 => Command::Remove(Told::read(body)?.owner.ok_or(Errno::INVAL)?),
        3 => Command::EpochDone {
            epoch: Told::read(body)?.epoch.ok_or(Errno::INVAL)?,
        },
        4 => Told::read(body).map(|_| Command::GraceStart)?,
        _ => return Err(Errno::OPNOTSUPP),
    })
}

/// Writes what is known of a client.
pub(super) fn write_client(message: &mut Vec<u8>, client: &Client) {
    write(message, NAME, client.owner.bytes());
    if let Some(principal) = client.principal {
        write(message, PRINCIPAL, &principal);
    }
    if let Some(minor) = client.minor {
        write(message, MINOR, &u32::from(minor).to_ne_bytes());
    }
    if let Some(address) = client.address {
        write(message, ADDRESS, address.to_string().as_bytes());
    }
}

/// Writes the name of an epoch.
pub(super) fn write_epoch(message: &mut Vec<u8>, epoch: &EpochName) {
    write(message, EPOCH, epoch);
}

/// Writes an attribute. The longest that there is is a name.
fn write(message: &mut Vec<u8>, kind: u16, value: &[u8]) {
    message.extend(kind.to_ne_bytes());
    message.extend((value.len() as u16).to_ne_bytes());
    message.extend(value);
}

/// What the attributes of a message say.
#[derive(Default)]
struct Told<'a> {
    owner: Option<Owner>,
    principal: Option<[u8; HASH]>,
    minor: Option<u32>,
    address: Option<&'a [u8]>,
    epoch: Option<EpochName>,
}

impl<'a> Told<'a> {
    /// Reads all attributes, also those that the command has no use for: a message is a good one or not.
    fn read(mut rest: &'a [u8]) -> Result<Self, Errno> {
        let mut told = Self::default();
        while !rest.is_empty() {
            let (kind, value, behind) = split(rest).ok_or(Errno::INVAL)?;
            match kind {
                NAME => once(&mut told.owner, Owner::new(value).ok())?,
                PRINCIPAL => once(&mut told.principal, value.try_into().ok())?,
                MINOR => {
                    let minor = value.try_into().ok().map(u32::from_ne_bytes);
                    once(&mut told.minor, minor)?;
                }
                ADDRESS => {
                    let can_be = (1..=ADDRESS_MAX).contains(&value.len());
                    once(&mut told.address, can_be.then_some(value))?;
                }
                EPOCH => once(&mut told.epoch, value.try_into().ok())?,
                // Of a newer kernel.
                _ => {}
            }
            rest = behind;
        }
        Ok(told)
    }

    /// The client. Of what only people look at, what cannot be kept is not known: it is no reason that a client loses
    /// its opens and locks.
    fn client(self) -> Result<Client, Errno> {
        let address = self.address.and_then(|text| std::str::from_utf8(text).ok());
        Ok(Client {
            owner: self.owner.ok_or(Errno::INVAL)?,
            principal: self.principal,
            minor: self.minor.and_then(|minor| minor.try_into().ok()),
            address: address.and_then(|text| text.parse().ok()),
        })
    }
}

/// The first attribute: its type, its value, and what is behind it. `None` if it runs past the end.
fn split(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let (kind, bytes) = bytes.split_first_chunk()?;
    let (length, bytes) = bytes.split_first_chunk()?;
    let (value, behind) = bytes.split_at_checked(u16::from_ne_bytes(*length).into())?;
    Some((u16::from_ne_bytes(*kind), value, behind))
}

/// Keeps a value. Fails if it is none, or the second one.
fn once<T>(place: &mut Option<T>, value: Option<T>) -> Result<(), Errno> {
    match (&place, value) {
        (None, Some(value)) => {
            *place = Some(value);
            Ok(())
        }
        _ => Err(Errno::INVAL),
    }
}

#[cfg(test)]
mod tests;
