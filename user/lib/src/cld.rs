// SPDX-License-Identifier: GPL-2.0
//! The messages of client tracking, as a daemon has them.
//!
//! Source: `include/uapi/linux/nfsd/cld.h` of the kernel. A message has the byte order of the machine:
//!
//! ```text
//!  offset  0      1      2         4       8                    8+1026
//!          +------+------+---------+-------+--------------------+---------------------+
//!          | vers | cmd  | status  | xid   | name: len, 1024 B  | v2: hash: len, 32 B |
//!          +------+------+---------+-------+--------------------+---------------------+
//!                                          | GetVersion: 1 byte, the highest version  |
//!                                          | GraceDone: 8 bytes, time, of old kernels |
//! ```
//!
//! An answer is the same message with a status: 0, a negative errno, or `-EINPROGRESS` for one record of a GraceStart
//! that goes on.

use crate::owner::{self, Owner};
use crate::records::Client;
use rustix::io::Errno;

/// The highest version that this program knows.
pub const VERSION: u8 = 2;
/// The longest message, in bytes.
pub const MESSAGE_MAX: usize = length(2);

/// The header: version, command, status, xid.
const HEADER: usize = 8;
/// A name's length and its room.
const NAME: usize = 2 + owner::MAX;
/// A principal's hash.
const HASH: usize = 32;

/// The length of a message of this version, in bytes.
const fn length(version: u8) -> usize {
    match version {
        1 => HEADER + NAME,
        _ => HEADER + NAME + 1 + HASH,
    }
}

/// What an upcall asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Store a client.
    Create(Client),
    /// Remove a client.
    Remove(Owner),
    /// May this client reclaim? Only old kernels ask.
    Check(Owner),
    /// The grace period is over.
    GraceDone {
        /// When the server started, in seconds since 1970, if it has not said so by [`Command::GraceStart`]; else 0.
        started: i64,
    },
    /// A server starts: who may reclaim?
    GraceStart,
    /// Which version does the daemon know?
    GetVersion,
}

/// A message from the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upcall {
    /// What it asks for.
    pub command: Command,
    message: Vec<u8>,
}

/// Why a message cannot be answered as it asks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoUpcall {
    /// It has no header, or not the length of its version: nobody would take an answer.
    #[error("a message of {0} bytes from the kernel is none that this program knows")]
    Odd(usize),
    /// The answer says what is wrong.
    #[error("a message from the kernel has version {version}, command {command}, which this program cannot do")]
    Unknown {
        /// Its version.
        version: u8,
        /// Its command.
        command: u8,
        /// What to answer.
        answer: Vec<u8>,
    },
}

impl Upcall {
    /// Reads a message.
    pub fn parse(message: &[u8]) -> Result<Self, NoUpcall> {
        let [version, command, ..] = *message else {
            return Err(NoUpcall::Odd(message.len()));
        };
        if !(1..=VERSION).contains(&version) || message.len() != length(version) {
            return Err(NoUpcall::Odd(message.len()));
        }
        let unknown = |why| NoUpcall::Unknown {
            version,
            command,
            answer: with_status(message, why),
        };
        let owner = || owner(message).ok_or_else(|| unknown(Errno::INVAL));
        let command = match command {
            0 => Command::Create(Client::new(owner()?, principal(message))),
            1 => Command::Remove(owner()?),
            2 => Command::Check(owner()?),
            3 => Command::GraceDone {
                started: i64::from_ne_bytes(message[HEADER..][..8].try_into().unwrap_or_default()),
            },
            4 => Command::GraceStart,
            5 => Command::GetVersion,
            _ => return Err(unknown(Errno::OPNOTSUPP)),
        };
        Ok(Self {
            command,
            message: message.to_vec(),
        })
    }

    /// The answer to it.
    pub fn answer(&self, result: Result<(), Errno>) -> Vec<u8> {
        let mut answer = match result {
            Ok(()) => self.message.clone(),
            Err(why) => with_status(&self.message, why),
        };
        if self.command == Command::GetVersion {
            answer[HEADER] = VERSION;
        }
        answer
    }

    /// One record, of which more may follow.
    pub fn record(&self, client: &Client) -> Vec<u8> {
        let mut record = with_status(&self.message, Errno::INPROGRESS);
        let name = client.owner.bytes();
        record[HEADER..][..2].copy_from_slice(&(name.len() as u16).to_ne_bytes());
        record[HEADER + 2..][..name.len()].copy_from_slice(name);
        if let ([_, .., _], Some(principal)) = (&record[HEADER + NAME..], client.principal) {
            record[HEADER + NAME] = HASH as u8;
            record[HEADER + NAME + 1..].copy_from_slice(&principal);
        }
        record
    }
}

fn with_status(message: &[u8], why: Errno) -> Vec<u8> {
    let mut answer = message.to_vec();
    let status = -(why.raw_os_error() as i16);
    answer[2..4].copy_from_slice(&status.to_ne_bytes());
    answer
}

fn owner(message: &[u8]) -> Option<Owner> {
    let length = u16::from_ne_bytes([message[HEADER], message[HEADER + 1]]);
    Owner::new(message[HEADER + 2..][..owner::MAX].get(..usize::from(length))?).ok()
}

fn principal(message: &[u8]) -> Option<[u8; HASH]> {
    match message.get(HEADER + NAME..)? {
        [length, hash @ ..] if usize::from(*length) == HASH => hash.try_into().ok(),
        _ => None,
    }
}

#[cfg(any(test, fuzzing))]
pub mod laws;
#[cfg(test)]
mod tests;
