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

    /// Calls `f` with the current file handle.
    pub(crate) fn with_handle<R>(&self, f: impl FnOnce(&[u8]) -> R) -> Option<R> {
        // SAFETY: The state is the current thread's, so nobody changes it now.
        let own = unsafe { &(*self.state).current_fh.fh_handle };
        own.fh_raw.get(..own.fh_size as usize).map(f)
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

    /// If it reclaims an open without a delegation, it gets none. nfsd would give it one in the midst of the grace period, under
    /// which it could lock what others are yet to reclaim (`nfs4_open_delegation()` in `fs/nfsd/nfs4state.c`; RFC 8881,
    /// 18.16.3: only who says that it had one). For NFSv4.1 and later.
    pub(crate) fn wants_no_new_delegation(&self) {
        if self.operation() != private::nfs_opnum4_OP_OPEN || !self.reclaims() {
            return;
        }
        // SAFETY: The operation is the current thread's, an OPEN whose arguments are decoded, and nobody else looks at it now.
        unsafe {
            let open = &raw mut (*self.op.cast_mut()).u.open;
            if (*open).op_delegate_type == private::open_delegation_type4_OPEN_DELEGATE_NONE {
                (*open).op_deleg_want = private::NFS4_SHARE_WANT_NO_DELEG;
            }
        }
    }

    /// If its operation is a DESTROY_CLIENTID, the client ID.
    pub(crate) fn destroys(&self) -> Option<[u32; 2]> {
        if self.operation() != private::nfs_opnum4_OP_DESTROY_CLIENTID {
            return None;
        }
        // SAFETY: The arguments of the operation are decoded, and are of its kind.
        let id = unsafe { (*self.op).u.destroy_clientid.clientid };
        Some([id.cl_boot, id.cl_id])
    }

    /// Its operation, if that is a LOCK.
    pub(crate) fn lock(&self) -> Option<LockOp<'_>> {
        if self.operation() != private::nfs_opnum4_OP_LOCK {
            return None;
        }
        // SAFETY: The arguments of the operation are decoded, and are of its kind. The owner is as long as it says, and stays
        // as it is while the request is processed.
        unsafe {
            let lock = &raw const (*self.op).u.lock;
            let (start, length) = ((*lock).lk_offset, (*lock).lk_length);
            let by = if (*lock).lk_is_new != 0 {
                let new = &(*lock).v.new;
                let owner = core::slice::from_raw_parts(new.owner.data, new.owner.len as usize);
                By::New(new.open_stateid.si_opaque.so_id, owner)
            } else {
                By::Known((*lock).v.old.lock_stateid.si_opaque.so_id)
            };
            let is_write = matches!(
                (*lock).lk_type,
                private::lock_type4_NFS4_WRITE_LT | private::lock_type4_NFS4_WRITEW_LT
            );
            Some(LockOp {
                is_write,
                range: (offset(start), offset(last_byte(start, length))),
                by,
            })
        }
    }

    /// Notes in a LOCK that reclaims what has become of that. nfsd only looks whether it is 0.
    pub(crate) fn mark_reclaim(&self, mark: Mark) {
        // SAFETY: The operation is the current thread's, a LOCK, and nobody else looks at it now.
        unsafe { (*self.op.cast_mut()).u.lock.lk_reclaim = mark as u32 };
    }

    /// The mark of a LOCK that reclaims.
    pub(crate) fn reclaim_mark(&self) -> u32 {
        // SAFETY: The operation is the current thread's, and a LOCK, whose arguments are decoded.
        unsafe { (*self.op).u.lock.lk_reclaim }
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

/// A LOCK (RFC 8881, 18.10).
pub(crate) struct LockOp<'a> {
    /// It is for writing.
    pub(crate) is_write: bool,
    /// The first and the last byte, as the VFS has them.
    pub(crate) range: (i64, i64),
    /// Whose it is.
    pub(crate) by: By<'a>,
}

/// What has become of the reclaim of a LOCK. The client sends 0 or 1.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    /// It has what it reclaims: granting it changes nothing for others.
    Had = 2,
    /// Its client has former selves, and none had that.
    NotHad = 3,
    /// It cannot be said now: there is no memory, or an admin has what a former self holds revoked.
    NotNow = 4,
}

/// How a LOCK says whose it is.
pub(crate) enum By<'a> {
    /// By the number of its stateid of the open file, and by a lock owner, which may have none there yet.
    New(u32, &'a [u8]),
    /// By the number of its stateid of locks.
    Known(u32),
}

/// The last byte of a range (`last_byte_offset()` in `fs/nfsd/nfs4state.c`).
fn last_byte(start: u64, length: u64) -> u64 {
    start.saturating_add(length.saturating_sub(1))
}

/// An offset as the VFS has it, which has none beyond `OFFSET_MAX` (`nfs4_transform_lock_offset()`).
fn offset(offset: u64) -> i64 {
    i64::try_from(offset).unwrap_or(i64::MAX)
}
