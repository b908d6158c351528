// SPDX-License-Identifier: GPL-2.0

//! nfsd's exports, as clients' requests find them.
//!
//! C source: `fs/nfsd/export.c`. An export that moves is known to its clients before it is
//! exported: its address comes first. nfsd answers a request for an export that it does not have
//! with NFS3ERR_STALE, and lockd with NLM4_STALE_FH, upon which an application gets an error or
//! silently loses a lock that it was about to reclaim. While the export's scope is in grace it
//! is expected to come, so a client of NFSv3 or NFSv4 is told to try again (NFS3ERR_JUKEBOX,
//! NFS4ERR_DELAY), and lockd leaves the request unanswered, upon which the client sends it again.

use crate::base::module_ref::ModuleRef;
use crate::base::net::Net;
use crate::base::private::{self, auth_domain, cache_req, svc_export};
use crate::scopes::in_grace;
use crate::scopes::request;
use crate::scopes::scope::Fsid;
use core::ptr::addr_of_mut;
use core::sync::atomic::{AtomicPtr, Ordering};
use kernel::bindings;
use kernel::error::from_err_ptr;
use kernel::ffi::c_int;
use kernel::prelude::*;
use kernel::sync::rcu;

/// Length of the longest fsid in a file handle, in bytes.
const FSID_MAX: usize = 24;

/// Length of an fsid in a file handle, by its type (`key_len()` in `fs/nfsd/nfsfh.h`).
const FSID_LEN: [usize; 8] = [8, 4, 12, 8, 8, 8, 16, FSID_MAX];

/// Lets go of an export (`exp_put()`). May sleep.
///
/// # Safety
///
/// The export is valid, and the caller has a reference, which goes.
unsafe fn put(export: *mut svc_export) {
    // SAFETY: By this function's requirement; without references nobody else has it.
    unsafe {
        let count = addr_of_mut!((*export).h.ref_);
        if bindings::refcount_dec_and_test(addr_of_mut!((*count).refcount).cast()) {
            private::svc_export_put(count);
        }
    }
}

/// The fsid of an export (`mk_fsid()` in `fs/nfsd/nfsfh.h`).
///
/// # Safety
///
/// The export is valid.
pub(crate) unsafe fn fsid(export: &svc_export) -> Fsid {
    if export.ex_flags as u32 & private::NFSEXP_FSID != 0 {
        return Fsid::Num(export.ex_fsid as u32);
    }
    // SAFETY: By this function's requirement: its UUID is null or has 16 bytes, and it has references to
    // its path.
    unsafe {
        if let Some(uuid) = export.ex_uuid.cast::<[u8; 16]>().as_ref() {
            return Fsid::Uuid(*uuid);
        }
        let device = (*(*export.ex_path.mnt).mnt_sb).s_dev;
        Fsid::Dev {
            major: device >> 20,
            minor: device & 0xf_ffff,
        }
    }
}

/// A reference to an export, which ends with this. Dropping it may sleep.
pub(crate) struct ExportRef(*mut svc_export);

impl ExportRef {
    /// Takes a reference over.
    ///
    /// # Safety
    ///
    /// The export is valid, and the reference is the caller's.
    pub(crate) unsafe fn new(export: *mut svc_export) -> Self {
        ExportRef(export)
    }
}

impl Drop for ExportRef {
    fn drop(&mut self) {
        // SAFETY: By `new()`.
        unsafe { put(self.0) };
    }
}

/// Who asks for an export, and for which.
#[derive(Clone, Copy)]
pub(crate) struct Question {
    /// Where the request may wait for rpc.mountd, or null if it may not.
    pub(crate) request: *mut cache_req,
    /// The net namespace.
    pub(crate) net: *mut private::net,
    /// The client by its address, or null.
    pub(crate) client: *mut auth_domain,
    /// The client by its GSS flavor, or null.
    pub(crate) gss_client: *mut auth_domain,
    /// The type of the fsid, as in file handles.
    pub(crate) fsid_type: c_int,
    /// The fsid, as in file handles.
    pub(crate) fsid: *mut u32,
}

impl Question {
    /// Asks for one client.
    ///
    /// # Safety
    ///
    /// As for [`find`]; the client is not null.
    unsafe fn ask(self, client: *mut auth_domain) -> Result<*mut svc_export> {
        // SAFETY: By this function's requirement.
        unsafe {
            let nn = Net::new(self.net).generic::<private::nfsd_net>(private::nfsd_net_id);
            let cache = (*nn).svc_export_cache;
            from_err_ptr(private::exp_find(
                cache,
                client,
                self.fsid_type,
                self.fsid,
                self.request,
            ))
        }
    }

    /// The fsid.
    ///
    /// # Safety
    ///
    /// As for [`find`].
    unsafe fn fsid(self) -> Option<Fsid> {
        let mut handle = [0; 4 + FSID_MAX];
        let kind = u8::try_from(self.fsid_type).ok()?;
        let len = *FSID_LEN.get(usize::from(kind))?;
        handle[..4].copy_from_slice(&[1, 0, kind, 0]);
        // SAFETY: By this function's requirement, it has the length of its type.
        let fsid = unsafe { core::slice::from_raw_parts(self.fsid.cast::<u8>(), len) };
        handle[4..][..len].copy_from_slice(fsid);
        Fsid::of_handle(&handle)
    }
}

/// Finds an export as `rqst_exp_find()` does: for the client by its address, unless that export
/// has security flavors of older kind, then by its GSS flavor. May sleep.
///
/// Fails with `ETIMEDOUT` in place of `ENOENT` if the export is expected.
///
/// # Safety
///
/// nfsd is loaded, and the question is that of a caller of `rqst_exp_find()`.
pub(crate) unsafe fn find(question: Question) -> Result<*mut svc_export> {
    let mut found = Err(ENOENT);
    // SAFETY: By this function's requirement.
    unsafe {
        if !question.client.is_null() {
            found = question.ask(question.client);
            match found {
                Ok(export) if (*export).ex_nflavors > 0 => return found,
                Err(e) if e != ENOENT => return found,
                _ => (),
            }
        }
        if !question.gss_client.is_null() {
            let by_flavor = question.ask(question.gss_client);
            if !by_flavor.is_err_and(|e| e == ENOENT) {
                if let Ok(export) = found {
                    put(export);
                }
                return by_flavor;
            }
        }
        let missing = found.is_err_and(|e| e == ENOENT);
        if missing
            && question
                .fsid()
                .is_some_and(|fsid| in_grace::is_expected(Net::new(question.net), fsid))
        {
            return Err(ETIMEDOUT);
        }
    }
    found
}

/// Is the file system exported to the client whose NLM request lockd works on, or may it be?
/// Asks rpc.mountd if the kernel does not know, as lockd itself is about to do. May sleep.
///
/// # Safety
///
/// A thread of lockd calls this while it processes a request only.
pub(crate) unsafe fn may_be_exported() -> bool {
    // SAFETY: By this function's requirement.
    let Some((request, handle)) = (unsafe { request::current_nlm() }) else {
        return false;
    };
    let request = request.as_ptr();
    let mut words = [0u32; FSID_MAX / 4];
    for (word, bytes) in words.iter_mut().zip(handle[4..].chunks_exact(4)) {
        *word = bytes.try_into().map_or(0, u32::from_ne_bytes);
    }
    // SAFETY: As in `nlm_do_fopen()`: lockd's pointer is null or to nfsd's operations, which are there
    // until a grace period of RCU after nfsd has taken them back. Their owner is nfsd.
    let _nfsd = unsafe {
        let _guard = rcu::read_lock();
        let slot = (&raw mut private::nlmsvc_ops).cast::<AtomicPtr<private::nlmsvc_binding>>();
        let ops = (*slot).load(Ordering::Acquire);
        if ops.is_null() {
            return false;
        }
        match ModuleRef::get_other((*ops).owner.cast()) {
            Some(nfsd) => nfsd,
            None => return false,
        }
    };
    // SAFETY: The request is that of the current thread, which is inside of its processing, and
    // `svc_set_client()` has set its clients; so does `fh_verify()` ask. `words` has the length of
    // every type of fsid. Everybody changes the flags atomically. nfsd is loaded as we have a
    // reference. The request is not to be put aside for later by this (`svc_defer()`), as lockd would
    // go on with it.
    unsafe {
        let flags = addr_of_mut!((*request).rq_flags);
        let deferral = private::RQ_USEDEFERRAL as usize;
        let was = flags.read_volatile() >> deferral & 1 != 0;
        bindings::clear_bit(deferral, flags);
        let found = find(Question {
            request: addr_of_mut!((*request).rq_chandle),
            net: request::net(request),
            client: (*request).rq_client,
            gss_client: (*request).rq_gssclient,
            fsid_type: c_int::from(handle[2]),
            fsid: words.as_mut_ptr(),
        });
        if was {
            bindings::set_bit(deferral, flags);
        }
        match found {
            Ok(export) => {
                put(export);
                true
            }
            // With other errors rpc.mountd has not said yet, or the export is expected.
            Err(e) => e != ENOENT,
        }
    }
}
