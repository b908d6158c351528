// SPDX-License-Identifier: GPL-2.0

//! What nfsd and lockd of this machine ask an original server for: opens and locks, and what it says to them.
//!
//! | an end client | goes to the original server as | if that refuses |
//! |---|---|---|
//! | reclaims an open or a lock | a reclaim | NO_GRACE, RECLAIM_BAD or RECLAIM_CONFLICT, as it says |
//! | opens or reads, while RECLAIM_COMPLETE is held back | a reclaim, which it may have been | DELAY, JUKEBOX, or no answer |
//! | opens or locks | an OPEN or a LOCK | what it says; DELAY if it is in grace, so that no thread of ours waits for that |
//!
//! A test for a lock is as with the stock code: it waits while the original server is in grace.
//!
//! An OPEN or a LOCK has marks for that, in bits of its flags that nobody else uses: they stay with it if the NFS client sends
//! it again.

use crate::base::private;
use crate::base::tasks;
use crate::reexport::file_systems;
use crate::reexport::holder;
use crate::reexport::nfs_client::NfsClient;
use crate::reexport::originals;
use crate::scopes::in_grace::{self, Reason};
use crate::scopes::request::Request;
use crate::scopes::scope::Fsid;
use core::sync::atomic::{AtomicUsize, Ordering};
use kernel::bindings;
use kernel::ffi::c_int;

/// It is for a thread of nfsd or lockd.
pub(crate) const OF_SERVER: c_int = 1 << 28;
/// It reclaims.
pub(crate) const RECLAIMS: c_int = 1 << 29;
/// It may reclaim: nobody has said so, but it cannot be had otherwise now.
pub(crate) const TRIES: c_int = 1 << 30;

pub(crate) const ALL_MARKS: c_int = OF_SERVER | RECLAIMS | TRIES;

/// What nfsd makes DELAY or JUKEBOX of, and no answer of NFSv2.
pub(crate) const LATER: c_int = -(bindings::ENOMEM as c_int);
/// What nfsd makes NO_GRACE of.
const NO_GRACE: c_int = -(bindings::ENOGRACE as c_int);
/// What our `nfserrno()` makes RECLAIM_BAD and RECLAIM_CONFLICT of: no errors of Linux, and small enough for the NFS client
/// to pass them on (`nfs4_map_errors()`).
const RECLAIM_BAD: c_int = -998;
const RECLAIM_CONFLICT: c_int = -999;

/// What becomes of an open.
pub(crate) enum Plan {
    /// It has to be tried again.
    Later,
    /// It goes to the original server, with these marks, and asks for no delegation if so.
    Go { marks: c_int, undelegated: bool },
}

/// What becomes of an open by the current thread, which names a file by its handle or not. May sleep for memory.
///
/// # Safety
///
/// A thread of nfsd or lockd calls this inside of the processing of its request only.
pub(crate) unsafe fn plan(client: NfsClient<'_>, by_handle: bool) -> Plan {
    let number = client.number();
    // SAFETY: By this function's requirement.
    let Some(request) = (unsafe { Request::current() }) else {
        let known = originals::with(number, |one| (one.is_incomplete(), one.is_reexported));
        let (is_incomplete, undelegated) = known.unwrap_or_default();
        if is_incomplete {
            // A local process ends our chance, and that of the end clients. Its OPEN is repeated until that is said. The NFS
            // client's own thread would wait for itself.
            match tasks::is_kthread() && client.has_lost() {
                true => holder::send_now(client),
                false => holder::let_go(number),
            }
        }
        return Plan::Go {
            marks: 0,
            undelegated,
        };
    };
    // Without memory, it is asked again the next time.
    let _ = originals::note_told(client);
    let reclaims = reclaims(&request);
    let is_incomplete = originals::with(number, |one| {
        one.is_reexported = true;
        one.is_incomplete()
    })
    .unwrap_or(false);
    if is_incomplete && !reclaims && holder::is_past(request.net()) {
        match request.net() == client.net() {
            true => holder::let_go(number),
            false => holder::look_again(),
        }
    }
    let marks = match (reclaims, is_incomplete, by_handle) {
        (true, _, true) => RECLAIMS,
        (false, true, true) => TRIES,
        (_, true, false) => return Plan::Later,
        (_, false, _) => 0,
    };
    Plan::Go {
        marks: marks | OF_SERVER,
        undelegated: true,
    }
}

/// Does a request reclaim: what nfsd opens or locks for it, or lockd for a lock?
pub(crate) fn reclaims(request: &Request<'_>) -> bool {
    match request.compound() {
        Some(compound) => compound.reclaims(),
        None => request.nlm_form().is_some_and(|(_, reclaims)| reclaims),
    }
}

/// The marks of a lock that the current thread asks for: none if it is not one of nfsd or lockd. Does not sleep.
///
/// # Safety
///
/// A thread of nfsd or lockd calls this inside of the processing of its request only.
pub(crate) unsafe fn marks_of_lock() -> c_int {
    // SAFETY: By this function's requirement.
    match unsafe { Request::current() } {
        Some(request) if reclaims(&request) => OF_SERVER | RECLAIMS,
        Some(_) => OF_SERVER,
        None => 0,
    }
}

/// What nfsd and lockd are told, of what an original server says to an open or a lock with marks, of a file on a device. Does
/// not sleep.
pub(crate) fn answer(client: usize, device: u32, marks: c_int, status: c_int) -> c_int {
    const GRACE: c_int = -(private::nfsstat4_NFS4ERR_GRACE as c_int);
    const NOT_GRACE: c_int = -(private::nfsstat4_NFS4ERR_NO_GRACE as c_int);
    const BAD: c_int = -(private::nfsstat4_NFS4ERR_RECLAIM_BAD as c_int);
    const CONFLICT: c_int = -(private::nfsstat4_NFS4ERR_RECLAIM_CONFLICT as c_int);

    if marks & OF_SERVER != 0 && status == GRACE {
        return LATER;
    }
    let refused = matches!(status, NOT_GRACE | BAD | CONFLICT);
    if marks & (RECLAIMS | TRIES) == 0 || status != 0 && !refused {
        return status;
    }
    originals::with(client, |one| match status {
        0 => one.granted += 1,
        _ => one.refused += u64::from(marks & RECLAIMS != 0),
    });
    if status == NOT_GRACE {
        file_systems::set_refuses(device);
        holder::look_again();
    }
    match (marks & RECLAIMS != 0, status) {
        (_, 0) => 0,
        (false, _) => LATER,
        (true, BAD) => RECLAIM_BAD,
        (true, CONFLICT) => RECLAIM_CONFLICT,
        (true, _) => NO_GRACE,
    }
}

/// The request of lockd, by its address, whose lock has to be tried again; lockd has one thread.
static TO_REPEAT: AtomicUsize = AtomicUsize::new(0);

/// What lockd is told of a lock, which makes NLM_DENIED_NOLOCKS of all errors that it does not know (`nlmsvc_lock()`): that
/// somebody has it. If it has to be tried again, [`is_to_repeat`] knows. Does not sleep.
pub(crate) fn of_lockd(request: &Request<'_>, status: c_int) -> c_int {
    if status == LATER {
        TO_REPEAT.store(request.as_ptr().addr(), Ordering::Relaxed);
    }
    match status {
        LATER | NO_GRACE | RECLAIM_BAD | RECLAIM_CONFLICT => -(bindings::EAGAIN as c_int),
        _ => status,
    }
}

/// Has the lock of a request of lockd to be tried again? Says so once. Does not sleep.
pub(crate) fn is_to_repeat(request: *const private::svc_rqst) -> bool {
    TO_REPEAT.swap(0, Ordering::Relaxed) == request.addr() && !request.is_null()
}

/// The status of NFSv4 that an error stands for, if it is one of ours.
pub(crate) fn status_of(error: c_int) -> Option<u32> {
    match error {
        RECLAIM_BAD => Some(private::nfsstat4_NFS4ERR_RECLAIM_BAD),
        RECLAIM_CONFLICT => Some(private::nfsstat4_NFS4ERR_RECLAIM_CONFLICT),
        _ => None,
    }
}

/// Is a request about what an original server takes no reclaims of? Then nobody reclaims there, and nobody need wait for that:
/// the server's grace period is over there. Does not sleep.
pub(crate) fn is_refused<'a>(request: impl FnOnce() -> Option<Request<'a>>) -> bool {
    if !in_grace::has_reason(Reason::Refused) {
        return false;
    }
    let Some(subject) = request().and_then(|request| request.subject()) else {
        return false;
    };
    match subject.files[0].device {
        Some(Fsid::Dev { major, minor }) => file_systems::refuses(major << 20 | minor),
        _ => false,
    }
}
