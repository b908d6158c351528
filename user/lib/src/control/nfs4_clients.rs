// SPDX-License-Identifier: GPL-2.0
//! `nfs4_clients`: what each NFSv4 client holds on each export (`rust/nfs4/nfs4_clients.rs`).

use super::{count, dash};
use crate::amount::Amount;
use crate::owner::Owner;
use crate::scope::Fsid;
use std::net::IpAddr;

/// What an NFSv4 client holds on an export. A count is `None` if there is too much to count.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Nfs4Client {
    /// The export.
    pub fsid: Fsid,
    /// The client.
    pub client: Owner,
    /// Open files, by owner.
    pub opens: Option<u64>,
    /// Locked ranges.
    pub locks: Option<u64>,
    /// Delegations.
    pub delegations: Option<u64>,
    /// Layouts (RFC 8881, 12).
    pub layouts: Option<u64>,
    /// The minor version.
    pub minor: u32,
    /// The server's address that it is connected to, if it is.
    pub address: Option<IpAddr>,
    /// SHA-256 of its principal, in hexadecimal digits, if it has one.
    pub principal: Option<String>,
    /// How much it holds, in all.
    pub holds: Option<Amount>,
}

impl Nfs4Client {
    /// A line: its words are named in the file's first one.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let mut next = || words.next();
        Some(Self {
            fsid: next()?.parse().ok()?,
            client: next()?.parse().ok()?,
            opens: count(next()?)?,
            locks: count(next()?)?,
            delegations: count(next()?)?,
            layouts: count(next()?)?,
            minor: next()?.parse().ok()?,
            address: dash(next()?)?,
            principal: dash(next()?)?,
            holds: dash(next()?)?,
        })
    }
}

/// The client's name in its `info` file of nfsd: `name: "NAME"`, with `\xHH` for other bytes than
/// printable ones (`client_info_show()` and `seq_quote_mem()`).
pub(super) fn name_of_info(info: &[u8]) -> Option<Owner> {
    let mut lines = info.split(|byte| *byte == b'\n');
    let quoted = lines.find_map(|line| line.strip_prefix(b"name: \""))?;
    let mut rest = quoted.strip_suffix(b"\"")?;
    let mut name = Vec::with_capacity(rest.len());
    while let [first, tail @ ..] = rest {
        let (byte, tail) = match (first, tail) {
            (b'\\', [b'x', high, low, tail @ ..]) => (crate::owner::hex(&[*high, *low])?[0], tail),
            other => (*other.0, other.1),
        };
        name.push(byte);
        rest = tail;
    }
    Owner::new(name).ok()
}
