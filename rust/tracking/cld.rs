// SPDX-License-Identifier: GPL-2.0

//! The message format of the client tracking pipe.
//!
//! Source of every number here: `include/uapi/linux/nfsd/cld.h`. Messages are packed, have the
//! byte order of the machine, and one fixed length for each protocol version:
//!
//! ```text
//!  offset  0      1      2         4       8                    8+1026
//!          +------+------+---------+-------+--------------------+---------------------+
//!          | vers | cmd  | status  | xid   | name: len, 1024 B  | v2: hash: len, 32 B |
//!          +------+------+---------+-------+--------------------+---------------------+
//!                                          | GetVersion: 1 byte, the highest version  |
//! ```
//!
//! This file makes no kernel calls; it is also compiled and tested on the host.

use crate::nfs4::record::{Client, HASH_LEN, NAME_MAX};
use kernel::prelude::*;

/// Length of the header that each message starts with, in bytes.
pub(crate) const HEADER_LEN: usize = 8;

/// Length of what is looked at in an answer that is no record, in bytes.
pub(crate) const ANSWER_LEN: usize = HEADER_LEN + 1;

/// The longest message of any version, in bytes.
const MESSAGE_MAX: usize = Version::V2.message_len();

/// A name's length field and its room.
const NAME_ROOM: usize = 2 + NAME_MAX;
/// The status of a downcall that carries one record and leaves its upcall open.
const EINPROGRESS: i16 = 115;
/// The largest errno that the kernel knows (`include/linux/err.h`).
const MAX_ERRNO: i16 = 4095;

/// A version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Version {
    /// Names only.
    V1 = 1,
    /// Names with the SHA-256 of the principal.
    V2 = 2,
}

impl Version {
    /// The version to use with a daemon that answers GetVersion with `highest`.
    ///
    /// As in `nfsd4_cld_get_version()`, a number out of our range means the nearest in it.
    pub(crate) fn negotiate(highest: u8) -> Self {
        if highest >= 2 {
            Version::V2
        } else {
            Version::V1
        }
    }

    /// The length of every message of this version, in bytes.
    pub(crate) const fn message_len(self) -> usize {
        match self {
            Version::V1 => HEADER_LEN + NAME_ROOM,
            Version::V2 => HEADER_LEN + NAME_ROOM + 1 + HASH_LEN,
        }
    }
}

/// What an upcall asks for (`enum cld_command`).
///
/// There is no Check: outside a grace period nfsdcld would start a new epoch for it. The
/// records of GraceStart answer that question here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Command {
    /// Store a record of this client.
    Create = 0,
    /// Remove the record of this client.
    Remove = 1,
    /// Forget the clients that have not reclaimed.
    GraceDone = 3,
    /// Send the records of the clients that may reclaim.
    GraceStart = 4,
    /// Say the highest version that the daemon knows.
    GetVersion = 5,
}

impl Command {
    /// All commands, in the order in which status lists them.
    pub(crate) const ALL: [Command; 5] = [
        Command::GetVersion,
        Command::GraceStart,
        Command::Create,
        Command::Remove,
        Command::GraceDone,
    ];

    /// The command's name in status and log.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Command::Create => "create",
            Command::Remove => "remove",
            Command::GraceDone => "grace_done",
            Command::GraceStart => "grace_start",
            Command::GetVersion => "get_version",
        }
    }
}

/// Makes an upcall, without the zeros that fill it up to [`Version::message_len`].
///
/// The xid is zero until [`set_xid`] sets it. Fails with `EINVAL` if the name does not fit,
/// with `ENOMEM` if memory is short. May sleep.
pub(crate) fn encode(
    version: Version,
    command: Command,
    client: Option<Client<'_>>,
) -> Result<KVec<u8>> {
    let hash = match client {
        Some(c) if version >= Version::V2 => c.hash,
        _ => &[],
    };
    let name = client.map_or(&[][..], |c| c.name);
    if name.len() > NAME_MAX || hash.len() > HASH_LEN || (client.is_some() && name.is_empty()) {
        return Err(EINVAL);
    }
    // The hash comes after the name's whole room.
    let len = match hash.len() {
        0 => HEADER_LEN + 2 + name.len(),
        n => HEADER_LEN + NAME_ROOM + 1 + n,
    };
    let mut msg = KVec::with_capacity(len, GFP_KERNEL)?;
    msg.extend_from_slice(
        &[version as u8, command as u8, 0, 0, 0, 0, 0, 0],
        GFP_KERNEL,
    )?;
    msg.extend_from_slice(&(name.len() as u16).to_ne_bytes(), GFP_KERNEL)?;
    msg.extend_from_slice(name, GFP_KERNEL)?;
    if !hash.is_empty() {
        msg.extend_with(NAME_MAX - name.len(), 0, GFP_KERNEL)?;
        msg.push(hash.len() as u8, GFP_KERNEL)?;
        msg.extend_from_slice(hash, GFP_KERNEL)?;
    }
    Ok(msg)
}

/// Writes the xid into an upcall that [`encode`] made.
pub(crate) fn set_xid(msg: &mut [u8], xid: u32) {
    msg[4..HEADER_LEN].copy_from_slice(&xid.to_ne_bytes());
}

/// What a downcall says about its upcall.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Body<'a> {
    /// The upcall is done, with 0 or a negative errno.
    Done {
        /// 0 or a negative errno, from -4095.
        status: i16,
        /// The daemon's highest version, where the command was GetVersion.
        version: u8,
    },
    /// One record of a GraceStart that goes on.
    Record(Client<'a>),
}

/// A downcall: a message from the daemon.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Downcall<'a> {
    /// The xid of the upcall that it answers.
    pub(crate) xid: u32,
    /// The command byte: that of the upcall, as the daemon sends the same message back.
    pub(crate) command: u8,
    /// What it says.
    pub(crate) body: Body<'a>,
}

impl<'a> Downcall<'a> {
    /// Reads a downcall of protocol version `version`, which has `len` bytes.
    ///
    /// Of one that is no record, `msg` need only have the first [`ANSWER_LEN`] bytes. Fails with
    /// `EINVAL` if the length is not that of the version, the status is no errno, or a record is
    /// not one: its command is not GraceStart, its name is empty or too long, or its hash is too
    /// long.
    pub(crate) fn parse(version: Version, len: usize, msg: &'a [u8]) -> Result<Self> {
        if len != version.message_len() || msg.len() < ANSWER_LEN {
            return Err(EINVAL);
        }
        let command = msg[1];
        let status = status(msg);
        let xid = u32::from_ne_bytes([msg[4], msg[5], msg[6], msg[7]]);
        if !(-MAX_ERRNO..=0).contains(&status) {
            return Err(EINVAL);
        }
        let body = if is_record(len, msg) {
            if msg.len() < len || command != Command::GraceStart as u8 {
                return Err(EINVAL);
            }
            Body::Record(parse_client(version, &msg[HEADER_LEN..])?)
        } else {
            Body::Done {
                status,
                version: msg[HEADER_LEN],
            }
        };
        Ok(Downcall { xid, command, body })
    }
}

/// The status of a downcall, of which at least the header is there.
fn status(msg: &[u8]) -> i16 {
    i16::from_ne_bytes([msg[2], msg[3]])
}

/// Makes a message, of which at least the header is there, one that says that something failed.
pub(crate) fn set_status(msg: &mut [u8], why: Error) {
    msg[2..4].copy_from_slice(&(why.to_errno() as i16).to_ne_bytes());
}

/// Is a downcall of `len` bytes a record, all of which has to be read? `start` has its first
/// [`ANSWER_LEN`] bytes, or all of a shorter one. A longer one than any message is refused without.
pub(crate) fn is_record(len: usize, start: &[u8]) -> bool {
    (ANSWER_LEN..=MESSAGE_MAX).contains(&len) && status(start) == -EINPROGRESS
}

/// Reads the name and the hash behind a message's header; `EINVAL` as for [`Downcall::parse`].
fn parse_client(version: Version, body: &[u8]) -> Result<Client<'_>> {
    let len = usize::from(u16::from_ne_bytes([body[0], body[1]]));
    if len == 0 || len > NAME_MAX {
        return Err(EINVAL);
    }
    let name = &body[2..2 + len];
    let hash = match version {
        Version::V1 => &[],
        Version::V2 => {
            let room = &body[NAME_ROOM..];
            let len = usize::from(room[0]);
            if len > HASH_LEN {
                return Err(EINVAL);
            }
            &room[1..1 + len]
        }
    };
    Ok(Client { name, hash })
}
