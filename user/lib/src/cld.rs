// SPDX-License-Identifier: GPL-2.0
//! The messages of client tracking, as a daemon has them.
//!
//! Source: `include/uapi/linux/nfsd/cld.h` of the kernel for versions 1 and 2, and `include/uapi/nfsd_ha_cld.h` for
//! version 3. A message has the byte order of the machine. All begin with the same header:
//!
//! ```text
//!  offset  0      1      2         4       8
//!          +------+------+---------+-------+----------------------------------------------
//!          | vers | cmd  | status  | xid   | 1 and 2: fields with a place of their own (fixed.rs)
//!          +------+------+---------+-------+ 3: attributes (attributes.rs)
//! ```
//!
//! An answer has the version, the command and the xid of its upcall, and a status: 0, a negative errno, or
//! `-EINPROGRESS` for records of a GraceStart that goes on. Each message is answered by its own version. Which one was
//! agreed on (`agreed.rs`) is not remembered, so a daemon that comes in place of another one has nothing to know.

mod agreed;
mod attributes;
mod downcalls;
mod fixed;

pub use downcalls::Downcalls;

use crate::owner::Owner;
use crate::records::{Client, EpochName, Hold};
use rustix::io::Errno;

/// The longest upcall of any version, in bytes (`NFSD_HA_CLD_UPCALL_MAX`).
pub const UPCALL_MAX: usize = 4096;

/// The header: version, command, status, xid.
const HEADER: usize = 8;
/// A principal's hash.
const HASH: usize = 32;

/// What an upcall asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Store a client.
    Create(Client),
    /// Remove a client.
    Remove(Owner),
    /// May this client reclaim? Only old kernels ask.
    Check(Owner),
    /// The grace period is over: versions 1 and 2, which do not say of which epoch.
    GraceDone {
        /// When the server started, in seconds since 1970, if it has not said so by [`Command::GraceStart`]; else 0.
        started: i64,
    },
    /// The grace period of an epoch is over: version 3.
    EpochDone {
        /// Which one. It may be any name: there may have been no such epoch.
        epoch: EpochName,
    },
    /// A server starts: who may reclaim, and on which exports was something held?
    GraceStart,
    /// Which version does the daemon know?
    GetVersion {
        /// Has it the question of a kernel that knows version 3? To any other one, 3 would be somebody else's.
        question: bool,
    },
    /// Store that somebody has state on an export, or is about to: version 3, as all behind it.
    Hold(Hold),
    /// Nobody of these has state there any more.
    Unhold(Hold),
    /// Whatever is held in an epoch is stored.
    AllHeld {
        /// Which one. It may be any name.
        epoch: EpochName,
        /// Until when nothing is granted on an export on which no Hold is stored, in seconds since 1970. All ones are for
        /// ever: the server has stopped.
        until: u64,
    },
}

/// A message from the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upcall {
    /// What it asks for.
    pub command: Command,
    /// What its answers are made of: all of it, or its header in version 3.
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
        let odd = NoUpcall::Odd(message.len());
        let Some((header, body)) = message.split_first_chunk::<HEADER>() else {
            return Err(odd);
        };
        let [version, command, ..] = *header;
        let (parsed, message) = match version {
            1 | 2 if message.len() == fixed::length(version) => {
                (fixed::command(command, body), message.to_vec())
            }
            3 if message.len() <= UPCALL_MAX => {
                // Its answers do not repeat what it says, nor its status.
                let mut header = header.to_vec();
                header[2..4].fill(0);
                (attributes::command(command, body), header)
            }
            _ => return Err(odd),
        };
        match parsed {
            Ok(command) => Ok(Self { command, message }),
            Err(why) => Err(NoUpcall::Unknown {
                version,
                command,
                answer: with_status(&message, why),
            }),
        }
    }

    /// The answer to it. `epoch` names the last one that has begun: some answers tell it if all went well.
    pub fn answer(&self, result: Result<(), Errno>, epoch: EpochName) -> Vec<u8> {
        let mut answer = match result {
            Ok(()) => self.message.clone(),
            Err(why) => with_status(&self.message, why),
        };
        match self.command {
            Command::GetVersion { question: true } => agreed::answer(&mut answer, &epoch),
            Command::GetVersion { question: false } => answer[HEADER] = fixed::VERSION,
            Command::GraceStart if self.has_attributes() && result.is_ok() => {
                attributes::write_epoch(&mut answer, &epoch);
            }
            _ => {}
        }
        answer
    }

    /// The answer to a GraceStart that is told all exports on which something was held ([`Downcalls::add_export`]).
    pub fn answer_known(&self, epoch: EpochName) -> Vec<u8> {
        let mut answer = self.answer(Ok(()), epoch);
        if self.has_attributes() {
            attributes::write_known(&mut answer);
        }
        answer
    }

    /// The records that it asks for, in answers that come before that which [`Upcall::answer`] makes.
    pub fn downcalls(&self) -> Downcalls<'_> {
        Downcalls::new(self)
    }

    /// Does who sent it ask again after an error? A stock kernel does not, and what it wanted is lost then.
    pub fn is_asked_again(&self) -> bool {
        self.has_attributes()
    }

    fn has_attributes(&self) -> bool {
        self.message[0] == attributes::VERSION
    }
}

fn with_status(message: &[u8], why: Errno) -> Vec<u8> {
    let mut answer = message.to_vec();
    let status = -(why.raw_os_error() as i16);
    answer[2..4].copy_from_slice(&status.to_ne_bytes());
    answer
}

#[cfg(any(test, fuzzing))]
pub mod laws;
#[cfg(test)]
mod tests;
