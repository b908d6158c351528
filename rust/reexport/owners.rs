// SPDX-License-Identifier: GPL-2.0

//! By which open file an end client's owner of locks locks: by one at a time.
//!
//! nfsd and lockd open a file once for reading and once for writing, for all end clients, and lock and unlock by whichever fits.
//! At the original server each has another owner if they were opened with other credentials. So what an end client has locked
//! by one would be in its way as it locks by the other, and an unlock by that would be no LOCKU.
//!
//! | an owner that has locked by another file | goes on by |
//! |---|---|
//! | locks more, and one of the two is open for reading and writing | that one; read locks that are by the other pass to it |
//! | the same, and none is, as lockd's | the other one, if it is open for that; else this one |
//! | tests | the other one |
//! | unlocks | each that it has locked by |
//!
//! Where none is, an owner that reads by one and writes by the other is two owners at the original server: its own read lock is in
//! its way there. The same is nfsd's if some client has the file open for writing only.
//!
//! They cannot have one name there: nfsd drops all locks of an owner on a file as a first LOCK by another open of it is refused
//! (`release_lock_stateid()` in `nfsd4_lock()`).
//!
//! C source: `struct nfs4_lock_state` in `fs/nfs/nfs4_fs.h`, `find_any_file()` in `fs/nfsd/nfs4state.c`, `nlmsvc_unlock()` in
//! `fs/lockd/svclock.c`.

use crate::base::posix_locks::{LockList, PosixLock};
use crate::base::private::{self, file, file_lock, loff_t};
use crate::base::vfs::FileRef;
use core::ptr::{self, NonNull};
use kernel::error::to_result;
use kernel::ffi::{c_int, c_void};
use kernel::prelude::*;

const ALL: (loff_t, loff_t) = (0, loff_t::MAX);

/// An open file's `f_mode` (`include/linux/fs.h`).
const FMODE_READ: u32 = 1;
const FMODE_WRITE: u32 = 2;

/// How many read locks pass to another open file at most: each takes three requests. With more, they are in the way.
const MOST: usize = 64;

/// What an open file's locks have in common: those of others have other owners at the original server.
///
/// # Safety
///
/// It is one of the NFS client's, of NFSv4, and open.
unsafe fn state_of(open: *mut file) -> *const c_void {
    // SAFETY: By this function's requirement: such a file has an open context, and that a state, for good.
    unsafe {
        let context: *const private::nfs_open_context = (*open).private_data.cast();
        (*context).state.cast()
    }
}

/// What an owner has locked by another open file.
struct Held {
    by: FileRef,
    kind: u8,
    range: (loff_t, loff_t),
    /// All that the owner has in the whole range is by that one.
    only: bool,
}

/// The first of the locks that an owner of nfsd's or lockd's has in a range by another open file than this. Takes the lock of the
/// inode's locks; does not sleep.
///
/// # Safety
///
/// The file is one of the NFS client's, of NFSv4, and open.
unsafe fn held(open: *mut file, owner: *mut c_void, range: (loff_t, loff_t)) -> Option<Held> {
    // SAFETY: An open file has an inode. What a lock manager has locked by is open as long as the lock.
    let (list, own) = unsafe { (LockList::of((*open).f_inode)?, state_of(open)) };
    let is_its = |lock: &PosixLock<'_>| {
        lock.owner == owner
            && !lock.manager.is_null()
            && (lock.range.0 <= range.1 && range.0 <= lock.range.1)
    };
    // SAFETY: As above, and the locks are those of this inode.
    let state = |lock: &PosixLock<'_>| unsafe { state_of(lock.open) };
    let its = || list.locks().filter(is_its);
    let other = its().find(|lock| !ptr::eq(state(lock), own))?;
    let only = its().all(|lock| ptr::eq(state(&lock), state(&other)));
    Some(Held {
        by: other.open_file()?,
        kind: other.kind,
        range: (other.range.0.max(range.0), other.range.1.min(range.1)),
        only,
    })
}

/// What is asked of the NFS client for an owner, beside what nfsd or lockd ask for.
struct Order(NonNull<file_lock>);

impl Order {
    /// Has the NFS client lock or unlock a range by an open file, for the owner of `like`. May sleep. Fails as that does, and
    /// with `ENOMEM`. What the NFS client knows of the owner stays as long as the order is there.
    ///
    /// # Safety
    ///
    /// The file is one of the NFS client's, and open. The lock is the caller's, with an owner that is there.
    unsafe fn carry_out(
        like: *const file_lock,
        by: *mut file,
        kind: u32,
        range: (loff_t, loff_t),
    ) -> Result<Self> {
        // SAFETY: By this function's requirement. The new lock is ours, and does not move.
        unsafe {
            let order = Order(NonNull::new(private::locks_alloc_lock()).ok_or(ENOMEM)?);
            let new = order.0.as_ptr();
            (*new).c.flc_flags = (*like).c.flc_flags;
            (*new).c.flc_type = kind as u8;
            (*new).c.flc_owner = (*like).c.flc_owner;
            (*new).c.flc_pid = (*like).c.flc_pid;
            (*new).c.flc_file = by;
            ((*new).fl_start, (*new).fl_end) = range;
            if kind != private::F_UNLCK {
                (*new).fl_lmops = (*like).fl_lmops;
            }
            to_result(private::nfs_lock(by, private::F_SETLK as c_int, new))?;
            Ok(order)
        }
    }
}

impl Drop for Order {
    fn drop(&mut self) {
        // SAFETY: It is ours, and in no list: what is locked is a copy, with references of its own. It has none to the owner.
        unsafe {
            (*self.0.as_ptr()).fl_lmops = ptr::null();
            private::locks_free_lock(self.0.as_ptr());
        }
    }
}

/// Passes the read locks of an owner to an open file, so that it has locked by that only. There is no moment without them at the
/// original server. May sleep. Fails if one cannot be locked by that.
///
/// # Safety
///
/// As for [`set`].
unsafe fn pass(open: *mut file, lock: *const file_lock) -> Result {
    for _ in 0..MOST {
        // SAFETY: By this function's requirement.
        unsafe {
            let owner = (*lock).c.flc_owner;
            let Some(one) = held(open, owner, ALL) else {
                return Ok(());
            };
            if one.kind != private::F_RDLCK as u8 {
                return Err(EAGAIN);
            }
            // Locally that is the same lock still, by the other file.
            let first = Order::carry_out(lock, open, private::F_RDLCK, one.range)?;
            let _ = Order::carry_out(lock, one.by.as_ptr(), private::F_UNLCK, one.range);
            // The NFS client knows the owner from the first one.
            Order::carry_out(lock, open, private::F_RDLCK, one.range)?;
            drop(first);
        }
    }
    Err(EAGAIN)
}

/// Locks or tests for nfsd or lockd, which have this open file for that; `reclaims`, if that is a reclaim. May sleep.
///
/// # Safety
///
/// As for `nfs_lock()`: the file is one of the NFS client's, of NFSv4, and open, and the lock is the caller's.
pub(crate) unsafe fn set(
    open: *mut file,
    command: c_int,
    lock: *mut file_lock,
    reclaims: bool,
) -> c_int {
    // SAFETY: By this function's requirement. The other file is open as long as there is a reference to it.
    unsafe {
        let Some(one) = held(open, (*lock).c.flc_owner, ALL) else {
            return private::nfs_lock(open, command, lock);
        };
        let other = one.by.as_ptr();
        let has = |file: *mut file, mode| (*file).f_mode & mode == mode;
        let kind = u32::from((*lock).c.flc_type);
        let mode = if kind == private::F_WRLCK {
            FMODE_WRITE
        } else {
            FMODE_READ
        };
        let both = FMODE_READ | FMODE_WRITE;
        let sets = command == private::F_SETLK as c_int || command == private::F_SETLKW as c_int;
        let by = match [open, other].into_iter().find(|file| has(*file, both)) {
            _ if !sets => other,
            Some(by) => {
                // What passed would be no reclaim. If it fails, read locks are in the way that stay where they are.
                let _ = if reclaims { Ok(()) } else { pass(by, lock) };
                by
            }
            None if one.only && has(other, mode) => other,
            None => open,
        };
        let given = (*lock).c.flc_file;
        (*lock).c.flc_file = by;
        let status = private::nfs_lock(by, command, lock);
        (*lock).c.flc_file = given;
        status
    }
}

/// Unlocks for an owner of whomever, who has this open file for that. May sleep.
///
/// # Safety
///
/// As for [`set`].
pub(crate) unsafe fn unlock(open: *mut file, command: c_int, lock: *mut file_lock) -> c_int {
    let (mut last, mut result) = (None, 0);
    // SAFETY: By this function's requirement.
    unsafe {
        let whole = ((*lock).fl_start, (*lock).fl_end);
        while let Some(one) = held(open, (*lock).c.flc_owner, whole) {
            // One that is there still was not unlocked for want of memory.
            if last.replace(one.range) == Some(one.range) {
                break;
            }
            let range = if one.only { whole } else { one.range };
            if let Err(e) = Order::carry_out(lock, one.by.as_ptr(), private::F_UNLCK, range) {
                result = e.to_errno();
            }
        }
        // Nothing may stay here, whatever became of that: its owner and its open file may be about to go.
        match without_manager(open, command, lock) {
            0 => result,
            status => status,
        }
    }
}

/// Has the NFS client unlock as if the lock had no manager. May sleep.
///
/// It copies the lock for what it sends, with a reference to the owner that a manager counts, and never gives that up. Nor does
/// lockd give up what the NFS client notes in the lock itself (`nlmsvc_unlock()`): it goes on with it for its other open file,
/// whose owner at the original server is another one.
///
/// # Safety
///
/// As for [`set`]; it unlocks.
unsafe fn without_manager(open: *mut file, command: c_int, lock: *mut file_lock) -> c_int {
    // SAFETY: By this function's requirement: the lock is in no list. Without its manager, its owner stays as it is.
    unsafe {
        let manager = core::mem::replace(&mut (*lock).fl_lmops, ptr::null());
        let status = private::nfs_lock(open, command, lock);
        private::locks_release_private(lock);
        (*lock).fl_lmops = manager;
        status
    }
}
