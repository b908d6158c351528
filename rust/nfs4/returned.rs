// SPDX-License-Identifier: GPL-2.0

//! Who is back with all that it held: clients of NFSv4.0, which cannot say so.
//!
//! What is counted is what a client holds now. While its scope is in grace it gets nothing new there, so that it has
//! reclaimed what it holds. To count its requests would not do: one may be sent again, or a client may begin anew.

use crate::base::amount::Amount;
use crate::base::net::Net;
use crate::nfs4::due::Missing;
use crate::nfs4::floating;
use crate::nfs4::identity;
use crate::nfs4::record::OwnedClient;
use crate::nfs4::server::Server;
use crate::nfs4::stateids::Steps;
use crate::scopes::scope::Scope;
use core::net::IpAddr;
use kernel::prelude::*;

/// Notes who has as much of a scope as it held. Fails with `ENOMEM`. May sleep; takes `client_lock` and `cl_lock`.
pub(crate) fn find(
    server: &Server<'_>,
    net: Net<'_>,
    scope: &Scope,
    missing: &mut [Missing<OwnedClient>],
) -> Result {
    let addresses = floating::addresses(net.cookie())?;
    for missing in missing {
        missing.found = has(server, scope, missing, &addresses)?;
    }
    Ok(())
}

/// Has a client as much of a scope as it held? It may be listed with a floating address or without, as the other server
/// knew it: see `with_names()` in `reclaimers.rs`.
fn has(
    server: &Server<'_>,
    scope: &Scope,
    missing: &Missing<OwnedClient>,
    addresses: &[IpAddr],
) -> Result<bool> {
    let listed = missing.client.get();
    let is_back = |name: &[u8]| {
        let held = held(server, scope, name, listed.hash);
        held.is_some_and(|held| held >= missing.holds)
    };
    if is_back(listed.name) {
        return Ok(true);
    }
    // An address that is floating here is part of the names of who comes there.
    if let Some((owner, address)) = identity::split(listed.name) {
        return Ok(!addresses.contains(&address) && is_back(owner));
    }
    for address in addresses {
        if identity::at(listed.name, *address)?.is_some_and(|name| is_back(&name)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// How much the client of NFSv4.0 with a name and, if one is listed, a principal holds of a scope, if there is one and it
/// can be counted. Does not sleep.
fn held(server: &Server<'_>, scope: &Scope, name: &[u8], hash: &[u8]) -> Option<Amount> {
    let table = server.clients();
    let client = table.with_name(name)?;
    let is_listed = hash.is_empty() || client.principal_hash().is_some_and(|h| h == hash);
    if client.minor_version() > 0 || client.is_expired() || !is_listed {
        return None;
    }
    client.held(scope, &mut Steps::of_client()).amount()
}
