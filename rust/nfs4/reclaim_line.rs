// SPDX-License-Identifier: GPL-2.0

//! The lines of `reclaim_clients`.
//!
//! This file makes no kernel calls; it is also compiled and tested on the host.

use crate::base::amount::Amount;
use crate::nfs4::record::{HASH_LEN, NAME_MAX};
use crate::scopes::scope::{command, Scope};
use core::net::IpAddr;
use kernel::prelude::*;

/// A client of NLM, as `nlm_clients` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NlmClient {
    /// The server's address that it uses.
    pub(crate) server: IpAddr,
    /// Its own.
    pub(crate) client: IpAddr,
    /// The version: 1, 3 or 4.
    pub(crate) version: u32,
}

/// Who is listed.
pub(crate) enum Who {
    /// A client of NFSv4: its name, and the hash of its principal, or nothing.
    Nfs4(KVec<u8>, KVec<u8>),
    /// A client of NLM.
    Nlm(NlmClient),
}

/// A line of a command: `SCOPE CLIENT-ID [PRINCIPAL-HASH] [holds=AMOUNT]`, or
/// `SCOPE nlm SERVER CLIENT VERSION [holds=AMOUNT]`.
pub(crate) struct Line {
    /// The scope.
    pub(crate) scope: Scope,
    /// Who is listed for it.
    pub(crate) who: Who,
    /// How much it held, if that is known.
    pub(crate) holds: Option<Amount>,
}

impl Line {
    fn parse(line: &[u8]) -> Result<Self> {
        let line = command(line)?;
        // No hash begins so, nor does a version. A client of NFSv4 may have such a name.
        let (line, holds) = match line.rsplit_once(" holds=") {
            Some((line, amount)) if line.contains(' ') => {
                (line, Some(Amount::parse(amount).ok_or(EINVAL)?))
            }
            _ => (line, None),
        };
        let mut words = line.split(' ');
        let (Some(scope), Some(id)) = (words.next(), words.next()) else {
            return Err(EINVAL);
        };
        let who = match [words.next(), words.next(), words.next()] {
            [hash, None, None] => nfs4(id, hash)?,
            [Some(server), Some(client), Some(version)] if id == "nlm" => {
                nlm(server, client, version)?
            }
            _ => return Err(EINVAL),
        };
        if words.next().is_some() {
            return Err(EINVAL);
        }
        let scope = Scope::parse(scope)?;
        Ok(Line { scope, who, holds })
    }
}

/// Reads the lines of a command. Fails with `EINVAL`, and with `ENOMEM`. May sleep.
pub(crate) fn parse(data: &[u8]) -> Result<KVVec<Line>> {
    let mut lines = KVVec::new();
    for line in data
        .strip_suffix(b"\n")
        .unwrap_or(data)
        .split(|c| *c == b'\n')
    {
        lines.push(Line::parse(line)?, GFP_KERNEL)?;
    }
    Ok(lines)
}

/// A client of NFSv4.
fn nfs4(id: &str, hash: Option<&str>) -> Result<Who> {
    let hash = hash.map_or(Ok(KVec::new()), hex)?;
    let name = unescape(id)?;
    if !(1..=NAME_MAX).contains(&name.len()) || ![0, HASH_LEN].contains(&hash.len()) {
        return Err(EINVAL);
    }
    Ok(Who::Nfs4(name, hash))
}

/// A client of NLM.
fn nlm(server: &str, client: &str, version: &str) -> Result<Who> {
    let address = |word: &str| {
        let address: IpAddr = word.parse().map_err(|_| EINVAL)?;
        Ok::<_, Error>(address.to_canonical())
    };
    let version = match version {
        "1" => 1,
        "3" => 3,
        "4" => 4,
        _ => return Err(EINVAL),
    };
    Ok(Who::Nlm(NlmClient {
        server: address(server)?,
        client: address(client)?,
        version,
    }))
}

/// The bytes that pairs of hexadecimal digits stand for.
fn hex(digits: &str) -> Result<KVec<u8>> {
    if digits.is_empty() || digits.len() % 2 != 0 {
        return Err(EINVAL);
    }
    let mut bytes = KVec::with_capacity(digits.len() / 2, GFP_KERNEL)?;
    for pair in digits.as_bytes().chunks_exact(2) {
        let digit = |c: &u8| char::from(*c).to_digit(16).ok_or(EINVAL);
        bytes.push((digit(&pair[0])? << 4 | digit(&pair[1])?) as u8, GFP_KERNEL)?;
    }
    Ok(bytes)
}

/// The bytes that a word of nfsd's caches stands for (`qword_get()` in `net/sunrpc/cache.c`): after
/// `\x` all is hexadecimal, else `\ooo` is a byte in octal.
fn unescape(word: &str) -> Result<KVec<u8>> {
    if let Some(digits) = word.strip_prefix("\\x") {
        return hex(digits);
    }
    let mut bytes = KVec::with_capacity(word.len(), GFP_KERNEL)?;
    let mut rest = word.as_bytes();
    while let [first, tail @ ..] = rest {
        let (byte, tail) = match (first, tail) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..]) => {
                ((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'), tail)
            }
            (b'\\', _) => return Err(EINVAL),
            _ => (*first, tail),
        };
        bytes.push(byte, GFP_KERNEL)?;
        rest = tail;
    }
    Ok(bytes)
}
