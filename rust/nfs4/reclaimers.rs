// SPDX-License-Identifier: GPL-2.0

//! `reclaim_clients`: the clients that may reclaim NFSv4 state in a scope's grace period, and what
//! nfsd asks of them.
//!
//! C source: `nfs4_check_open_reclaim()` and `nfsd4_reclaim_complete()` in `fs/nfsd/nfs4state.c`.
//! Both are replaced rather than the tracking operations that they call, so that an export can be
//! taken over by a server that was started before this module was loaded.
//!
//! Lock order: [`LISTS`], then the lock of the scopes.

use crate::base::net::Net;
use crate::base::private;
use crate::base::siphash::SipHash;
use crate::base::text::Text;
use crate::nfs4::floating;
use crate::nfs4::identity;
use crate::nfs4::nfs4_client::Nfs4Client;
use crate::nfs4::reclaim::{self, Lists};
use crate::nfs4::records::Progress;
use crate::scopes::in_grace;
use crate::scopes::request;
use crate::scopes::scope::Scope;
use core::fmt::Write;
use kernel::bindings;
use kernel::prelude::*;

kernel::sync::global_lock! {
    // SAFETY: Initialised by `init_module()` before anything can use it.
    unsafe(uninit) static LISTS: Mutex<Lists<SipHash>> = Lists::new();
}

/// Prepares this file's lock.
///
/// # Safety
///
/// Called once, before the module attaches.
pub(crate) unsafe fn init_module() {
    // SAFETY: By this function's requirement.
    unsafe { LISTS.init() };
}

/// Frees what this file keeps. For this module's exit.
pub(crate) fn exit_module() {
    *LISTS.lock() = Lists::new();
}

/// Does a command of `reclaim_clients`: lines of `SCOPE CLIENT-ID [PRINCIPAL-HASH]`. May sleep.
///
/// Fails with `EINVAL` for another command, with `ETIME` if one of the scopes is not in grace, and
/// with `ENOMEM`: then the lines that were taken before stay.
///
/// # Safety
///
/// `net` is alive.
pub(crate) unsafe fn write(net: Net, data: &[u8], out: &mut Text) -> Result {
    let lines = reclaim::parse(data)?;
    // SAFETY: By this function's requirement.
    let net = unsafe { net.cookie() };
    let mut lists = LISTS.lock();
    lists.retain(in_grace::is_in_grace);
    if lines
        .iter()
        .any(|line| !in_grace::is_in_grace(net, &line.scope))
    {
        return Err(not_in_grace());
    }
    for line in &lines {
        lists.add(net, &line.scope, line.client(), SipHash::random())?;
    }
    writeln!(out, "listed {}", lines.len())?;
    Ok(())
}

/// Shows who is listed, as it can be written, and how far they are. May sleep.
///
/// # Safety
///
/// `net` is alive.
pub(crate) unsafe fn show(net: Net, out: &mut Text) -> Result {
    // SAFETY: By this function's requirement.
    let net = unsafe { net.cookie() };
    let mut lists = LISTS.lock();
    lists.retain(in_grace::is_in_grace);
    for (scope, client, progress) in lists.clients(net) {
        write!(out, "{scope} ")?;
        out.word(client.name)?;
        if !client.hash.is_empty() {
            out.write_str(" ")?;
            out.hex(client.hash)?;
        }
        let progress = match progress {
            Progress::Waiting => "waiting",
            Progress::Reclaimed => "reclaimed",
            Progress::Complete => "complete",
        };
        writeln!(out, " # {progress}")?;
    }
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

/// May a client reclaim what the current request is about? Of NFSv4 minor version 0, it is then
/// recorded as if it had reclaimed on a server of its own. (It need never confirm an OPEN again, which
/// is when nfsd would do that.) May sleep.
///
/// # Safety
///
/// A thread of nfsd calls this while it processes a request of this client.
pub(crate) unsafe fn check_open_reclaim(client: *mut private::nfs4_client) -> Result<(), Refusal> {
    // SAFETY: By this function's requirement; a client that opens is confirmed, and has a name.
    let this = unsafe { Nfs4Client::from_raw(client) };
    if this.is_complete() {
        return Err(Refusal::NoGrace);
    }
    // SAFETY: By this function's requirement.
    if unsafe { is_listed(this) } {
        if this.minor_version() == 0 {
            // SAFETY: By this function's requirement.
            unsafe { private::nfsd4_client_record_create(client) };
        }
        return Ok(());
    }
    // The server's own record says who may reclaim in the server's own grace period, and nothing of who had
    // what in a scope: a client that is on it because it is here may have lost its state there.
    // SAFETY: By this function's requirement; the client's namespace outlives it.
    match unsafe {
        private::__state_in_grace((*client).net, true)
            && private::nfsd4_client_record_check(client) == 0
    } {
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

/// Is a client listed in a scope in grace that the current request is about?
///
/// # Safety
///
/// As for [`check_open_reclaim`].
unsafe fn is_listed(client: &Nfs4Client) -> bool {
    // SAFETY: By this function's requirement; the client's namespace outlives it.
    let (Some(subject), net) = (unsafe { (request::subject(), client.net().cookie()) }) else {
        return false;
    };
    let hash = client.principal_hash();
    let hash = hash.as_ref().map(|h| &h[..]);
    let in_grace = |scope: &Scope| in_grace::is_in_grace(net, scope);
    with_names(client, |names| {
        LISTS.lock().claim(net, &subject, in_grace, names, hash)
    })
}

/// A client has sent RECLAIM_COMPLETE; for one file system, if `one_fs`. May sleep.
///
/// Where there are floating addresses, one that has come to another address finishes nothing by the former: who
/// is waited for comes to a floating one. The grace period then ends by its time.
///
/// # Safety
///
/// As for [`check_open_reclaim`].
pub(crate) unsafe fn complete(client: &Nfs4Client, one_fs: bool) {
    if LISTS.lock().is_empty() {
        return;
    }
    // SAFETY: By this function's requirement; the client's namespace outlives it.
    let (subject, net) = unsafe { (request::subject(), client.net().cookie()) };
    if one_fs && subject.is_none() {
        return;
    }
    let subject = subject.filter(|_| one_fs);
    // Who is listed without the address may be another client of the same owner, at a floating address.
    let at_floating =
        request::server().is_some_and(|a| identity::owner(client.name(), a).is_some());
    if !one_fs && !at_floating && floating::any() {
        return;
    }
    with_names(client, |names| {
        let mut lists = LISTS.lock();
        lists.complete(net, subject.as_ref(), names, |scope| end(net, scope));
    });
}

/// Calls `f` with the names that a client may be listed by: its own, and the same with or without
/// the address that its request came to, as this or the other server may not know it for a
/// floating one. Without memory, its own only.
fn with_names<R>(client: &Nfs4Client, f: impl FnOnce(&[&[u8]]) -> R) -> R {
    let name = client.name();
    let Some(address) = request::server() else {
        return f(&[name]);
    };
    match (identity::owner(name, address), identity::at(name, address)) {
        (Some(owner), _) => f(&[name, owner]),
        (None, Ok(Some(other))) => f(&[name, &other]),
        (None, _) => f(&[name]),
    }
}
