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
use crate::records::{Client, EpochName, ExportName, FileSystem, Hold, Holders};
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
/// An export's fsid, as text.
const EXPORT: u16 = 6;
/// The UUID of its file system.
const FILE_SYSTEM: u16 = 7;
/// A time, 8 bytes.
const UNTIL: u16 = 8;
/// Who held something on an export, 4 bytes of flags.
const HOLDERS: u16 = 9;
/// On how many exports a client held something, 4 bytes.
const HOLDS: u16 = 10;
/// All exports on which something was held are told; no bytes.
const KNOWN: u16 = 11;

/// Of HOLDERS: clients of NFSv4.
const HELD_NFS4: u32 = 1;
/// Of HOLDERS: clients of NLM.
const HELD_NLM: u32 = 2;

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
        6 => Command::Hold(Told::read(body)?.hold()?),
        7 => Command::Unhold(Told::read(body)?.hold()?),
        8 => {
            let told = Told::read(body)?;
            Command::AllHeld {
                epoch: told.epoch.ok_or(Errno::INVAL)?,
                until: told.until.ok_or(Errno::INVAL)?,
            }
        }
        _ => return Err(Errno::OPNOTSUPP),
    })
}

/// Writes what is known of a client, and on how many exports it held something, if that is.
pub(super) fn write_client(message: &mut Vec<u8>, client: &Client, holds: Option<u32>) {
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
    if let Some(holds) = holds {
        write(message, HOLDS, &holds.to_ne_bytes());
    }
}

/// Writes an export that somebody held something on.
pub(super) fn write_export(
    message: &mut Vec<u8>,
    export: &ExportName,
    file_system: Option<FileSystem>,
    holders: Holders,
) {
    write(message, EXPORT, export.as_str().as_bytes());
    if let Some(uuid) = file_system {
        write(message, FILE_SYSTEM, uuid.as_bytes());
    }
    let flag = |held: bool, flag: u32| if held { flag } else { 0 };
    let flags = flag(holders.nfs4, HELD_NFS4) | flag(holders.nlm, HELD_NLM);
    write(message, HOLDERS, &flags.to_ne_bytes());
}

/// Writes that these are all exports.
pub(super) fn write_known(message: &mut Vec<u8>) {
    write(message, KNOWN, &[]);
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
    export: Option<ExportName>,
    file_system: Option<FileSystem>,
    until: Option<u64>,
    holders: Option<u32>,
    holds: Option<u32>,
    known: Option<()>,
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
                MINOR => once(&mut told.minor, number(value))?,
                ADDRESS => {
                    let can_be = (1..=ADDRESS_MAX).contains(&value.len());
                    once(&mut told.address, can_be.then_some(value))?;
                }
                EPOCH => once(&mut told.epoch, value.try_into().ok())?,
                EXPORT => once(&mut told.export, ExportName::new(value))?,
                FILE_SYSTEM => once(&mut told.file_system, FileSystem::from_slice(value).ok())?,
                UNTIL => {
                    let until = value.try_into().ok().map(u64::from_ne_bytes);
                    once(&mut told.until, until)?;
                }
                // These are of answers.
                HOLDERS => once(&mut told.holders, number(value))?,
                HOLDS => once(&mut told.holds, number(value))?,
                KNOWN => once(&mut told.known, value.is_empty().then_some(()))?,
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

    /// On which export somebody holds something. Without a name: clients of NLM.
    fn hold(self) -> Result<Hold, Errno> {
        Ok(Hold {
            owner: self.owner,
            export: self.export.ok_or(Errno::INVAL)?,
            file_system: self.file_system,
        })
    }
}

fn number(value: &[u8]) -> Option<u32> {
    value.try_into().ok().map(u32::from_ne_bytes)
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
