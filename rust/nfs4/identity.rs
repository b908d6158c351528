// SPDX-License-Identifier: GPL-2.0

//! Who a client is that comes to a floating address.
//!
//! A client that mounts exports of two servers presents the same owner to both (RFC 8881, 2.4;
//! RFC 7931 wants it of NFSv4.0, too). When the address of one of them moves to the other, that
//! one finds a client that it knows and that has finished reclaiming: it confirms that client, which
//! is how the client learns that there is nothing to reclaim (EXCHGID4_FLAG_CONFIRMED_R), and
//! the client then finds its opens and locks gone. What nfsd keeps for a client (its lease, whether it
//! has reclaimed, its callbacks) cannot be split.
//!
//! So the two are different clients from the start: to the owner of a client that comes to a
//! floating address, the address is added. RFC 8881 wants clients found by the owner that they
//! present; for what a client can see, a server with several addresses that does not trunk is
//! one server for each address (2.10.5).
//!
//! This file makes no kernel calls; it is also compiled and tested on the host.

use crate::nfs4::record::NAME_MAX;
use core::fmt::{self, Write};
use core::net::IpAddr;
use kernel::prelude::*;

/// Since when an address is floating.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Since {
    /// It became so while the server ran, before it was started again: some of its clients are on record with the address,
    /// and some by their owners alone.
    LastRun,
    /// Before that, or not known.
    Unknown,
}

/// What is added to the owner of a client that comes to an address: `@` and the address.
struct Suffix {
    // The longest address is one of IPv6 with an address of IPv4 in it.
    text: [u8; 1 + 45],
    len: usize,
}

impl Suffix {
    fn new(address: IpAddr) -> Self {
        let mut suffix = Suffix {
            text: [0; 46],
            len: 0,
        };
        // It fits.
        let _ = write!(suffix, "@{address}");
        suffix
    }

    fn bytes(&self) -> &[u8] {
        &self.text[..self.len]
    }
}

impl fmt::Write for Suffix {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let rest = self.text.get_mut(self.len..).ok_or(fmt::Error)?;
        rest.get_mut(..s.len())
            .ok_or(fmt::Error)?
            .copy_from_slice(s.as_bytes());
        self.len += s.len();
        Ok(())
    }
}

/// The name of the client that comes to a floating address with this owner, unless that has no room for
/// the address. Fails with `ENOMEM`. May sleep.
pub(crate) fn at(owner: &[u8], address: IpAddr) -> Result<Option<KVec<u8>>> {
    let suffix = Suffix::new(address);
    let len = owner.len() + suffix.len;
    if len > NAME_MAX {
        return Ok(None);
    }
    let mut name = KVec::with_capacity(len, GFP_KERNEL)?;
    name.extend_from_slice(owner, GFP_KERNEL)?;
    name.extend_from_slice(suffix.bytes(), GFP_KERNEL)?;
    Ok(Some(name))
}

/// The owner that a client presented, and the address that was added to it, if one was.
pub(crate) fn split(name: &[u8]) -> Option<(&[u8], IpAddr)> {
    let at = name.iter().rposition(|byte| *byte == b'@')?;
    let text = core::str::from_utf8(&name[at + 1..]).ok()?;
    let address = text.parse().ok()?;
    // Only as it is written here.
    Some((owner(name, address)?, address))
}

/// The owner that a client presented that came to an address, if the address was added.
pub(crate) fn owner(name: &[u8], address: IpAddr) -> Option<&[u8]> {
    name.strip_suffix(Suffix::new(address).bytes())
}
