// SPDX-License-Identifier: GPL-2.0

//! nfsd's exports, as clients' requests find them.
//!
//! C source: `fs/nfsd/export.c`. nfsd answers a request for an export that it does not have with NFS3ERR_STALE, and
//! lockd with NLM4_STALE_FH. For one that is expected, a client of NFSv3 or NFSv4 is told to try again
//! (NFS3ERR_JUKEBOX, NFS4ERR_DELAY), and lockd leaves the request unanswered, upon which the client sends it again.

use crate::base::module_ref::ModuleRef;
use crate::base::net::Nfsd;
use crate::base::private::{self, auth_domain, cache_req};
use crate::scopes::expected;
use crate::scopes::exported;
use crate::scopes::in_grace;
use crate::scopes::place::{Form, FSID_MAX};
use crate::scopes::request::Request;
use crate::scopes::svc_export::{ExportRef, SvcExport};
use core::ptr::addr_of_mut;
use core::sync::atomic::{AtomicI64, AtomicPtr, Ordering};
use kernel::bindings;
use kernel::error::from_err_ptr;
use kernel::ffi::c_int;
use kernel::prelude::*;
use kernel::sync::rcu;

/// Who asks for an export, and for which: what `rqst_exp_find()` is asked.
///
/// # Invariants
///
/// The pointers stay valid for `'a`, as those of a caller of `rqst_exp_find()`: `request` is where it may wait for
/// rpc.mountd, or null if it may not; `client` and `gss_client` are a client by its address and by its GSS flavor, or
/// null; `fsid` has the length of its type.
#[derive(Clone, Copy)]
pub(crate) struct Question<'a> {
    request: *mut cache_req,
    nfsd: Nfsd<'a>,
    client: *mut auth_domain,
    gss_client: *mut auth_domain,
    fsid_type: c_int,
    fsid: *mut u32,
}

impl<'a> Question<'a> {
    /// The question.
    ///
    /// # Safety
    ///
    /// The pointers are those that the type's invariants name, for `'a`.
    pub(crate) unsafe fn new(
        request: *mut cache_req,
        nfsd: Nfsd<'a>,
        client: *mut auth_domain,
        gss_client: *mut auth_domain,
        fsid_type: c_int,
        fsid: *mut u32,
    ) -> Self {
        // INVARIANT: By this function's requirement.
        Question {
            request,
            nfsd,
            client,
            gss_client,
            fsid_type,
            fsid,
        }
    }

    /// Asks it as nfsd does: for the client by its address, unless that export has security flavors of older kind, then by
    /// its GSS flavor. May sleep.
    fn ask(self) -> Result<ExportRef> {
        // SAFETY: The namespace is alive, and the clients, the fsid and the request are valid, by the type's invariant. An
        // export that is found comes with a reference.
        unsafe {
            let net = self.nfsd.net().as_ptr();
            let found = private::rqst_exp_find(
                self.request,
                net,
                self.client,
                self.gss_client,
                self.fsid_type,
                self.fsid,
            );
            Ok(ExportRef::new(from_err_ptr(found)?))
        }
    }

    /// The form of handle that it is about.
    fn form(self) -> Option<Form> {
        let kind = u8::try_from(self.fsid_type).ok()?;
        let len = Form::len(kind)?;
        // SAFETY: It has the length of its type, by the type's invariant.
        Form::new(kind, unsafe {
            core::slice::from_raw_parts(self.fsid.cast::<u8>(), len)
        })
    }

    /// Notes the export that was found. Fails if it is not known in time what it is below.
    fn note<'b>(self, export: &ExportRef, request: &impl Fn() -> Option<Request<'b>>) -> Result {
        let (Some(form), Some(export)) = (self.form(), export.get()) else {
            return Ok(());
        };
        if exported::is_noted(self.nfsd.net(), &form, export) {
            return Ok(());
        }
        self.note_anew(&form, export, request)
    }

    /// The same, for one that was not noted lately. May sleep.
    #[inline(never)]
    fn note_anew<'b>(
        self,
        form: &Form,
        export: SvcExport<'_>,
        request: &impl Fn() -> Option<Request<'b>>,
    ) -> Result {
        let net = self.nfsd.net();
        let parent = |child: SvcExport<'_>| request().map_or(Ok(None), |r| parent(child, &r));
        let at = exported::note(net, form, export, &parent)?;
        in_grace::found(net, &at);
        Ok(())
    }
}

/// Finds an export as `rqst_exp_find()` does, and notes it. May sleep.
///
/// Fails with `ETIMEDOUT` in place of `ENOENT` if the export is expected, for which `request`, the current one, is
/// looked at.
pub(crate) fn find<'a>(
    question: Question<'_>,
    request: impl Fn() -> Option<Request<'a>>,
) -> Result<ExportRef> {
    let found = question.ask();
    match &found {
        Ok(export) => {
            question.note(export, &request)?;
            let undecided = UNDECIDED.load(Ordering::Relaxed);
            let is_it = |r: Request<'_>| r.is_of_lockd() && r.received_at() == undecided;
            if undecided != 0 && request().is_some_and(is_it) {
                return Err(ETIMEDOUT);
            }
        }
        Err(e) if *e == ENOENT => {
            if let (Some(form), Some(request)) = (question.form(), request()) {
                if expected::export(question.nfsd.net(), &form, &request) {
                    return Err(ETIMEDOUT);
                }
            }
        }
        Err(_) => (),
    }
    found
}

/// The first export above another one. Asks rpc.mountd if the kernel does not know; fails as that does, and not because
/// there is none. May sleep.
///
/// Below an export with `crossmnt`, rpc.mountd makes one of each directory that is asked for, without the number; and of
/// each directory above an export, one that only leads there.
fn parent(child: SvcExport<'_>, request: &Request<'_>) -> Result<Option<ExportRef>> {
    let mut at = child.path().get();
    let mut nearest: Option<ExportRef> = None;
    while at.up() {
        // SAFETY: The request is the current one, and the path is valid. An export that is found comes with a reference.
        let found = unsafe {
            let export = private::rqst_exp_get_by_name(request.as_ptr(), at.as_ptr());
            from_err_ptr(export).map(|export| ExportRef::new(export))
        };
        let found = match found {
            Err(e) if e == ENOENT => continue,
            found => found?,
        };
        let (Some(export), below) = (found.get(), nearest.as_ref().and_then(ExportRef::get)) else {
            break;
        };
        if below.is_some_and(|below| below.device() != export.device()) {
            break;
        }
        if export.is_pseudo_root() {
            continue;
        }
        let is_made = !export.is_mount() && export.is_crossmnt() && !export.has_number();
        nearest = Some(found);
        if !is_made {
            break;
        }
    }
    Ok(nearest)
}

/// When lockd's thread received the last request for an export of which it was not known whether there is one, or 0. If it
/// is found after all, the client has to ask again: it would get a lock without a note of that.
static UNDECIDED: AtomicI64 = AtomicI64::new(0);

/// Is the file system exported to the client whose NLM request this is?
/// Asks rpc.mountd if the kernel does not know, as lockd itself is about to do. May sleep.
///
/// Clients make handles up: what is only expected, or not known to rpc.mountd in time, is none. If it was known before,
/// it is one, as lockd may have the file open.
pub(crate) fn is_exported(request: &Request<'_>) -> bool {
    UNDECIDED.store(0, Ordering::Relaxed);
    let Some((form, _)) = request.nlm_form() else {
        return false;
    };
    let raw = request.as_ptr();
    let mut words = [0u32; FSID_MAX / 4];
    for (word, bytes) in words.iter_mut().zip(form.bytes().chunks_exact(4)) {
        *word = bytes.try_into().map_or(0, u32::from_ne_bytes);
    }
    let Some(_nfsd) = nfsd_of_lockd() else {
        return false;
    };
    // SAFETY: The request is the current one, and `svc_set_client()` has set its clients; so does `fh_verify()`
    // ask. `words` has the length of every type of fsid. Everybody changes the flags atomically. nfsd is loaded
    // as we have a reference. The request is not to be put aside for later by this (`svc_defer()`), as lockd
    // would go on with it.
    let found = unsafe {
        let flags = addr_of_mut!((*raw).rq_flags);
        let deferral = private::RQ_USEDEFERRAL as usize;
        let was = flags.read_volatile() >> deferral & 1 != 0;
        bindings::clear_bit(deferral, flags);
        let question = Question::new(
            addr_of_mut!((*raw).rq_chandle),
            Nfsd::new(request.net()),
            (*raw).rq_client,
            (*raw).rq_gssclient,
            c_int::from(form.kind()),
            words.as_mut_ptr(),
        );
        let found = find(question, || Request::current());
        if was {
            bindings::set_bit(deferral, flags);
        }
        found
    };
    let is_known = || {
        exported::place_of_form(request.net(), &form, None)
            .device
            .is_some()
    };
    match found {
        Ok(_) => true,
        Err(e) if e == ENOENT => false,
        // rpc.mountd has not said yet, or the export is expected.
        Err(_) => {
            let known = is_known();
            if !known {
                UNDECIDED.store(request.received_at(), Ordering::Relaxed);
            }
            known
        }
    }
}

/// nfsd, as lockd has it, kept loaded.
fn nfsd_of_lockd() -> Option<ModuleRef> {
    let _guard = rcu::read_lock();
    // SAFETY: As in `nlm_do_fopen()`: lockd's pointer is null or to nfsd's operations, which are there
    // until a grace period of RCU after nfsd has taken them back. Their owner is nfsd.
    unsafe {
        let slot = (&raw mut private::nlmsvc_ops).cast::<AtomicPtr<private::nlmsvc_binding>>();
        let ops = (*slot).load(Ordering::Acquire).as_ref()?;
        ModuleRef::get_other(ops.owner.cast())
    }
}
