// SPDX-License-Identifier: GPL-2.0

//! Having clients monitored by rpc.statd: lockd's own part of it, and before it ours.
//!
//! C source: `fs/lockd/mon.c`. lockd asks before each lock or share that a client wants to be
//! told of; for its server side from its own thread, for its client side from any task.

use crate::base::private::{self, nlm_host, nsm_res};
use crate::base::text::Text;
use crate::nlm::clients;
use crate::nlm::host::Host;
use crate::scopes::exports;
use crate::scopes::request;
use core::ptr::addr_of_mut;
use core::sync::atomic::{AtomicI64, Ordering};
use kernel::bindings;
use kernel::error::to_result;
use kernel::prelude::*;

/// Procedures of rpc.statd (`fs/lockd/mon.c`).
const NSMPROC_MON: u32 = 2;
const NSMPROC_UNMON: u32 = 3;

/// Calls rpc.statd about a client. May sleep.
///
/// # Safety
///
/// The host is valid, and so is its net namespace.
unsafe fn call(host: *const nlm_host, procedure: u32) -> Result<nsm_res> {
    let mut answer = nsm_res {
        status: 0,
        state: 0,
    };
    // SAFETY: By this function's requirement; a host keeps its handle, and the answer is ours.
    unsafe {
        let handle = (*host).h_nsmhandle;
        to_result(private::nsm_mon_unmon(handle, procedure, &mut answer, host))?;
    }
    if answer.status == 0 {
        Ok(answer)
    } else {
        Err(EIO)
    }
}

/// When the last message about rpc.statd was, in nanoseconds since boot.
static SAID: AtomicI64 = AtomicI64::new(i64::MIN);

/// Says that rpc.statd did not do what it was asked for a client; clients can cause this, so it
/// says it every ten seconds at most. May sleep.
///
/// # Safety
///
/// The host is valid.
unsafe fn say(host: *const nlm_host, what: &str) {
    // SAFETY: By this function's requirement; the clock can be read outside of NMIs.
    unsafe {
        let (now, last) = (bindings::ktime_get_boottime(), SAID.load(Ordering::Relaxed));
        if now >= last.saturating_add(10_000_000_000) {
            SAID.store(now, Ordering::Relaxed);
            let mut name = Text::default();
            let _ = Host::new(host).with_name(|bytes| name.name(bytes));
            pr_notice!("{} {what}: is rpc.statd running?\n", name.as_str());
        }
    }
}

/// Has a client monitored that is about to ask for a lock; one of the server side is noted
/// first, so that whoever rpc.statd tells finds it in `nlm_clients`. May sleep.
///
/// # Safety
///
/// The host is valid, its net namespace is alive, and this is where lockd calls `nsm_monitor()`.
pub(crate) unsafe fn monitor(host: *const nlm_host) -> Result {
    // SAFETY: By this function's requirement; a host keeps its handle. The handle's name may be
    // written by several tasks of the client side at a time, the same one each time.
    unsafe {
        let client = Host::new(host);
        if client.is_server() {
            note(client)?;
        }
        if client.is_monitored() {
            return Ok(());
        }
        let handle = client.handle();
        (*handle).sm_mon_name = if (&raw const private::nsm_use_hostnames).read_volatile() {
            (*handle).sm_name
        } else {
            addr_of_mut!((*handle).sm_addrbuf).cast()
        };
        let answer = call(host, NSMPROC_MON).inspect_err(|_| say(host, "cannot be monitored"))?;
        client.set_monitored(true);
        (&raw mut private::nsm_local_state).write_volatile(answer.state);
    }
    Ok(())
}

/// Notes the client and the export that the current request is about.
///
/// A client gives up a lock that it may not reclaim, and its application never hears of it. So a
/// lock that is reclaimed is not refused because its client is not recorded yet; that it is not
/// told if this server fails at once is the lesser evil.
///
/// # Safety
///
/// The host's net namespace is alive, and this is where lockd calls `nsm_monitor()`, which for its
/// server side is while it processes a request.
unsafe fn note(host: Host<'_>) -> Result {
    // SAFETY: By this function's requirement.
    let Some((fsid, reclaims)) = (unsafe { request::nlm_fsid() }) else {
        return Ok(());
    };
    // SAFETY: By this function's requirement.
    let may_be_exported = || unsafe { exports::may_be_exported() };
    // SAFETY: By this function's requirement.
    let noted = unsafe { clients::note(host, fsid, may_be_exported) };
    if reclaims {
        Ok(())
    } else {
        noted
    }
}

/// lockd forgets a client: so do we, and rpc.statd, unless somebody else knows the client by the
/// same handle, or it must stay monitored. May sleep.
///
/// # Safety
///
/// The host is valid, its net namespace is alive, and `nlm_host_mutex` is held.
pub(crate) unsafe fn unmonitor(host: *const nlm_host) {
    // SAFETY: By this function's requirement.
    unsafe {
        let client = Host::new(host);
        if client.is_server() {
            clients::forget(client);
        }
        let users = addr_of_mut!((*client.handle()).sm_count.refs.counter).read_volatile();
        if users != 1 || !client.may_be_unmonitored() {
            return;
        }
        match call(host, NSMPROC_UNMON) {
            Ok(_) => client.set_monitored(false),
            Err(_) => say(host, "stays monitored"),
        }
    }
}
