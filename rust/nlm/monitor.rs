// SPDX-License-Identifier: GPL-2.0

//! Having clients monitored by rpc.statd: lockd's own part of it, and before it ours.
//!
//! C source: `fs/lockd/mon.c`. lockd asks before each lock or share that a client wants to be
//! told of; for its server side from its own thread, for its client side from any task.

use crate::base::private::{self, nsm_res};
use crate::nlm::clients::{self, Noted};
use crate::nlm::host::Host;
use crate::nlm::statd;
use crate::nlm::statd_call::{say, Procedure};
use crate::scopes::exports;
use crate::scopes::in_grace;
use crate::scopes::request::Request;
use core::net::IpAddr;
use kernel::error::to_result;
use kernel::prelude::*;

/// Calls rpc.statd about a client, as lockd does it. May sleep.
fn call(host: Host<'_>, procedure: Procedure) -> Result<nsm_res> {
    let mut answer = nsm_res {
        status: 0,
        state: 0,
    };
    host.handle().choose_name();
    // SAFETY: The host is there, with its handle and its namespace, and the answer is ours.
    to_result(unsafe {
        let handle = host.handle().as_ptr();
        private::nsm_mon_unmon(handle, procedure as u32, &mut answer, host.as_ptr())
    })?;
    if answer.status == 0 {
        Ok(answer)
    } else {
        Err(EIO)
    }
}

/// Has a client monitored that is about to ask for a lock (`nsm_monitor()`). `request` is the one that the
/// current thread works on. May sleep.
pub(crate) fn monitor(host: Host<'_>, request: Option<&Request<'_>>) -> Result {
    match request.filter(|_| host.is_server()) {
        // So it is for most locks, each of which comes by here.
        Some(request) if host.handle().is_monitored() && clients::is_recorded(host, request) => {
            Ok(())
        }
        Some(request) => monitor_for(host, request),
        None if host.handle().is_monitored() => Ok(()),
        None => monitor_now(host),
    }
}

/// Has a client monitored as lockd does it. May sleep.
fn monitor_now(host: Host<'_>) -> Result {
    let handle = host.handle();
    let answer =
        call(host, Procedure::Monitor).inspect_err(|_| say(handle, "cannot be monitored"))?;
    handle.set_monitored(true);
    // SAFETY: lockd, whose host this is, is loaded; a word of it, which it writes without a lock, too.
    unsafe { (&raw mut private::nsm_local_state).write_volatile(answer.state) };
    Ok(())
}

/// Has a client of the server side recorded and monitored, which works on a request. It is noted first, so that
/// whoever rpc.statd tells finds it in `nlm_clients`; then the recorder and rpc.statd work at the same time.
/// May sleep.
///
/// A client gives up a lock that it may not reclaim, and its application never hears of it. So a
/// lock that is reclaimed is not refused because its client is not recorded yet; that it is not
/// told if this server fails at once is the lesser evil. Nor does a client wait for rpc.statd that has come
/// with its export and is on record: whoever takes the export over next tells it, and rpc.statd is asked until
/// it monitors the client.
#[inline(never)]
fn monitor_for(host: Host<'_>, request: &Request<'_>) -> Result {
    let is_monitored = host.handle().is_monitored();
    let (noted, reclaims) = match request.nlm_form() {
        Some((form, reclaims)) => {
            let is_exported = || exports::is_exported(request);
            let noted = clients::note(host, &form, is_exported);
            (noted, reclaims)
        }
        None => (Ok(None), false),
    };
    let asked = match noted {
        Err(e) if !reclaims => return Err(e),
        _ if is_monitored => None,
        _ => statd::ask(host),
    };
    let recorded = noted.and_then(|noted| noted.map_or(Ok(false), Noted::wait));
    if !reclaims {
        recorded?;
    }
    if is_monitored {
        return Ok(());
    }
    let has_come = || {
        let subject = request.subject();
        can_be_told(host)
            && subject.is_some_and(|subject| in_grace::covers(request.net(), &subject))
    };
    match asked {
        Some(asked) if reclaims && recorded == Ok(true) && has_come() => {
            asked.keep();
            Ok(())
        }
        Some(asked) => asked.wait(),
        None => monitor_now(host),
    }
}

/// Can others tell the client than rpc.statd? At a link-local address nobody knows on which device it is.
fn can_be_told(host: Host<'_>) -> bool {
    !matches!(host.client(), Some(IpAddr::V6(address)) if address.is_unicast_link_local())
}

/// lockd forgets a client (`nsm_unmonitor()`, under `nlm_host_mutex`): so do we, and rpc.statd, unless somebody
/// else knows the client by the same handle, or it must stay monitored. May sleep.
pub(crate) fn unmonitor(host: Host<'_>) {
    if host.is_server() {
        clients::forget(host);
    }
    statd::forget(host);
    let handle = host.handle();
    if handle.users() != 1 || !handle.is_monitored() || handle.stays_monitored() {
        return;
    }
    match call(host, Procedure::Unmonitor) {
        Ok(_) => handle.set_monitored(false),
        Err(_) => say(handle, "stays monitored"),
    }
}
