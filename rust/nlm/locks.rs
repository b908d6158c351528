// SPDX-License-Identifier: GPL-2.0

//! Locks that lockd holds for clients.
//!
//! C source: `fs/lockd/svclock.c`, `fs/locks.c`. They are POSIX locks of the VFS, in the list of
//! the inode, which has a spinlock; their owner is lockd's `struct nlm_lockowner`.

use crate::base::private::{self, nlm_lockowner};
use crate::base::raw::{list_entries, SpinGuard};
use crate::nlm::host::Host;
use crate::nlm::lockd::NlmFile;
use core::ptr::{self, addr_of_mut, NonNull};
use core::sync::atomic::{AtomicPtr, Ordering};
use kernel::bindings;
use kernel::prelude::*;

/// The kind of lock that fcntl(2) sets (`include/linux/filelock.h`).
const FL_POSIX: u32 = 1;
/// `FOP_ASYNC_LOCK` (`include/linux/fs.h`).
const FOP_ASYNC_LOCK: u32 = 1 << 6;

impl NlmFile {
    /// The locks of its inode: null if there were never any.
    fn lock_context(&self) -> *mut private::file_lock_context {
        // SAFETY: The file is pinned, so its inode is there. The pointer is set once, and read
        // as `locks_inode_context()` does.
        unsafe {
            let slot = addr_of_mut!((*self.inode()).i_flctx);
            (*slot.cast::<AtomicPtr<private::file_lock_context>>()).load(Ordering::Acquire)
        }
    }

    /// May its file system answer a lock request later, and then tell lockd
    /// (`locks_can_async_lock()`)? It keeps what it was asked with until then.
    pub(crate) fn locks_are_deferred(&self) -> bool {
        // SAFETY: The file is pinned, so it is open; operations are constant.
        unsafe {
            let operations = (*self.any_open()).f_op;
            (*operations).lock.is_some() && (*operations).fop_flags & FOP_ASYNC_LOCK != 0
        }
    }

    /// Are there locks of lockd's on its inode, set through whatever file? Does not sleep.
    pub(crate) fn has_nlm_locks(&self) -> bool {
        let context = self.lock_context();
        if context.is_null() {
            return false;
        }
        // SAFETY: An inode keeps its context; the list's lock is held.
        unsafe {
            let _lock = SpinGuard::new(addr_of_mut!((*context).flc_lock));
            list_entries(addr_of_mut!((*context).flc_posix)).any(|node| is_nlm(file_lock_of(node)))
        }
    }

    /// The locks that lockd set through this file and whose host is wanted, in the order of the
    /// VFS. May sleep; `want` is asked under a spinlock.
    ///
    /// Not those of the same inode that were set through another file handle.
    pub(crate) fn locks(&self, want: impl Fn(Host<'_>) -> bool) -> Result<KVVec<HeldLock>> {
        let mut locks = KVVec::new();
        let context = self.lock_context();
        if context.is_null() {
            return Ok(locks);
        }
        let opens = self.opens();
        loop {
            let mut missing = 0;
            {
                // SAFETY: An inode keeps its context. Its lock is held, so that its locks, and
                // the owners of those that are lockd's, stay.
                let _lock = unsafe { SpinGuard::new(addr_of_mut!((*context).flc_lock)) };
                // SAFETY: The list's lock is held, and `want` changes nothing.
                for node in unsafe { list_entries(addr_of_mut!((*context).flc_posix)) } {
                    let fl = file_lock_of(node);
                    // SAFETY: Each node is in a lock, which stays while the list's lock is held. One of
                    // lockd's has a reference to its owner, who has one to a host.
                    let held = unsafe {
                        let Some(mode) = opens.iter().position(|open| *open == (*fl).c.flc_file)
                        else {
                            continue;
                        };
                        let owner = (*fl).c.flc_owner.cast::<nlm_lockowner>();
                        if !is_nlm(fl) || !want(Host::new((*owner).host)) {
                            continue;
                        }
                        if locks.len() == locks.capacity() {
                            missing += 1;
                            continue;
                        }
                        HeldLock::new(Owner::get(owner), fl, mode)
                    };
                    locks.push(held, GFP_ATOMIC)?;
                }
            }
            if missing == 0 {
                return Ok(locks);
            }
            let room = locks.len() + missing;
            drop(locks);
            locks = KVVec::with_capacity(room, GFP_KERNEL)?;
        }
    }

    /// Sets or removes a lock. May sleep.
    ///
    /// Fails as the file system's lock operation does.
    fn change(&self, held: &HeldLock, remove: bool) -> Result {
        let open = self.opens()[held.mode];
        // SAFETY: All zeros is a value of this type: numbers, and pointers that may be null.
        let mut fl: private::file_lock = unsafe { core::mem::zeroed() };
        // SAFETY: It is ours, and does not move from here on.
        unsafe { private::locks_init_lock(&mut fl) };
        fl.c.flc_flags = FL_POSIX;
        fl.c.flc_type = if remove {
            private::F_UNLCK as u8
        } else {
            held.kind
        };
        fl.c.flc_owner = held.owner.0.as_ptr().cast();
        fl.c.flc_pid = held.pid;
        fl.c.flc_file = open;
        fl.fl_start = held.start;
        fl.fl_end = held.end;
        if !remove {
            // The VFS takes its own reference to the owner.
            fl.fl_lmops = &raw const private::nlmsvc_lock_operations;
        }
        // SAFETY: The file is pinned, so it stays open; we have the owner. Nobody keeps the lock that
        // we hand in: one that is not to wait is copied, and file systems that would answer later are
        // not asked (`locks_are_deferred()`).
        let result =
            unsafe { private::vfs_lock_file(open, private::F_SETLK, &mut fl, ptr::null_mut()) };
        match result {
            0 => Ok(()),
            // FILE_LOCK_DEFERRED: the file system will answer some time.
            n if n > 0 => Err(EAGAIN),
            n => Err(Error::from_errno(n)),
        }
    }

    /// Removes a lock. May sleep.
    pub(crate) fn unlock(&self, held: &HeldLock) -> Result {
        self.change(held, true)
    }

    /// Sets a lock that was removed, as it was. May sleep.
    pub(crate) fn relock(&self, held: &HeldLock) -> Result {
        self.change(held, false)
    }
}

/// The lock that a node of `flc_posix` is in.
fn file_lock_of(node: *mut private::list_head) -> *mut private::file_lock {
    const OFFSET: usize = core::mem::offset_of!(private::file_lock, c)
        + core::mem::offset_of!(private::file_lock_core, flc_list);
    node.wrapping_byte_sub(OFFSET).cast()
}

/// Is it one of lockd's?
///
/// # Safety
///
/// The lock is valid.
unsafe fn is_nlm(fl: *const private::file_lock) -> bool {
    // SAFETY: By this function's requirement; it is set when the lock is made.
    let operations = unsafe { (*fl).fl_lmops };
    ptr::eq(operations, &raw const private::nlmsvc_lock_operations)
}

/// A lock that lockd holds for a client.
pub(crate) struct HeldLock {
    owner: Owner,
    /// [`Host::restarts`] when it was held.
    restarts: u32,
    start: private::loff_t,
    end: private::loff_t,
    pid: private::pid_t,
    kind: u8,
    mode: usize,
}

impl HeldLock {
    /// A copy of a lock.
    ///
    /// # Safety
    ///
    /// The lock is valid, is the owner's, and does not change during the call: the list's lock is held.
    unsafe fn new(owner: Owner, fl: *const private::file_lock, mode: usize) -> Self {
        let restarts = owner.host().restarts();
        // SAFETY: By this function's requirement.
        unsafe {
            HeldLock {
                owner,
                restarts,
                start: (*fl).fl_start,
                end: (*fl).fl_end,
                pid: (*fl).c.flc_pid,
                kind: (*fl).c.flc_type,
                mode,
            }
        }
    }

    /// Whose it is.
    pub(crate) fn host(&self) -> Host<'_> {
        self.owner.host()
    }

    /// Has its client restarted since? Then nobody has it any more.
    pub(crate) fn is_stale(&self) -> bool {
        self.host().restarts() != self.restarts
    }

    /// Its first and last byte.
    pub(crate) fn range(&self) -> (i64, i64) {
        (self.start, self.end)
    }
}

/// A reference to the owner of a lock, which has one to its host.
struct Owner(NonNull<nlm_lockowner>);

impl Owner {
    /// A reference. Does not sleep.
    ///
    /// # Safety
    ///
    /// Somebody has a reference to `owner` during the call.
    unsafe fn get(owner: *mut nlm_lockowner) -> Self {
        // SAFETY: By this function's requirement (`nlmsvc_get_lockowner()`).
        unsafe {
            bindings::refcount_inc(addr_of_mut!((*owner).count).cast());
            Owner(NonNull::new_unchecked(owner))
        }
    }
}

impl Owner {
    /// Its client.
    fn host(&self) -> Host<'_> {
        // SAFETY: The owner has a host, and we have the owner.
        unsafe { Host::new((*self.0.as_ptr()).host) }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        // SAFETY: The reference is ours, and goes.
        unsafe { private::nlmsvc_put_lockowner(self.0.as_ptr()) };
    }
}
