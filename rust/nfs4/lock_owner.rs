// SPDX-License-Identifier: GPL-2.0

//! References to nfsd's lock owners and to the files that it has open.
//!
//! C source: `struct nfs4_lockowner` in `fs/nfsd/state.h`, `nfsd_posix_mng_ops` in `fs/nfsd/nfs4state.c`,
//! `fs/nfsd/filecache.h`.

use crate::base::posix_locks::{self, PosixLock};
use crate::base::private::{self, nfs4_client, nfs4_stateowner, nfsd_file};
use crate::nfs4::nfs4_client::Nfs4Client;
use core::ffi::c_void;
use core::mem::ManuallyDrop;
use core::ptr::{self, addr_of_mut, NonNull};
use kernel::bindings;
use kernel::prelude::*;
use kernel::time::{delay::fsleep, Delta};

/// How often, and after how long, an unlock is tried again that had no memory: one in the middle of a lock needs some.
const TRIES: usize = 50;
const PAUSE: Delta = Delta::from_millis(20);

/// The client of a lock in an inode's list, if it is one of nfsd's. A pointer to compare.
pub(crate) fn client_of(lock: &PosixLock<'_>) -> Option<*mut nfs4_client> {
    if !ptr::eq(lock.manager, &raw const private::nfsd_posix_mng_ops) {
        return None;
    }
    let owner: *mut nfs4_stateowner = lock.owner.cast();
    // SAFETY: A lock of nfsd's, by its operations, has a reference to its owner, which keeps its client. It begins with what
    // owners have in common.
    Some(unsafe { (*owner).so_client })
}

/// A reference to a lock owner of nfsd's. Dropping it may sleep, and takes its client's `cl_lock`.
///
/// # Invariants
///
/// It is the value's, and the owner's client is there.
pub(crate) struct LockOwner(NonNull<nfs4_stateowner>);

// SAFETY: A reference may be given up by another thread than that which took it; nothing of the owner is changed.
unsafe impl Send for LockOwner {}

impl LockOwner {
    /// Another reference. Does not sleep.
    ///
    /// # Safety
    ///
    /// There is one to this lock owner, and its client stays until this one is dropped.
    pub(crate) unsafe fn get(raw: NonNull<nfs4_stateowner>) -> Self {
        // SAFETY: There is a reference, so the count is not zero.
        unsafe { bindings::atomic_inc(addr_of_mut!((*raw.as_ptr()).so_count).cast()) };
        // INVARIANT: It was taken just now.
        LockOwner(raw)
    }

    /// Is it one of this client?
    pub(crate) fn is_of(&self, client: &Nfs4Client) -> bool {
        // SAFETY: We have a reference, and its client does not change.
        ptr::eq(unsafe { (*self.0.as_ptr()).so_client }, client.as_ptr())
    }

    /// As a lock of the VFS has it.
    pub(crate) fn as_ptr(&self) -> *mut c_void {
        self.0.as_ptr().cast()
    }

    /// The reference, for a lock of nfsd's.
    pub(crate) fn into_raw(self) -> *mut c_void {
        ManuallyDrop::new(self).as_ptr()
    }

    /// The reference of a lock of nfsd's, which has it no more.
    ///
    /// # Safety
    ///
    /// That is so, and the owner's client stays until this one is dropped.
    pub(crate) unsafe fn from_raw(raw: *mut c_void) -> Option<Self> {
        // INVARIANT: By this function's requirement.
        NonNull::new(raw.cast()).map(LockOwner)
    }
}

impl Clone for LockOwner {
    fn clone(&self) -> Self {
        // SAFETY: There is a reference, and the client of an owner with one of ours is there.
        unsafe { LockOwner::get(self.0) }
    }
}

impl Drop for LockOwner {
    fn drop(&mut self) {
        // SAFETY: The reference is ours, and goes.
        unsafe { private::nfs4_put_stateowner(self.0.as_ptr()) };
    }
}

/// A reference to a file that nfsd has open. Dropping it may sleep.
///
/// # Invariants
///
/// It is the value's.
pub(crate) struct NfsdFile(NonNull<nfsd_file>);

// SAFETY: A reference may be given up by another thread than that which took it; nothing of the file is changed.
unsafe impl Send for NfsdFile {}

impl NfsdFile {
    /// Another reference. Does not sleep.
    ///
    /// # Safety
    ///
    /// There is one, or nobody gives up the last one meanwhile.
    pub(crate) unsafe fn get(raw: NonNull<nfsd_file>) -> Option<Self> {
        // SAFETY: By this function's requirement. nfsd returns nothing for one that is about to go.
        let got = unsafe { private::nfsd_file_get(raw.as_ptr()) };
        // INVARIANT: It was taken just now.
        NonNull::new(got).map(NfsdFile)
    }

    /// The open file.
    pub(crate) fn open(&self) -> *mut private::file {
        // SAFETY: It is valid, and its file is set before others see it.
        unsafe { (*self.0.as_ptr()).nf_file }
    }

    /// Its inode, to be compared.
    pub(crate) fn inode(&self) -> *mut private::inode {
        // SAFETY: An open file has its inode.
        unsafe { (*self.open()).f_inode }
    }

    /// Is it in this file system?
    pub(crate) fn is_on(&self, file_system: *const private::super_block) -> bool {
        // SAFETY: The inode of an open file is there, in its file system.
        ptr::eq(unsafe { (*self.inode()).i_sb }, file_system)
    }

    /// Does the file system keep locks of its own?
    pub(crate) fn has_own_locks(&self) -> bool {
        // SAFETY: An open file has its operations.
        unsafe { (*(*self.open()).f_op).lock.is_some() }
    }

    /// Unlocks what an owner has locked of a range. Without memory it is tried again, for a second. May sleep.
    ///
    /// Fails as the VFS does.
    pub(crate) fn unlock(&self, owner: &LockOwner, range: (i64, i64)) -> Result {
        let kind = private::F_UNLCK as u8;
        let mut tries = 0;
        loop {
            // SAFETY: The file is open, and we have the owner. Nothing is set, and an unlock is answered at once.
            let result = unsafe {
                posix_locks::set(self.open(), owner.as_ptr(), ptr::null(), kind, range, 0)
            };
            if result.is_ok() || tries == TRIES {
                return result;
            }
            tries += 1;
            fsleep(PAUSE);
        }
    }
}

impl Clone for NfsdFile {
    fn clone(&self) -> Self {
        // SAFETY: There is a reference, so nfsd has another one.
        unsafe { private::nfsd_file_get(self.0.as_ptr()) };
        // INVARIANT: It was taken just now.
        NfsdFile(self.0)
    }
}

impl Drop for NfsdFile {
    fn drop(&mut self) {
        // SAFETY: The reference is ours, and goes.
        unsafe { private::nfsd_file_put(self.0.as_ptr()) };
    }
}
