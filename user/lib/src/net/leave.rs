// SPDX-License-Identifier: GPL-2.0
//! Addresses leave this node, and their clients hear nothing of it.

use std::net::IpAddr;

use thiserror::Error;

use super::address::{self, AddressError};
use super::place::Placed;
use super::quiet::{Quiet, QuietError};
use super::sockets::{self, Ports, SocketsError};

/// What keeps an address from leaving. The step may be repeated.
#[derive(Debug, Error)]
pub enum LeaveError {
    /// The address is not deleted.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// Not all of its connections are forgotten.
    #[error(transparent)]
    Sockets(#[from] SocketsError),
    /// An IPv6 address is not kept quiet, or stays so.
    #[error(transparent)]
    Quiet(#[from] QuietError),
}

/// Deletes addresses, forgets all connections to them, and says how many they were. Nothing of that gets
/// out: a client goes on with its connection, and whoever has the address next resets it.
///
/// Who has the connections (nfsd, lockd) closes them, too, sooner or later; that then does nothing.
///
/// # Errors
///
/// [`LeaveError`]. Some of the addresses may have gone; they can be added again.
pub fn leave(placed: &[Placed]) -> Result<usize, LeaveError> {
    let addresses: Vec<IpAddr> = placed.iter().map(|placed| placed.address).collect();
    let quiet = Quiet::begin(&addresses)?;
    for placed in placed {
        address::delete(placed)?;
    }
    let gone = sockets::destroy(&addresses, Ports::Any)?;
    quiet.end()?;
    Ok(gone)
}
