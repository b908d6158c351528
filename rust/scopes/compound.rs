// SPDX-License-Identifier: GPL-2.0

//! The compound of NFSv4 that the current thread works on: its operation and its file handles.
//!
//! C source: `nfsd4_proc_compound()` in `fs/nfsd/nfs4proc.c`.

use crate::base::net::Net;
use crate::base::private;
use crate::scopes::exported;
use crate::scopes::place::Place;
use crate::scopes::scope::Fsid;
use crate::scopes::subject::Subject;
use crate::scopes::svc_export::SvcExport;
use core::ptr::NonNull;

/// A compound of NFSv4 that is being processed.
///
/// # Invariants
///
/// The state and the current operation are those of a request of the current thread, which stays for `'a`, in its
/// namespace.
pub(crate) struct Compound<'a> {
    net: Net<'a>,
    state: *const private::nfsd4_compound_state,
    op: *const private::nfsd4_op,
}

/// What a file handle of a compound says, and leads to.
struct At<'a> {
    fsid: Option<Fsid>,
    export: Option<SvcExport<'a>>,
}

/// One of a compound's file handles.
#[derive(Clone, Copy)]
pub(crate) enum Handle {
    Current,
    Saved,
}

impl<'a> Compound<'a> {
    /// That of a request.
    ///
    /// # Safety
    ///
    /// They are the state and the current operation of the compound that the current thread works on for `'a`.
    pub(crate) unsafe fn new(
        net: Net<'a>,
        state: *const private::nfsd4_compound_state,
        op: *const private::nfsd4_op,
    ) -> Self {
        // INVARIANT: By this function's requirement.
        Compound { net, state, op }
    }

    #[inline]
    fn at(&self, which: Handle) -> At<'a> {
        // SAFETY: The state is the current thread's, so nobody changes it now. `fh_verify()` has set the export of a handle,
        // or it is null. The handle has a reference to it until the request is answered.
        unsafe {
            let handle = match which {
                Handle::Current => &raw const (*self.state).current_fh,
                Handle::Saved => &raw const (*self.state).save_fh,
            };
            let own = &(*handle).fh_handle;
            At {
                fsid: own
                    .fh_raw
                    .get(..own.fh_size as usize)
                    .and_then(Fsid::of_handle),
                export: SvcExport::from_raw((*handle).fh_export),
            }
        }
    }

    /// The export that a file handle leads to, if it is known.
    pub(crate) fn export(&self, which: Handle) -> Option<SvcExport<'a>> {
        self.at(which).export
    }

    /// Where the file of a file handle is.
    pub(crate) fn place(&self, which: Handle) -> Place {
        let at = self.at(which);
        exported::place_of(self.net, at.fsid, at.export)
    }

    /// Its operation.
    pub(crate) fn operation(&self) -> u32 {
        // SAFETY: The operation is the current thread's, and decoded.
        unsafe { (*self.op).opnum }
    }

    /// Its client, if that is known: it stays until the request is answered.
    pub(crate) fn client(&self) -> Option<NonNull<private::nfs4_client>> {
        // SAFETY: The state is the current thread's, so nobody changes it now.
        NonNull::new(unsafe { (*self.state).clp })
    }

    /// Does its operation reclaim?
    pub(crate) fn reclaims(&self) -> bool {
        let of_open = private::open_claim_type4_NFS4_OPEN_CLAIM_PREVIOUS;
        // SAFETY: The arguments of the operation are decoded, and are of its kind.
        unsafe {
            match self.operation() {
                private::nfs_opnum4_OP_OPEN => (*self.op).u.open.op_claim_type == of_open,
                private::nfs_opnum4_OP_LOCK => (*self.op).u.lock.lk_reclaim != 0,
                private::nfs_opnum4_OP_LAYOUTCOMMIT => (*self.op).u.layoutcommit.lc_reclaim != 0,
                _ => false,
            }
        }
    }

    /// What its operation is about.
    pub(crate) fn subject(&self) -> Subject {
        let saved = match self.operation() {
            private::nfs_opnum4_OP_RENAME
            | private::nfs_opnum4_OP_LINK
            | private::nfs_opnum4_OP_COPY
            | private::nfs_opnum4_OP_CLONE => self.place(Handle::Saved),
            _ => Place::default(),
        };
        Subject {
            files: [self.place(Handle::Current), saved],
            server: None,
            // OPEN, LOCK and LAYOUTCOMMIT ask twice, once for each answer that they may have to give.
            reclaim_asks: self.reclaims().then_some(2),
        }
    }
}
