// SPDX-License-Identifier: GPL-2.0

//! The request that the current thread of nfsd or lockd works on.
//!
//! C source: both are kthreads whose function is `nfsd()` or `lockd()` and whose data is their
//! `struct svc_rqst` (`nfsd_current_rqst()` in `fs/nfsd/nfssvc.c`). For NFSv4 the response
//! holds the compound's file handles; for NLM the decoded arguments hold one, where version and
//! procedure say (`fs/lockd/svc4proc.c`, `fs/lockd/svcproc.c`).

use crate::base::net::Net;
use crate::base::private::{self, opaque, svc_rqst};
use crate::scopes::compound::{Compound, Handle};
use crate::scopes::exported;
use crate::scopes::place::{Form, Place};
use crate::scopes::received::Received;
use crate::scopes::subject::Subject;
use crate::scopes::svc_export::{Domain, SvcExport};
use core::ops::Deref;
use core::ptr::NonNull;
use kernel::bindings;
use kernel::ffi::{c_int, c_void};

/// The RPC program of NFS (RFC 8881, 16.1).
pub(crate) const NFS_PROGRAM: u32 = 100_003;
/// That of the access control lists of NFSv2 and NFSv3 (`include/linux/nfsacl.h`).
pub(crate) const NFS_ACL_PROGRAM: u32 = 100_227;
/// COMPOUND (RFC 8881, 16.2).
const COMPOUND: u32 = 1;

/// Whether a task's function is `own`, whose address is null if its module is not loaded, as is
/// that of a task that is no kthread. (rustc takes it for granted that `own` is not null.) Only
/// addresses are compared.
fn runs(function: *const c_void, own: unsafe extern "C" fn(*mut c_void) -> c_int) -> bool {
    !function.is_null() && core::ptr::eq(function, own as *const c_void)
}

/// Whose thread it is.
#[derive(Clone, Copy)]
enum Kind {
    Nfsd,
    Lockd,
}

/// The current thread, which is one of nfsd or lockd: so their modules stay loaded, and `grace`, which both need.
///
/// # Invariants
///
/// It is, as `kind` says. `request` is its request, from its start to its end.
pub(crate) struct Thread {
    // A pointer, so that it stays with its thread.
    request: NonNull<svc_rqst>,
    kind: Kind,
}

impl Thread {
    /// The current thread, if it is one of nfsd or lockd. Does not sleep.
    pub(crate) fn current() -> Option<Self> {
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
            // INVARIANT: It is this thread's.
            let request = NonNull::new(private::kthread_data(task).cast())?;
            Some(Thread { request, kind })
        }
    }

    /// Is the server of a namespace in a grace period of its own? nfsd's, for NFSv4, begins only if there are clients on
    /// record, lockd's always. Does not sleep.
    pub(crate) fn is_in_grace(&self, net: Net<'_>, nfs4: bool) -> bool {
        // SAFETY: The namespace is alive, and `grace` is loaded, by the types' invariants.
        unsafe { private::__state_in_grace(net.as_ptr(), nfs4) }
    }
}

/// The request that the current thread of nfsd or lockd works on.
///
/// # Invariants
///
/// `received` is the request of `thread`, the current one, which is inside of its processing for `'a`: the arguments are
/// decoded, and what they lead to stays as it is. (Between two requests, the fields describe the last one, whose memory may
/// be gone.)
pub(crate) struct Request<'a> {
    received: Received<'a>,
    thread: Thread,
}

impl<'a> Deref for Request<'a> {
    type Target = Received<'a>;

    fn deref(&self) -> &Received<'a> {
        &self.received
    }
}

/// A request of NLM for a lock or a share.
pub(crate) struct NlmGrant {
    /// What its file handle says of its export.
    pub(crate) form: Form,
    /// It reclaims.
    pub(crate) reclaims: bool,
    /// It is for a share.
    pub(crate) is_share: bool,
}

/// What a request of NLM wants to have.
struct Wants {
    reclaims: bool,
    /// How often lockd asks whether it may have it.
    asks: u32,
}

/// What does not change while a request is processed, beside what is known when it is received.
struct Fixed<'a> {
    procedure: u32,
    arguments: *const c_void,
    response: *const c_void,
    domain: Option<Domain<'a>>,
}

impl<'a> Request<'a> {
    /// The current thread's, if it is one of nfsd or lockd. Does not sleep.
    ///
    /// # Safety
    ///
    /// A thread of nfsd or lockd calls this only inside of the processing of its request, when that is decoded,
    /// and is there for all of `'a`.
    pub(crate) unsafe fn current() -> Option<Self> {
        let thread = Thread::current()?;
        // SAFETY: It is the current thread's, and the caller says that it is being processed.
        let received = unsafe { Received::from_raw(thread.request) };
        // INVARIANT: As the caller says.
        Some(Request { received, thread })
    }

    /// The thread that works on it.
    pub(crate) fn thread(&self) -> &Thread {
        &self.thread
    }

    #[inline]
    fn fixed(&self) -> Fixed<'_> {
        let raw = self.as_ptr();
        // SAFETY: The request is the current thread's, and these fields stay as they are while it is processed, by the
        // type's invariant. Its client is null or was set by `svc_set_client()`, with a reference.
        unsafe {
            Fixed {
                procedure: (*raw).rq_proc,
                arguments: (*raw).rq_argp,
                response: (*raw).rq_resp,
                domain: Domain::from_raw((*raw).rq_client),
            }
        }
    }

    /// Does lockd work on it?
    pub(crate) fn is_of_lockd(&self) -> bool {
        matches!(self.thread.kind, Kind::Lockd)
    }

    /// Is it one of NFSv4? Does not sleep.
    pub(crate) fn is_nfs4(&self) -> bool {
        (self.program(), self.version()) == (NFS_PROGRAM, 4)
    }

    /// Is it a compound whose current operation is READDIR, in a directory that only leads to exports? Does not sleep.
    pub(crate) fn lists_pseudo_root(&self) -> bool {
        self.compound().is_some_and(|compound| {
            compound.operation() == private::nfs_opnum4_OP_READDIR
                && compound
                    .export(Handle::Current)
                    .is_some_and(SvcExport::is_pseudo_root)
        })
    }

    /// What it is about, if it is one of NFSv4 or NLM. Does not sleep.
    pub(crate) fn subject(&self) -> Option<Subject> {
        let mut subject = match self.thread.kind {
            Kind::Nfsd if self.is_nfs4() => self.compound()?.subject(),
            Kind::Lockd if self.program() == private::NLM_PROGRAM => {
                let (handle, wants) = self.nlm_arguments()?;
                let place = Form::of_handle(handle)
                    .map(|form| exported::place_of_form(self.net(), &form, self.domain()));
                Subject {
                    files: [place.unwrap_or_default(), Place::default()],
                    server: None,
                    reclaim_asks: wants.filter(|wants| wants.reclaims).map(|wants| wants.asks),
                }
            }
            _ => return None,
        };
        subject.server = self.server();
        Some(subject)
    }

    /// Its client, as exports(5) knows it. Does not sleep.
    pub(crate) fn domain(&self) -> Option<Domain<'_>> {
        self.fixed().domain
    }

    /// What the file handle of an NLM request says of its export, and whether the request reclaims. Does not sleep.
    pub(crate) fn nlm_form(&self) -> Option<(Form, bool)> {
        let (handle, wants) = self.nlm_arguments()?;
        let reclaims = wants.is_some_and(|wants| wants.reclaims);
        Some((Form::of_handle(handle)?, reclaims))
    }

    /// The same, if it is a request of NLM for a lock or a share that can be reclaimed: nobody is told of a restart who has not
    /// asked to be monitored. Does not sleep.
    pub(crate) fn nlm_grant(&self) -> Option<NlmGrant> {
        let (handle, wants) = self.nlm_arguments()?;
        let reclaims = wants?.reclaims;
        let procedure = self.fixed().procedure;
        if procedure == private::NLMPROC_NM_LOCK {
            return None;
        }
        Some(NlmGrant {
            form: Form::of_handle(handle)?,
            reclaims,
            is_share: procedure == private::NLMPROC_SHARE,
        })
    }

    /// The compound that it is, of NFSv4.
    pub(crate) fn compound(&self) -> Option<Compound<'_>> {
        let fixed = self.fixed();
        if !self.is_nfs4() || fixed.procedure != COMPOUND {
            return None;
        }
        let response: *const private::nfsd4_compoundres = fixed.response.cast();
        let arguments: *const private::nfsd4_compoundargs = fixed.arguments.cast();
        // SAFETY: By the type's invariant, these are what `nfsd4_proc_compound()` works on: `opcnt` operations have been
        // begun, and the last of them is the current one.
        let (state, op) = unsafe {
            let at = ((*response).opcnt as usize).checked_sub(1)?;
            if (*response).opcnt > (*arguments).opcnt {
                return None;
            }
            (&raw const (*response).cstate, (*arguments).ops.add(at))
        };
        // SAFETY: They are those of this request.
        Some(unsafe { Compound::new(self.net(), state, op) })
    }

    /// The file handle of an NLM request, and what it wants, if that is a lock or a share.
    fn nlm_arguments(&self) -> Option<(&[u8], Option<Wants>)> {
        // lockd has the program NLM only.
        let Kind::Lockd = self.thread.kind else {
            return None;
        };
        let fixed = self.fixed();
        /// The handle, and what is wanted.
        macro_rules! arguments {
            ($test:ident, $lock:ident, $cancel:ident, $unlock:ident, $share:ident) => {{
                let arguments = fixed.arguments;
                // SAFETY: The arguments are decoded, by the type's invariant, and those of this
                // procedure in this version begin so (`pc_argzero` clears what the decoder leaves out).
                unsafe {
                    match fixed.procedure {
                        private::NLMPROC_TEST | private::NLMPROC_TEST_MSG => {
                            let args = &(*arguments.cast::<private::$test>()).xdrgen;
                            (&args.alock.fh, None)
                        }
                        // nlmsvc_lock() asks twice, once for each answer that it may have to give.
                        private::NLMPROC_LOCK
                        | private::NLMPROC_LOCK_MSG
                        | private::NLMPROC_NM_LOCK => {
                            let args = &(*arguments.cast::<private::$lock>()).xdrgen;
                            let (reclaims, asks) = (args.reclaim, 2);
                            (&args.alock.fh, Some(Wants { reclaims, asks }))
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
                            let (reclaims, asks) = (args.reclaim, 1);
                            let shares = fixed.procedure == private::NLMPROC_SHARE;
                            (&args.share.fh, Some(Wants { reclaims, asks }).filter(|_| shares))
                        }
                        _ => return None,
                    }
                }
            }};
        }
        let (handle, wants): (&opaque, Option<Wants>) = match self.version() {
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
        Some((handle, wants))
    }
}
