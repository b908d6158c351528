// SPDX-License-Identifier: GPL-2.0

//! Having clients monitored by rpc.statd: lockd's own part of it, and before it ours.
//!
//! C source: `fs/lockd/mon.c`. lockd asks before each lock or share that a client wants to be
//! told of; for its server side from its own thread, for its client side from any task.

use crate::base::clock::since_boot;
use crate::base::private::{self, nsm_res};
use crate::base::text::Text;
use crate::nlm::clients;
use crate::nlm::host::Host;
use crate::scopes::exports;
use crate::scopes::request::Request;
use core::ptr::addr_of_mut;
use core::sync::atomic::{AtomicI64, Ordering};
use kernel::error::to_result;
use kernel::prelude::*;

/// Procedures of rpc.statd (`fs/lockd/mon.c`).
const NSMPROC_MON: u32 = 2;
const NSMPROC_UNMON: u32 = 3;

/// Calls rpc.statd about a client. May sleep.
fn call(host: Host<'_>, procedure: u32) -> Result<nsm_res> {
    let mut answer = nsm_res {
        status: 0,
        state: 0,
    };
    // SAFETY: The host is there, with its handle and its namespace, and the answer is ours.
    to_result(unsafe {
        private::nsm_mon_unmon(host.handle(), procedure, &mut answer, host.as_ptr())
    })?;
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
fn say(host: Host<'_>, what: &str) {
    let (now, last) = (since_boot(), SAID.load(Ordering::Relaxed));
    if now >= last.saturating_add(10_000_000_000) {
        SAID.store(now, Ordering::Relaxed);
        let mut name = Text::default();
        let _ = host.with_name(|bytes| name.name(bytes));
        pr_notice!("{} {what}: is rpc.statd running?\n", name.as_str());
    }
}

/// Has a client monitored that is about to ask for a lock (`nsm_monitor()`); one of the server side is noted
/// first, so that whoever rpc.statd tells finds it in `nlm_clients`. `request` is the one that the current thread
/// works on. May sleep.
pub(crate) fn monitor(host: Host<'_>, request: Option<&Request<'_>>) -> Result {
    if host.is_server() {
        if let Some(request) = request {
            note(host, request)?;
        }
    }
    if host.is_monitored() {
        return Ok(());
    }
    let handle = host.handle();
    // SAFETY: A host keeps its handle. The handle's name may be written by several tasks of the client side at a
    // time, the same one each time.
    unsafe {
        (*handle).sm_mon_name = if (&raw const private::nsm_use_hostnames).read_volatile() {
            (*handle).sm_name
        } else {
            addr_of_mut!((*handle).sm_addrbuf).cast()
        };
    }
    let answer = call(host, NSMPROC_MON).inspect_err(|_| say(host, "cannot be monitored"))?;
    host.set_monitored(true);
    // SAFETY: lockd, whose host this is, is loaded; a word of it, which it writes without a lock, too.
    unsafe { (&raw mut private::nsm_local_state).write_volatile(answer.state) };
    Ok(())
}

/// Notes the client and the export that a request is about.
///
/// A client gives up a lock that it may not reclaim, and its application never hears of it. So a
/// lock that is reclaimed is not refused because its client is not recorded yet; that it is not
/// told if this server fails at once is the lesser evil.
fn note(host: Host<'_>, request: &Request<'_>) -> Result {
    let Some((form, reclaims)) = request.nlm_form() else {
        return Ok(());
    };
    let noted = clients::note(host, &form, || exports::is_exported(request));
    if reclaims {
        Ok(())
    } else {
        noted
    }
}

/// lockd forgets a client (`nsm_unmonitor()`, under `nlm_host_mutex`): so do we, and rpc.statd, unless somebody
/// else knows the client by the same handle, or it must stay monitored. May sleep.
pub(crate) fn unmonitor(host: Host<'_>) {
    if host.is_server() {
        clients::forget(host);
    }
    // SAFETY: A host keeps its handle; a word, read in one go.
    let users = unsafe { addr_of_mut!((*host.handle()).sm_count.refs.counter).read_volatile() };
    if users != 1 || !host.may_be_unmonitored() {
        return;
    }
    match call(host, NSMPROC_UNMON) {
        Ok(_) => host.set_monitored(false),
        Err(_) => say(host, "stays monitored"),
    }
}
