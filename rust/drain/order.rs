// SPDX-License-Identifier: GPL-2.0

//! What an admin writes to `drain`. Makes no kernel calls; also tested on the host.

use core::net::IpAddr;
use kernel::prelude::*;

/// How long an address drains if it is not said, in seconds.
pub(crate) const DEFAULT_SECONDS: u32 = 10;
/// The longest time, in seconds.
const MAX_SECONDS: u32 = 600;

/// What becomes of a connection when its last answer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// It is closed in order.
    Close,
    /// It is kept, and says nothing: the next server at the address is to reset it, so that its client comes there at
    /// once. A client whose connection was closed comes here, is refused, and waits before it tries again.
    Keep,
}

/// A command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// The address drains; who is not ready after so many seconds is reset.
    Begin(IpAddr, u32, Then),
    /// It does no more.
    End(IpAddr),
}

/// Reads `ADDRESS [SECONDS] [keep]` or `-ADDRESS`. Fails with `EINVAL`, also for what is no address of one server.
pub(crate) fn parse(line: &str) -> Result<Order> {
    if let Some(text) = line.strip_prefix('-') {
        return Ok(Order::End(address(text)?));
    }
    let (line, then) = match line.strip_suffix(" keep") {
        Some(line) => (line, Then::Keep),
        None => (line, Then::Close),
    };
    let (text, seconds) = match line.split_once(' ') {
        Some((text, digits)) => (text, seconds(digits)?),
        None => (line, DEFAULT_SECONDS),
    };
    Ok(Order::Begin(address(text)?, seconds, then))
}

/// An address; one of IPv4 also if it is written as one of IPv6.
fn address(text: &str) -> Result<IpAddr> {
    let address: IpAddr = text.parse().map_err(|_| EINVAL)?;
    let address = address.to_canonical();
    if address.is_unspecified() || address.is_multicast() {
        return Err(EINVAL);
    }
    Ok(address)
}

/// A number of seconds, with any zeros before it.
fn seconds(digits: &str) -> Result<u32> {
    if !digits.bytes().all(|c| c.is_ascii_digit()) {
        return Err(EINVAL);
    }
    match digits.parse() {
        Ok(seconds) if seconds <= MAX_SECONDS => Ok(seconds),
        _ => Err(EINVAL),
    }
}
