// SPDX-License-Identifier: GPL-2.0

//! `floating_addresses`: the addresses of the server that move between servers.

use crate::base::net::{Net, Nfsd};
use crate::base::setup::{Once, Setup};
use crate::base::text::Text;
use crate::nfs4::identity;
use crate::scopes::scope::command;
use core::fmt::Write;
use core::net::IpAddr;
use kernel::prelude::*;

kernel::sync::global_lock! {
    // SAFETY: Initialised by `init_module()` before anything can use it.
    unsafe(uninit) static ADDRESSES: Mutex<KVVec<(u64, IpAddr)>> = KVVec::new();
}

/// Has a namespace a floating address? May sleep.
pub(crate) fn any(net: u64) -> bool {
    ADDRESSES.lock().iter().any(|(n, _)| *n == net)
}

/// Is an address of a namespace floating? May sleep.
pub(crate) fn has(net: u64, address: IpAddr) -> bool {
    ADDRESSES.lock().contains(&(net, address))
}

/// Prepares this file's lock.
pub(crate) fn init_module(_: &Setup) {
    static READY: Once = Once::new();
    if READY.is_first() {
        // SAFETY: This is the first time, and during the setup nobody else uses the lock.
        unsafe { ADDRESSES.init() };
    }
}

/// Frees what this file keeps. For this module's exit.
pub(crate) fn exit_module() {
    *ADDRESSES.lock() = KVVec::new();
}

/// Does a command of `floating_addresses`: `ADDRESS`, or `-ADDRESS` to take it back. May sleep.
///
/// Fails with `EINVAL` for another command, and with `ENOMEM`.
pub(crate) fn write(net: Net<'_>, data: &[u8], out: &mut Text) -> Result {
    let command = command(data)?;
    let (address, add) = match command.strip_prefix('-') {
        Some(address) => (address, false),
        None => (command, true),
    };
    let address: IpAddr = address.parse().map_err(|_| EINVAL)?;
    let one = (net.cookie(), address.to_canonical());
    let mut addresses = ADDRESSES.lock();
    let known = addresses.contains(&one);
    if add && !known {
        addresses.push(one, GFP_KERNEL)?;
    } else if !add {
        addresses.retain(|other| *other != one);
    }
    drop(addresses);
    list(net, out)
}

/// Shows the floating addresses of a namespace, a line for each. May sleep.
pub(crate) fn show(nfsd: Nfsd<'_>, out: &mut Text) -> Result {
    list(nfsd.net(), out)
}

fn list(net: Net<'_>, out: &mut Text) -> Result {
    let net = net.cookie();
    for (_, address) in ADDRESSES.lock().iter().filter(|(n, _)| *n == net) {
        writeln!(out, "{address}")?;
    }
    Ok(())
}

/// The name of the client that comes to an address of a namespace with this owner, if the address
/// is a floating one. One that is too long stays as it is. May sleep.
pub(crate) fn name(net: u64, owner: &[u8], address: Option<IpAddr>) -> Result<Option<KVec<u8>>> {
    match address {
        Some(address) if has(net, address) => identity::at(owner, address),
        _ => Ok(None),
    }
}
