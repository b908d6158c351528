// SPDX-License-Identifier: GPL-2.0

//! `floating_addresses`: the addresses of the server that move between servers.

use crate::base::global::Global;
use crate::base::net::{Net, Nfsd};
use crate::base::setup::Setup;
use crate::base::text::Text;
use crate::nfs4::identity::{self, Since};
use crate::nfs4::nfsd::NfsdNet;
use crate::scopes::scope::command;
use core::fmt::Write;
use core::net::IpAddr;
use kernel::prelude::*;
use kernel::sync::{new_mutex, Mutex};

static ADDRESSES: Global<Mutex<KVVec<Floating>>> = Global::new();

/// A floating address.
struct Floating {
    /// The cookie of its net namespace.
    net: u64,
    address: IpAddr,
    /// How often the namespace's server has been started since it became one, as far as that matters: `None` if the
    /// server did not run then.
    starts: Option<u8>,
}

impl Floating {
    fn is(&self, net: u64, address: IpAddr) -> bool {
        (self.net, self.address) == (net, address)
    }
}

/// Has a namespace a floating address? May sleep.
pub(crate) fn any(net: u64) -> bool {
    ADDRESSES.lock().iter().any(|one| one.net == net)
}

/// The floating addresses of a namespace. Fails with `ENOMEM`. May sleep.
pub(crate) fn addresses(net: u64) -> Result<KVVec<IpAddr>> {
    let mut found = KVVec::new();
    for one in ADDRESSES.lock().iter().filter(|one| one.net == net) {
        found.push(one.address, GFP_KERNEL)?;
    }
    Ok(found)
}

/// Since when is an address of a namespace floating, if it is? May sleep.
pub(crate) fn since(net: u64, address: IpAddr) -> Option<Since> {
    let addresses = ADDRESSES.lock();
    let found = addresses.iter().find(|one| one.is(net, address))?;
    Some(match found.starts {
        Some(1) => Since::LastRun,
        _ => Since::Unknown,
    })
}

/// A namespace ends, and so do its floating addresses. May sleep.
pub(crate) fn forget(net: Net<'_>) {
    let net = net.cookie();
    ADDRESSES.lock().retain(|one| one.net != net);
}

/// A server is started in a namespace. May sleep.
pub(crate) fn server_starts(net: Net<'_>) {
    let net = net.cookie();
    for one in ADDRESSES.lock().iter_mut().filter(|one| one.net == net) {
        one.starts = one.starts.map(|starts| starts.saturating_add(1));
    }
}

/// Prepares this file's lock.
pub(crate) fn init_module(setup: &Setup) {
    ADDRESSES.init(setup, new_mutex!(KVVec::new(), "nfsd_ha::ADDRESSES"));
}

/// Frees what this file keeps. For this module's exit.
pub(crate) fn exit_module() {
    *ADDRESSES.lock() = KVVec::new();
}

/// Does a command of `floating_addresses`: `ADDRESS`, or `-ADDRESS` to take it back. May sleep.
///
/// Fails with `EINVAL` for another command, and with `ENOMEM`.
pub(crate) fn write(nfsd: Nfsd<'_>, data: &[u8], out: &mut Text) -> Result {
    let net = nfsd.net();
    let command = command(data)?;
    let (address, add) = match command.strip_prefix('-') {
        Some(address) => (address, false),
        None => (command, true),
    };
    let address: IpAddr = address.parse().map_err(|_| EINVAL)?;
    let address = address.to_canonical();
    let mut addresses = ADDRESSES.lock();
    let known = addresses.iter().any(|one| one.is(net.cookie(), address));
    if add && !known {
        let one = Floating {
            net: net.cookie(),
            address,
            starts: NfsdNet::of(nfsd).is_running().then_some(0),
        };
        addresses.push(one, GFP_KERNEL)?;
    } else if !add {
        addresses.retain(|one| !one.is(net.cookie(), address));
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
    for one in ADDRESSES.lock().iter().filter(|one| one.net == net) {
        writeln!(out, "{}", one.address)?;
    }
    Ok(())
}

/// The name of the client that comes to an address of a namespace with this owner, if the address
/// is a floating one. One that is too long stays as it is. May sleep.
pub(crate) fn name(net: u64, owner: &[u8], address: Option<IpAddr>) -> Result<Option<KVec<u8>>> {
    match address {
        Some(address) if since(net, address).is_some() => identity::at(owner, address),
        _ => Ok(None),
    }
}
