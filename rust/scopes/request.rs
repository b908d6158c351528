// SPDX-License-Identifier: GPL-2.0

//! The request that the current thread of nfsd or lockd works on.
//!
//! C source: both are kthreads whose function is `nfsd()` or `lockd()` and whose data is their
//! `struct svc_rqst` (`nfsd_current_rqst()` in `fs/nfsd/nfssvc.c`). For NFSv4 the response
//! holds the compound's file handles; for NLM the decoded arguments hold one, where version and
//! procedure say (`fs/lockd/svc4proc.c`, `fs/lockd/svcproc.c`).

use crate::base::private::{self, opaque, svc_rqst};
use crate::base::sockaddr;
use crate::scopes::grace::Subject;
use crate::scopes::scope::Fsid;
use core::net::IpAddr;
use core::ptr::NonNull;
use kernel::bindings;
use kernel::ffi::{c_int, c_void};

/// The RPC program of NFS (RFC 5531 and RFC 8881).
const NFS_PROGRAM: u32 = 100_003;
/// COMPOUND (RFC 8881, 16.2).
const COMPOUND: u32 = 1;

/// Whether a task's function is `own`, whose address is null if its module is not loaded, as is
/// that of a task that is no kthread. (rustc takes it for granted that `own` is not null.) Only
/// addresses are compared.
fn runs(function: *const c_void, own: unsafe extern "C" fn(*mut c_void) -> c_int) -> bool {
    !function.is_null() && core::ptr::eq(function, own as *const c_void)
}

/// The request of the current nfsd or lockd thread. Such a thread has one from its start; its
/// fields describe what it last received.
fn current() -> Option<(NonNull<svc_rqst>, Kind)> {
    // SAFETY: The current task is there while it runs; `kthread_func()` takes any task. Its address
    // is that of a function or null, and is not called. A kthread with one of these functions has its
    // `svc_rqst` as data, which is freed at their end.
    unsafe {
        let task = bindings::get_current().cast();
        let function: *const c_void = core::mem::transmute(private::kthread_func(task));
        let kind = if runs(function, private::nfsd) {
            Kind::Nfsd
        } else if runs(function, private::lockd) {
            Kind::Lockd
        } else {
            return None;
        };
        Some((NonNull::new(private::kthread_data(task).cast())?, kind))
    }
}

enum Kind {
    Nfsd,
    Lockd,
}

/// What the request is about that the current thread works on, if it is one of NFSv4 or NLM.
/// Does not sleep.
///
/// # Safety
///
/// A thread of nfsd or lockd calls this while it processes a request only: else the request's
/// arguments are those of the last one, whose memory may be gone.
pub(crate) unsafe fn subject() -> Option<Subject> {
    let (request, kind) = current()?;
    // SAFETY: The request is that of the current thread, which by this function's requirement is
    // inside of its processing.
    unsafe {
        let request = request.as_ref();
        let mut subject = match kind {
            Kind::Nfsd if request.rq_prog == NFS_PROGRAM && request.rq_vers == 4 => {
                compound(request)?
            }
            Kind::Lockd if request.rq_prog == private::NLM_PROGRAM => nlm(request)?,
            _ => return None,
        };
        subject.server = sockaddr::address(&raw const request.rq_daddr);
        Some(subject)
    }
}

/// The fsid of a handle that nfsd has taken from a request.
fn fsid(handle: &private::svc_fh) -> Option<Fsid> {
    let size = handle.fh_handle.fh_size as usize;
    Fsid::of_handle(handle.fh_handle.fh_raw.get(..size)?)
}

/// An NFSv4 compound.
///
/// # Safety
///
/// The current thread processes this request.
unsafe fn compound(request: &svc_rqst) -> Option<Subject> {
    if request.rq_proc != COMPOUND {
        return None;
    }
    // SAFETY: By this function's requirement, these are what `nfsd4_proc_compound()` works on:
    // `opcnt` operations have been begun, and the last of them is the current one.
    unsafe {
        let response = &*request.rq_resp.cast::<private::nfsd4_compoundres>();
        let arguments = &*request.rq_argp.cast::<private::nfsd4_compoundargs>();
        let at = (response.opcnt as usize).checked_sub(1)?;
        if response.opcnt > arguments.opcnt {
            return None;
        }
        let op = &*arguments.ops.add(at);
        // OPEN, LOCK and LAYOUTCOMMIT ask twice, once for each answer that they may have to give.
        let (two_files, reclaims) = match op.opnum {
            private::nfs_opnum4_OP_OPEN => {
                let claim = op.u.open.op_claim_type;
                (
                    false,
                    claim == private::open_claim_type4_NFS4_OPEN_CLAIM_PREVIOUS,
                )
            }
            private::nfs_opnum4_OP_LOCK => (false, op.u.lock.lk_reclaim != 0),
            private::nfs_opnum4_OP_LAYOUTCOMMIT => (false, op.u.layoutcommit.lc_reclaim != 0),
            private::nfs_opnum4_OP_RENAME
            | private::nfs_opnum4_OP_LINK
            | private::nfs_opnum4_OP_COPY
            | private::nfs_opnum4_OP_CLONE => (true, false),
            _ => (false, false),
        };
        let state = &response.cstate;
        let saved = if two_files {
            fsid(&state.save_fh)
        } else {
            None
        };
        Some(Subject {
            fsids: [fsid(&state.current_fh), saved],
            server: None,
            reclaim_asks: reclaims.then_some(2),
        })
    }
}

/// An NLM request.
///
/// # Safety
///
/// The current thread processes this request.
unsafe fn nlm(request: &svc_rqst) -> Option<Subject> {
    // SAFETY: By this function's requirement.
    let (handle, reclaim_asks) = unsafe { nlm_arguments(request)? };
    Some(Subject {
        fsids: [Fsid::of_handle(handle), None],
        server: None,
        reclaim_asks,
    })
}

/// The file handle of an NLM request; and if it reclaims, how often lockd asks for it.
///
/// # Safety
///
/// The current thread processes this request, which is one of NLM, and its arguments are decoded.
unsafe fn nlm_arguments(request: &svc_rqst) -> Option<(&[u8], Option<u32>)> {
    /// The handle, and for a request that can reclaim whether it does.
    macro_rules! arguments {
        ($test:ident, $lock:ident, $cancel:ident, $unlock:ident, $share:ident) => {{
            let arguments = request.rq_argp;
            // SAFETY: By this function's requirement the arguments are decoded, and those of this
            // procedure in this version begin so (`pc_argzero` clears what the decoder leaves out).
            unsafe {
                match request.rq_proc {
                    private::NLMPROC_TEST | private::NLMPROC_TEST_MSG => {
                        let args = &(*arguments.cast::<private::$test>()).xdrgen;
                        (&args.alock.fh, None)
                    }
                    // nlmsvc_lock() asks twice, once for each answer that it may have to give.
                    private::NLMPROC_LOCK
                    | private::NLMPROC_LOCK_MSG
                    | private::NLMPROC_NM_LOCK => {
                        let args = &(*arguments.cast::<private::$lock>()).xdrgen;
                        (&args.alock.fh, args.reclaim.then_some(2))
                    }
                    private::NLMPROC_CANCEL | private::NLMPROC_CANCEL_MSG => {
                        let args = &(*arguments.cast::<private::$cancel>()).xdrgen;
                        (&args.alock.fh, None)
                    }
                    private::NLMPROC_UNLOCK | private::NLMPROC_UNLOCK_MSG => {
                        let args = &(*arguments.cast::<private::$unlock>()).xdrgen;
                        (&args.alock.fh, None)
                    }
                    private::NLMPROC_SHARE | private::NLMPROC_UNSHARE => {
                        let args = &(*arguments.cast::<private::$share>()).xdrgen;
                        let shares = request.rq_proc == private::NLMPROC_SHARE;
                        (&args.share.fh, (shares && args.reclaim).then_some(1))
                    }
                    _ => return None,
                }
            }
        }};
    }
    let (handle, reclaim_asks): (&opaque, Option<u32>) = match request.rq_vers {
        1 | 3 => arguments!(
            nlm_testargs_wrapper,
            nlm_lockargs_wrapper,
            nlm_cancargs_wrapper,
            nlm_unlockargs_wrapper,
            nlm_shareargs_wrapper
        ),
        4 => arguments!(
            nlm4_testargs_wrapper,
            nlm4_lockargs_wrapper,
            nlm4_cancargs_wrapper,
            nlm4_unlockargs_wrapper,
            nlm4_shareargs_wrapper
        ),
        _ => return None,
    };
    if handle.data.is_null() {
        return None;
    }
    // SAFETY: The decoder made it so: `len` bytes in the pages of the request, which stay as they are
    // while it is processed.
    let handle = unsafe { core::slice::from_raw_parts(handle.data, handle.len as usize) };
    Some((handle, reclaim_asks))
}

/// The server's address that the request of the current nfsd or lockd thread came to. Does not
/// sleep.
pub(crate) fn server() -> Option<IpAddr> {
    let (request, _) = current()?;
    // SAFETY: The request is that of the current thread, and stays as long as it. This field has
    // always an address in it, or zeros.
    unsafe { sockaddr::address(&raw const (*request.as_ptr()).rq_daddr) }
}

/// The fsid that the NLM request is about that the current thread works on, and whether it
/// reclaims. Does not sleep.
///
/// # Safety
///
/// As for [`subject`].
pub(crate) unsafe fn nlm_fsid() -> Option<(Fsid, bool)> {
    // SAFETY: By this function's requirement.
    let (_, handle, reclaim_asks) = unsafe { current_arguments()? };
    Some((Fsid::of_handle(handle)?, reclaim_asks.is_some()))
}

/// The NLM request that the current thread works on, and the first 28 bytes of its file handle,
/// which are all of its fsid; zeros follow a shorter one.
///
/// # Safety
///
/// As for [`subject`].
pub(crate) unsafe fn current_nlm() -> Option<(NonNull<svc_rqst>, [u8; 28])> {
    // SAFETY: By this function's requirement.
    let (request, handle, _) = unsafe { current_arguments()? };
    let mut start = [0; 28];
    for (to, from) in start.iter_mut().zip(handle) {
        *to = *from;
    }
    Some((request, start))
}

/// The NLM request that the current thread works on, with what `nlm_arguments()` says of it.
///
/// # Safety
///
/// As for [`subject`], for all of `'a`.
unsafe fn current_arguments<'a>() -> Option<(NonNull<svc_rqst>, &'a [u8], Option<u32>)> {
    let (request, Kind::Lockd) = current()? else {
        return None;
    };
    // SAFETY: lockd has the program NLM only, and by this function's requirement the current thread is
    // inside of this request's processing. lockd asks when it has decoded the arguments.
    let (handle, reclaim_asks) = unsafe { nlm_arguments(&*request.as_ptr())? };
    Some((request, handle, reclaim_asks))
}

/// The net namespace of a request (`SVC_NET()`).
///
/// # Safety
///
/// The current thread processes this request.
pub(crate) unsafe fn net(request: *const svc_rqst) -> *mut private::net {
    // SAFETY: By this function's requirement.
    unsafe {
        let transport = (*request).rq_xprt;
        if transport.is_null() {
            (*request).rq_bc_net
        } else {
            (*transport).xpt_net
        }
    }
}
