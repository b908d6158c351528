// SPDX-License-Identifier: GPL-2.0

//! `reclaim_clients`: the clients that may reclaim NFSv4 state in a scope's grace period, and what
//! nfsd asks of them.
//!
//! C source: `nfs4_check_open_reclaim()` and `nfsd4_reclaim_complete()` in `fs/nfsd/nfs4state.c`.
//! Both are replaced rather than the tracking operations that they call, so that an export can be
//! taken over by a server that was started before this module was loaded.
//!
//! Lock order: [`LISTS`], then the lock of the scopes.

use crate::base::global::Global;
use crate::base::net::{Net, Nfsd};
use crate::base::setup::Setup;
use crate::base::siphash::SipHash;
use crate::base::text::Text;
use crate::nfs4::due::Wanted;
use crate::nfs4::floating;
use crate::nfs4::formers;
use crate::nfs4::identity;
use crate::nfs4::nfs4_client::Nfs4Client;
use crate::nfs4::reclaim::{Claim, Listed, Lists};
use crate::nfs4::reclaim_line;
use crate::nfs4::records::Progress;
use crate::scopes::compound::Compound;
use crate::scopes::in_grace;
use crate::scopes::request::Request;
use crate::scopes::scope::Scope;
use core::fmt::Write;
use core::net::IpAddr;
use kernel::bindings;
use kernel::prelude::*;
use kernel::sync::{new_mutex, Mutex};

static LISTS: Global<Mutex<Lists<SipHash>>> = Global::new();

/// Prepares this file's lock.
pub(crate) fn init_module(setup: &Setup) {
    LISTS.init(setup, new_mutex!(Lists::new(), "nfsd_ha::LISTS"));
}

/// Frees what this file keeps. For this module's exit.
pub(crate) fn exit_module() {
    *LISTS.lock() = Lists::new();
}

/// Does a command of `reclaim_clients`: lines of `SCOPE CLIENT-ID [PRINCIPAL-HASH] [holds=AMOUNT]` and of
/// `SCOPE nlm SERVER CLIENT VERSION [holds=AMOUNT]`. May sleep.
///
/// Fails with `EINVAL` for another command, with `ETIME` if one of the scopes is not in grace, and
/// with `ENOMEM`: then the lines that were taken before stay.
pub(crate) fn write(net: Net<'_>, data: &[u8], out: &mut Text) -> Result {
    let lines = reclaim_line::parse(data)?;
    let net = net.cookie();
    let mut lists = LISTS.lock();
    lists.retain(in_grace::is_in_grace);
    if lines
        .iter()
        .any(|line| !in_grace::is_in_grace(net, &line.scope))
    {
        return Err(not_in_grace());
    }
    for line in &lines {
        lists.add(net, line, SipHash::random())?;
    }
    writeln!(out, "listed {}", lines.len())?;
    Ok(())
}

/// Shows who is listed, as it can be written, and how far they are. May sleep.
pub(crate) fn show(nfsd: Nfsd<'_>, out: &mut Text) -> Result {
    let net = nfsd.net().cookie();
    let mut lists = LISTS.lock();
    lists.retain(in_grace::is_in_grace);
    lists.each(net, |scope, client, holds, progress| {
        write!(out, "{scope} ")?;
        match client {
            Listed::Nfs4(client) => {
                out.word(client.name)?;
                if !client.hash.is_empty() {
                    out.write_str(" ")?;
                    out.hex(client.hash)?;
                }
            }
            Listed::Nlm(one) => {
                let (server, client, version) = (one.server, one.client, one.version);
                write!(out, "nlm {server} {client} {version}")?;
            }
        }
        if let Some(holds) = holds {
            write!(out, " holds={holds}")?;
        }
        let progress = match progress {
            Progress::Waiting => "waiting",
            Progress::Reclaimed => "reclaimed",
            Progress::Complete => "complete",
        };
        writeln!(out, " # {progress}")
    })?;
    Ok(())
}

/// A scope's grace period begins anew, or was ended: nobody is listed there. May sleep.
pub(crate) fn forget(net: u64, scope: &Scope) {
    LISTS.lock().retain(|n, s| n != net || s != scope);
}

/// Nobody but those who are listed for a scope will reclaim there. Ends its grace period when they
/// have finished, which may be now. Fails with `ETIME` if it is not in grace, and with `ENOMEM`.
/// May sleep.
pub(crate) fn close(net: u64, scope: &Scope) -> Result {
    let mut lists = LISTS.lock();
    if !in_grace::is_in_grace(net, scope) {
        return Err(not_in_grace());
    }
    if lists.close(net, scope, SipHash::random())? {
        end(net, scope);
    }
    Ok(())
}

/// Does a closed list of a namespace wait for somebody who must be looked for, as it cannot say that it has finished?
/// May sleep.
pub(crate) fn waits(net: u64) -> bool {
    let mut lists = LISTS.lock();
    lists.retain(in_grace::is_in_grace);
    lists.waits(net)
}

/// A tick: who is to be looked for now in a namespace. Fails with `ENOMEM`. May sleep.
pub(crate) fn wanted(net: u64) -> Result<KVVec<Wanted>> {
    let reclaims = |scope: &Scope| in_grace::reclaims(net, scope);
    LISTS.lock().wanted(net, reclaims)
}

/// Notes who of those that were looked for in a namespace has all, or that not all could be looked for. Ends the scope's
/// grace period if nobody is waited for any more. May sleep.
pub(crate) fn found(net: u64, wanted: &Wanted, all: bool) {
    let mut lists = LISTS.lock();
    if lists.found(wanted, all) && in_grace::is_in_grace(net, &wanted.scope) {
        end(net, &wanted.scope);
    }
}

/// `ETIME`, which the kernel crate of 7.2 does not have.
fn not_in_grace() -> Error {
    Error::from_errno(-(bindings::ETIME as i32))
}

/// Everybody has finished.
fn end(net: u64, scope: &Scope) {
    pr_info!(
        "grace period of {} ends: all clients have reclaimed\n",
        format_args!("{scope}")
    );
    in_grace::end(net, scope);
}

/// May a client reclaim what its request is about? Of NFSv4 minor version 0, it is then
/// recorded as if it had reclaimed on a server of its own. (It need never confirm an OPEN again, which
/// is when nfsd would do that.) May sleep.
pub(crate) fn check_open_reclaim(
    client: &Nfs4Client,
    request: Option<&Request<'_>>,
) -> Result<(), Refusal> {
    if client.is_complete() {
        return Err(Refusal::NoGrace);
    }
    let had =
        |compound: Compound<'_>| compound.with_handle(|handle| formers::opens(client, handle));
    if formers::any() && request.and_then(Request::compound).and_then(had) == Some(true) {
        return Ok(());
    }
    match request.map_or(Claim::Unlisted, |request| claim(client, request)) {
        Claim::May => {
            if client.minor_version() == 0 {
                client.create_record();
            }
            return Ok(());
        }
        Claim::Finished => return Err(Refusal::NoGrace),
        Claim::Unlisted => (),
    }
    // The server's own record says who may reclaim in the server's own grace period, and nothing of who had
    // what in a scope: a client that is on it because it is here may have lost its state there.
    match client.is_server_in_grace() && client.is_on_record() {
        true => Ok(()),
        false => Err(Refusal::ReclaimBad),
    }
}

/// Why a client may not reclaim (RFC 8881, 15.1.9).
#[derive(Clone, Copy)]
pub(crate) enum Refusal {
    /// It has said that it has finished.
    NoGrace,
    /// It is not on record.
    ReclaimBad,
}

/// May a client reclaim what its request is about, as one that is listed in a scope in grace?
fn claim(client: &Nfs4Client, request: &Request<'_>) -> Claim {
    let Some(subject) = request.subject() else {
        return Claim::Unlisted;
    };
    let net = client.nfsd().net().cookie();
    let in_grace = |scope: &Scope| in_grace::is_in_grace(net, scope);
    with_names(client, request.server(), |names, principal| {
        let mut lists = LISTS.lock();
        lists.claim(net, &subject, in_grace, names, principal)
    })
}

/// A client has sent RECLAIM_COMPLETE; for one file system, if `one_fs`. Returns whether it is listed for that,
/// and had sent it before. May sleep.
///
/// Where there are floating addresses, one that has come to another address finishes nothing by the former: who
/// is waited for comes to a floating one. The grace period then ends by its time.
pub(crate) fn complete(client: &Nfs4Client, request: &Request<'_>, one_fs: bool) -> bool {
    if LISTS.lock().is_empty() {
        return false;
    }
    let (subject, server, net) = (
        request.subject(),
        request.server(),
        client.nfsd().net().cookie(),
    );
    if one_fs && subject.is_none() {
        return false;
    }
    let subject = subject.filter(|_| one_fs);
    // Who is listed without the address may be another client of the same owner, at a floating address.
    let at_floating = server.is_some_and(|a| identity::owner(client.name(), a).is_some());
    if !one_fs && !at_floating && floating::any(net) {
        return false;
    }
    with_names(client, server, |names, principal| {
        let mut lists = LISTS.lock();
        lists.retain(in_grace::is_in_grace);
        let ended = |scope: &Scope| end(net, scope);
        lists.complete(net, subject.as_ref(), names, principal, ended)
    })
}

/// Calls `f` with the names that a client may be listed by, and the hash of its principal. The names are its own,
/// and the same with or without the address of the server that its request came to, as this or the other server may
/// not know it for a floating one. Without memory, its own only.
fn with_names<R>(
    client: &Nfs4Client,
    server: Option<IpAddr>,
    f: impl FnOnce(&[&[u8]], Option<&[u8]>) -> R,
) -> R {
    let hash = client.principal_hash();
    let principal = hash.as_ref().map(|h| &h[..]);
    let name = client.name();
    let Some(address) = server else {
        return f(&[name], principal);
    };
    match (identity::owner(name, address), identity::at(name, address)) {
        (Some(owner), _) => f(&[name, owner], principal),
        (None, Ok(Some(other))) => f(&[name, &other], principal),
        (None, _) => f(&[name], principal),
    }
}
