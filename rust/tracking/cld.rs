// SPDX-License-Identifier: GPL-2.0

//! The message format of the client tracking pipe.
//!
//! Messages are packed, and have the byte order of the machine. Those of version 1 and 2 are nfsd's own
//! (`include/uapi/linux/nfsd/cld.h`), with one fixed length for each version:
//!
//! ```text
//!  offset  0      1      2         4       8                    8+1026
//!          +------+------+---------+-------+--------------------+---------------------+
//!          | vers | cmd  | status  | xid   | name: len, 1024 B  | v2: hash: len, 32 B |
//!          +------+------+---------+-------+--------------------+---------------------+
//!                                          | GetVersion: 1 byte, the highest version, |
//!                                          | 8 bytes that say whose, 16 bytes epoch   |
//!                                          | v3: attributes, and no more than that    |
//! ```
//!
//! Those of version 3 are ours (`include/uapi/nfsd_ha_cld.h`); what follows their header is in `attributes.rs`.
//!
//! This file makes no kernel calls; it is also compiled and tested on the host.

use crate::nfs4::record::{Client, HASH_LEN, NAME_MAX};
use crate::scopes::place::ExportId;
use crate::tracking::attributes::{self, Attributes, End, Epoch, Record, Type};
use core::net::IpAddr;
use kernel::prelude::*;

/// Length of the header that each message starts with, in bytes.
pub(crate) const HEADER_LEN: usize = 8;

/// Length of what is looked at in an answer that is no record, in bytes.
pub(crate) const ANSWER_LEN: usize = 64;

/// The longest downcall of any version, in bytes.
const DOWNCALL_MAX: usize = 32 << 10;

/// What the kernel asks for in GetVersion, behind the place of the version.
const QUESTION: &[u8; 8] = b"nfsd-ha?";
/// What a daemon that knows our version 3 answers in its place.
const ANSWER: &[u8; 8] = b"nfsd-ha!";

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
    /// Attributes: nfsd-had's.
    V3 = 3,
}

impl Version {
    /// The version to use with a daemon that answers GetVersion so: its highest one, and whose that is.
    ///
    /// As in `nfsd4_cld_get_version()`, a number out of our range means the nearest in it. A version 3 of somebody else's
    /// is not ours.
    fn negotiate(highest: u8, whose: &[u8]) -> Self {
        match highest {
            0 | 1 => Version::V1,
            3.. if whose == ANSWER => Version::V3,
            _ => Version::V2,
        }
    }

    /// The length of every message of this version, in bytes, if it has one.
    pub(crate) const fn message_len(self) -> Option<usize> {
        match self {
            Version::V1 => Some(HEADER_LEN + NAME_ROOM),
            Version::V2 => Some(HEADER_LEN + NAME_ROOM + 1 + HASH_LEN),
            Version::V3 => None,
        }
    }

    /// May a downcall of this version have so many bytes?
    fn fits(self, len: usize) -> bool {
        match self.message_len() {
            Some(own) => len == own,
            None => (HEADER_LEN..=DOWNCALL_MAX).contains(&len),
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
    /// Store that a client has state on an export.
    Hold = 6,
    /// It has none there any more.
    Unhold = 7,
    /// All that is held is stored.
    AllHeld = 8,
}

impl Command {
    /// All commands, in the order in which status lists them.
    pub(crate) const ALL: [Command; 8] = [
        Command::GetVersion,
        Command::GraceStart,
        Command::Create,
        Command::Remove,
        Command::GraceDone,
        Command::Hold,
        Command::Unhold,
        Command::AllHeld,
    ];

    /// The command's name in status and log.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Command::Create => "create",
            Command::Remove => "remove",
            Command::GraceDone => "grace_done",
            Command::GraceStart => "grace_start",
            Command::GetVersion => "get_version",
            Command::Hold => "hold",
            Command::Unhold => "unhold",
            Command::AllHeld => "all_held",
        }
    }

    /// Is it one that version 3 alone has?
    pub(crate) fn is_new(self) -> bool {
        matches!(self, Command::Hold | Command::Unhold | Command::AllHeld)
    }
}

/// What an upcall is about, as far as its version and its command say so.
#[derive(Clone, Copy, Default)]
pub(crate) struct About<'a> {
    /// The client.
    pub(crate) client: Option<Client<'a>>,
    /// What else is known of that.
    pub(crate) details: Details,
    /// The export that is held, or is no more.
    pub(crate) export: Option<ExportId>,
    /// The epoch that it is said of, if the daemon has named it.
    pub(crate) epoch: Option<Epoch>,
    /// Until when all is held: seconds since 1970.
    pub(crate) until: Option<u64>,
}

/// What is known of a client beside its name and its principal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Details {
    /// Its minor version.
    pub(crate) minor: Option<u32>,
    /// The server's address that it came to.
    pub(crate) server: Option<IpAddr>,
}

/// Makes an upcall, without the zeros that fill one of version 1 or 2 up to [`Version::message_len`].
///
/// The xid is zero until [`set_xid`] sets it. Fails with `EINVAL` if the name does not fit,
/// with `ENOMEM` if memory is short. May sleep.
pub(crate) fn encode(version: Version, command: Command, about: &About<'_>) -> Result<KVec<u8>> {
    let client = about.client;
    let fits = |c: Client<'_>| (1..=NAME_MAX).contains(&c.name.len()) && c.hash.len() <= HASH_LEN;
    if !client.is_none_or(fits) || version < Version::V3 && command.is_new() {
        return Err(EINVAL);
    }
    let mut msg = KVec::new();
    msg.extend_from_slice(
        &[version as u8, command as u8, 0, 0, 0, 0, 0, 0],
        GFP_KERNEL,
    )?;
    match version {
        Version::V1 | Version::V2 if command == Command::GetVersion => {
            msg.push(0, GFP_KERNEL)?;
            msg.extend_from_slice(QUESTION, GFP_KERNEL)?;
        }
        Version::V1 => push_client(&mut msg, client.map_or(&[], |c| c.name), &[])?,
        Version::V2 => {
            let Client { name, hash } = client.unwrap_or_default();
            push_client(&mut msg, name, hash)?;
        }
        Version::V3 => push_attributes(&mut msg, command, about)?,
    }
    Ok(msg)
}

/// Appends a name, and a principal's hash if there is one, which comes after the name's whole room.
fn push_client(msg: &mut KVec<u8>, name: &[u8], hash: &[u8]) -> Result {
    msg.extend_from_slice(&(name.len() as u16).to_ne_bytes(), GFP_KERNEL)?;
    msg.extend_from_slice(name, GFP_KERNEL)?;
    if !hash.is_empty() {
        msg.extend_with(NAME_MAX - name.len(), 0, GFP_KERNEL)?;
        msg.push(hash.len() as u8, GFP_KERNEL)?;
        msg.extend_from_slice(hash, GFP_KERNEL)?;
    }
    Ok(())
}

fn push_attributes(msg: &mut KVec<u8>, command: Command, about: &About<'_>) -> Result {
    if let Some(client) = about.client {
        attributes::push(msg, Type::Name, client.name)?;
        if command == Command::Create {
            if !client.hash.is_empty() {
                attributes::push(msg, Type::Principal, client.hash)?;
            }
            let Details { minor, server } = about.details;
            if let Some(minor) = minor {
                attributes::push(msg, Type::Minor, &minor.to_ne_bytes())?;
            }
            if let Some(server) = server {
                attributes::push_text(msg, Type::Address, server)?;
            }
        }
    }
    if let Some(ExportId { fsid, file_system }) = about.export {
        attributes::push_text(msg, Type::Export, fsid)?;
        if file_system != [0; 16] {
            attributes::push(msg, Type::FileSystem, &file_system)?;
        }
    }
    if let Some(epoch) = about.epoch {
        attributes::push(msg, Type::Epoch, &epoch)?;
    }
    match about.until {
        Some(until) => attributes::push(msg, Type::Until, &until.to_ne_bytes()),
        None => Ok(()),
    }
}

/// Writes the xid into an upcall that [`encode`] made.
pub(crate) fn set_xid(msg: &mut [u8], xid: u32) {
    msg[4..HEADER_LEN].copy_from_slice(&xid.to_ne_bytes());
}

/// What a daemon says of itself in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    /// Where the command was GetVersion: the version to use.
    pub(crate) version: Version,
    /// The epoch that it names: its last one in the answer to GetVersion, the one that has begun in that to GraceStart.
    pub(crate) epoch: Option<Epoch>,
    /// The exports of GraceStart are all that somebody held something on.
    pub(crate) known: bool,
}

impl Said {
    /// Reads it. `body` is what follows the header.
    fn parse(version: Version, body: &[u8]) -> Result<Self> {
        if version == Version::V3 {
            let End { epoch, known } = Attributes::new(body).end()?;
            return Ok(Said {
                version,
                epoch,
                known,
            });
        }
        let (highest, whose) = (body[0], &body[1..9]);
        let version = Version::negotiate(highest, whose);
        let epoch = body[9..].first_chunk().copied();
        Ok(Said {
            version,
            epoch: epoch.filter(|_| version == Version::V3),
            known: false,
        })
    }
}

/// What a downcall says about its upcall.
pub(crate) enum Body<'a> {
    /// The upcall is done.
    Done(Said),
    /// It has failed: an errno, from 1 to 4095.
    Failed(i16),
    /// Records of a GraceStart that goes on.
    Records(Records<'a>),
}

/// Records, one or more.
#[derive(Clone, Copy)]
pub(crate) enum Records<'a> {
    /// Of version 1 or 2.
    One(Client<'a>),
    /// Of version 3.
    Many(attributes::Records<'a>),
}

impl<'a> Records<'a> {
    /// All of them, as they come.
    pub(crate) fn iter(self) -> impl Iterator<Item = Record<'a>> {
        let (one, many) = match self {
            Records::One(client) => (Some(Record::Client(client, None)), None),
            Records::Many(records) => (None, Some(records)),
        };
        Iterator::chain(one.into_iter(), many.into_iter().flatten())
    }
}

/// A downcall: a message from the daemon.
pub(crate) struct Downcall<'a> {
    /// The xid of the upcall that it answers.
    pub(crate) xid: u32,
    /// The command byte: that of the upcall, as the daemon sends the same header back.
    pub(crate) command: u8,
    /// What it says.
    pub(crate) body: Body<'a>,
}

impl<'a> Downcall<'a> {
    /// Reads a downcall of protocol version `version`, which has `len` bytes.
    ///
    /// Of one that is no record, `msg` need only have the first [`ANSWER_LEN`] bytes, and if it says that something
    /// failed, only the header. Fails with `EINVAL` if it cannot have this length, the status is no errno, or a record
    /// is not one: its command is not GraceStart, its name is empty or too long, or its hash is too long.
    pub(crate) fn parse(version: Version, len: usize, msg: &'a [u8]) -> Result<Self> {
        if !version.fits(len) || msg.len() < HEADER_LEN {
            return Err(EINVAL);
        }
        let body = &msg[HEADER_LEN..];
        let command = msg[1];
        let status = status(msg);
        let xid = xid(msg).ok_or(EINVAL)?;
        if !(-MAX_ERRNO..=0).contains(&status) {
            return Err(EINVAL);
        }
        let body = if is_record(len, msg) {
            if msg.len() < len || command != Command::GraceStart as u8 {
                return Err(EINVAL);
            }
            Body::Records(match version {
                Version::V3 => Records::Many(Attributes::new(body).records()?),
                _ => Records::One(parse_client(version, body)?),
            })
        } else if status < 0 {
            Body::Failed(-status)
        } else if msg.len() < len.min(ANSWER_LEN) || version == Version::V3 && len > ANSWER_LEN {
            return Err(EINVAL);
        } else {
            Body::Done(Said::parse(version, body)?)
        };
        Ok(Downcall { xid, command, body })
    }
}

/// The xid of a downcall, if at least its header is there.
pub(crate) fn xid(msg: &[u8]) -> Option<u32> {
    let word = msg.get(4..HEADER_LEN)?;
    Some(u32::from_ne_bytes(*word.first_chunk()?))
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
    (HEADER_LEN..=DOWNCALL_MAX).contains(&len) && status(start) == -EINPROGRESS
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
        _ => {
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
