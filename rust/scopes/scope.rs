// SPDX-License-Identifier: GPL-2.0

//! What an admin's command is about: an export, a file system, or an address of the server.
//!
//! | written | means |
//! |---|---|
//! | `1234`, `0x4d2` | the export with `fsid=1234` in exports(5) |
//! | `0d7bb6e8-0c1e-4e6a-9d61-3f9a1f6c1b1d` | the one with `fsid=UUID`, or the file system's own UUID |
//! | `dev:8:1` | the file system on a device: all its exports |
//! | `ip:192.0.2.1`, `ip:2001:db8::1` | anything, if it came to this address of the server |
//!
//! An export is meant by whatever handle a client has named its files, see `place.rs`.
//!
//! File handles are laid out as `fs/nfsd/nfsfh.h` says: which form nfsd uses for a UUID depends
//! on the room that the NFS version's handles have.
//!
//! This file makes no kernel calls; it is also compiled and tested on the host.

use core::fmt;
use core::net::IpAddr;
use kernel::prelude::*;

/// The identity of an export, as its file handles have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fsid {
    /// A number that the admin chose (`FSID_NUM`).
    Num(u32),
    /// A UUID (`FSID_UUID16`, `FSID_UUID16_INUM`).
    Uuid([u8; 16]),
    /// A UUID folded into 8 bytes (`FSID_UUID8`).
    Uuid8([u8; 8]),
    /// A UUID folded into 4 bytes (`FSID_UUID4_INUM`).
    Uuid4([u8; 4]),
    /// A device (`FSID_DEV`, `FSID_MAJOR_MINOR`, `FSID_ENCODE_DEV`).
    Dev {
        /// Up to 4095.
        major: u32,
        /// Up to 1048575.
        minor: u32,
    },
}

/// The type of the fsid of a file handle, and what follows (`fs/nfsd/nfsfh.h`); `None` if it is not one of nfsd's.
pub(crate) fn in_handle(handle: &[u8]) -> Option<(u8, &[u8])> {
    // Version, auth type, fsid type, fileid type.
    match handle.split_first_chunk()? {
        ([1, _, kind, _], rest) => Some((*kind, rest)),
        _ => None,
    }
}

/// Length of a key that stands for a [`Fsid`] or an address in a hash table, in bytes.
pub(crate) const KEY_LEN: usize = 17;

impl Fsid {
    /// The fsid of a file handle (`fs/nfsd/nfsfh.h`); `None` if it is not one of nfsd's.
    pub(crate) fn of_handle(handle: &[u8]) -> Option<Self> {
        let (kind, rest) = in_handle(handle)?;
        Self::of_form(kind, rest)
    }

    /// The fsid of a type (`enum fsid_type`) and the bytes that follow; `None` if there is no such type, or are too few
    /// bytes.
    pub(crate) fn of_form(kind: u8, rest: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(*rest.get(at..at + 4)?.first_chunk()?);
        Some(match kind {
            0 => {
                let dev = u32::from_be_bytes(word(0)?);
                Fsid::Dev {
                    major: dev >> 16,
                    minor: dev & 0xffff,
                }
            }
            1 => Fsid::Num(u32::from_ne_bytes(word(0)?)),
            2 => Fsid::Dev {
                major: u32::from_be_bytes(word(0)?),
                minor: u32::from_be_bytes(word(4)?),
            },
            // new_encode_dev()
            3 => {
                let dev = u32::from_ne_bytes(word(0)?);
                Fsid::Dev {
                    major: dev >> 8 & 0xfff,
                    minor: dev & 0xff | dev >> 12 & 0xf_ff00,
                }
            }
            4 => Fsid::Uuid4(word(4)?),
            5 => Fsid::Uuid8(*rest.first_chunk()?),
            6 => Fsid::Uuid(*rest.first_chunk()?),
            7 => Fsid::Uuid(*rest.get(8..)?.first_chunk()?),
            _ => return None,
        })
    }

    /// Reads one as it is shown; `None` if it is none, or one that nobody shows so.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if let Some(digits) = text.strip_prefix("uuid8:") {
            return folded(digits).map(Fsid::Uuid8);
        }
        if let Some(digits) = text.strip_prefix("uuid4:") {
            return folded(digits).map(Fsid::Uuid4);
        }
        match Scope::parse(text).ok()? {
            Scope::Export(fsid) => Some(fsid),
            Scope::Server(_) => None,
        }
    }

    /// The fsid of a device's number (`dev_t` in `include/linux/kdev_t.h`).
    pub(crate) fn of_device(device: u32) -> Self {
        Fsid::Dev {
            major: device >> 20,
            minor: device & 0xf_ffff,
        }
    }

    /// A key for a hash table.
    pub(crate) fn key(&self) -> [u8; KEY_LEN] {
        match *self {
            Fsid::Num(n) => key(b'n', &n.to_ne_bytes()),
            Fsid::Uuid(uuid) => key(b'u', &uuid),
            Fsid::Uuid8(half) => key(b'h', &half),
            Fsid::Uuid4(quarter) => key(b'q', &quarter),
            Fsid::Dev { major, minor } => key(
                b'd',
                &(u64::from(major) << 32 | u64::from(minor)).to_ne_bytes(),
            ),
        }
    }
}

/// A key for an address in a hash table.
pub(crate) fn address_key(address: IpAddr) -> [u8; KEY_LEN] {
    match address {
        IpAddr::V4(a) => key(b'4', &a.octets()),
        IpAddr::V6(a) => key(b'6', &a.octets()),
    }
}

/// A key for the UUID of a file system.
pub(crate) fn file_system_key(uuid: &[u8; 16]) -> [u8; KEY_LEN] {
    key(b's', uuid)
}

fn key(kind: u8, bytes: &[u8]) -> [u8; KEY_LEN] {
    let mut key = [0; KEY_LEN];
    key[0] = kind;
    key[1..=bytes.len()].copy_from_slice(bytes);
    key
}

impl fmt::Display for Fsid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fsid::Num(n) => write!(f, "{n}"),
            Fsid::Dev { major, minor } => write!(f, "dev:{major}:{minor}"),
            Fsid::Uuid(uuid) => {
                for (i, byte) in uuid.iter().enumerate() {
                    let dash = if [4, 6, 8, 10].contains(&i) { "-" } else { "" };
                    write!(f, "{dash}{byte:02x}")?;
                }
                Ok(())
            }
            Fsid::Uuid8(bytes) => {
                f.write_str("uuid8:")?;
                bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
            Fsid::Uuid4(bytes) => {
                f.write_str("uuid4:")?;
                bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    }
}

/// What a command is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// One export, `Num` or `Uuid`, or one file system, `Dev`.
    Export(Fsid),
    /// All that comes to one address of the server.
    Server(IpAddr),
}

impl Scope {
    /// Reads a scope. Fails with `EINVAL`.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        if let Some(address) = text.strip_prefix("ip:") {
            let address: IpAddr = address.parse().map_err(|_| EINVAL)?;
            return Ok(Scope::Server(address.to_canonical()));
        }
        if let Some(device) = text.strip_prefix("dev:") {
            let (major, minor) = device.split_once(':').ok_or(EINVAL)?;
            // The ranges of the kernel's dev_t.
            return Ok(Scope::Export(Fsid::Dev {
                major: number(major, 10, (1 << 12) - 1)?,
                minor: number(minor, 10, (1 << 20) - 1)?,
            }));
        }
        if text.len() >= 32 {
            return uuid(text).map(|uuid| Scope::Export(Fsid::Uuid(uuid)));
        }
        let number = match text.strip_prefix("0x") {
            Some(digits) => number(digits, 16, u32::MAX)?,
            None => number(text, 10, u32::MAX)?,
        };
        Ok(Scope::Export(Fsid::Num(number)))
    }

    /// Is a file handle with this fsid of this scope? Never for an address.
    pub(crate) fn has(&self, fsid: &Fsid) -> bool {
        let Scope::Export(own) = self else {
            return false;
        };
        own == fsid || own.folded().iter().flatten().any(|other| other == fsid)
    }

    /// The keys of a hash table that lead to this scope.
    pub(crate) fn keys(&self) -> impl Iterator<Item = [u8; KEY_LEN]> {
        let (first, folded) = match self {
            Scope::Server(address) => (address_key(*address), [None, None]),
            Scope::Export(fsid) => (fsid.key(), fsid.folded()),
        };
        let folded = folded.into_iter().flatten().map(|fsid| fsid.key());
        Iterator::chain(core::iter::once(first), folded)
    }
}

impl Fsid {
    /// The other forms that file handles have this fsid in (`mk_fsid()`).
    fn folded(&self) -> [Option<Fsid>; 2] {
        let Fsid::Uuid(uuid) = self else {
            return [None, None];
        };
        let mut half = [0; 8];
        let mut quarter = [0; 4];
        for (i, byte) in uuid.iter().enumerate() {
            half[i % 8] ^= byte;
            quarter[i % 4] ^= byte;
        }
        [Some(Fsid::Uuid8(half)), Some(Fsid::Uuid4(quarter))]
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scope::Export(fsid) => fsid.fmt(f),
            Scope::Server(address) => write!(f, "ip:{address}"),
        }
    }
}

/// A number up to `max`, without sign or spaces. One that starts with a further 0 is refused:
/// exports(5) takes it as octal, other tools do not.
fn number(digits: &str, radix: u32, max: u32) -> Result<u32> {
    if digits.starts_with('+') || (radix == 10 && digits.len() > 1 && digits.starts_with('0')) {
        return Err(EINVAL);
    }
    match u32::from_str_radix(digits, radix) {
        Ok(n) if n <= max => Ok(n),
        _ => Err(EINVAL),
    }
}

/// A folded UUID: two hexadecimal digits for each byte.
fn folded<const N: usize>(digits: &str) -> Option<[u8; N]> {
    if digits.len() != 2 * N || !digits.bytes().all(|c| c.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; N];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(bytes)
}

/// A UUID: 32 hexadecimal digits, or these with dashes in the usual places.
fn uuid(text: &str) -> Result<[u8; 16]> {
    let dashed = text.len() == 36;
    if !dashed && text.len() != 32 {
        return Err(EINVAL);
    }
    let mut uuid = [0; 16];
    let mut digits = 0;
    for (i, c) in text.chars().enumerate() {
        if dashed && [8, 13, 18, 23].contains(&i) {
            if c != '-' {
                return Err(EINVAL);
            }
            continue;
        }
        let digit = c.to_digit(16).ok_or(EINVAL)? as u8;
        uuid[digits / 2] = uuid[digits / 2] << 4 | digit;
        digits += 1;
    }
    Ok(uuid)
}

/// The one command of a write: words with one space between them, perhaps a newline at the end.
///
/// Fails with `EINVAL` if it is empty or has other characters than visible ASCII.
pub(crate) fn command(data: &[u8]) -> Result<&str> {
    let line = data.strip_suffix(b"\n").unwrap_or(data);
    if line.is_empty() || !line.iter().all(|c| c.is_ascii_graphic() || *c == b' ') {
        return Err(EINVAL);
    }
    core::str::from_utf8(line).map_err(|_| EINVAL)
}
