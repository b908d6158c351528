// SPDX-License-Identifier: GPL-2.0
//! Versions 1 and 2: each message has one length, and each field its place.
//!
//! ```text
//!  offset  8                    8+1026
//!          +--------------------+---------------------+
//!          | name: len, 1024 B  | v2: hash: len, 32 B |
//!          +--------------------+---------------------+
//!          | GetVersion: 1 byte, the highest version  |
//!          | GraceDone: 8 bytes, time, of old kernels |
//! ```

use super::{agreed, with_status, Command, HASH, HEADER};
use crate::owner::{self, Owner};
use crate::records::Client;
use rustix::io::Errno;

/// The highest of these versions.
pub(super) const VERSION: u8 = 2;

/// A name's length and its room.
const NAME: usize = 2 + owner::MAX;

/// The length of a message of this version, in bytes.
pub(super) const fn length(version: u8) -> usize {
    match version {
        1 => HEADER + NAME,
        _ => HEADER + NAME + 1 + HASH,
    }
}

/// What is asked for by a number and what is behind the header, or what to answer. The body has its whole length.
pub(super) fn command(number: u8, body: &[u8]) -> Result<Command, Errno> {
    let owner = || owner(body).ok_or(Errno::INVAL);
    Ok(match number {
        0 => Command::Create(Client::new(owner()?, principal(body))),
        1 => Command::Remove(owner()?),
        2 => Command::Check(owner()?),
        3 => Command::GraceDone {
            started: i64::from_ne_bytes(body[..8].try_into().unwrap_or_default()),
        },
        4 => Command::GraceStart,
        5 => Command::GetVersion {
            question: agreed::is_asked(body),
        },
        _ => return Err(Errno::OPNOTSUPP),
    })
}

/// One record, of which more may follow: the upcall, with the client in its place.
pub(super) fn record(upcall: &[u8], client: &Client) -> Vec<u8> {
    let mut record = with_status(upcall, Errno::INPROGRESS);
    let name = client.owner.bytes();
    record[HEADER..][..2].copy_from_slice(&(name.len() as u16).to_ne_bytes());
    record[HEADER + 2..][..name.len()].copy_from_slice(name);
    if let ([_, .., _], Some(principal)) = (&record[HEADER + NAME..], client.principal) {
        record[HEADER + NAME] = HASH as u8;
        record[HEADER + NAME + 1..].copy_from_slice(&principal);
    }
    record
}

fn owner(body: &[u8]) -> Option<Owner> {
    let length = u16::from_ne_bytes([body[0], body[1]]);
    Owner::new(body[2..][..owner::MAX].get(..usize::from(length))?).ok()
}

fn principal(body: &[u8]) -> Option<[u8; HASH]> {
    match body.get(NAME..)? {
        [length, hash @ ..] if usize::from(*length) == HASH => hash.try_into().ok(),
        _ => None,
    }
}
