// SPDX-License-Identifier: GPL-2.0

//! The POSIX locks of an inode.
//!
//! C source: `fs/locks.c`. They are in a list of the inode, which has a spinlock, `flc_lock`; it may be taken under
//! nfsd's `fi_lock`, and nothing is taken under it.

use crate::base::private;
use crate::base::raw::{link_before, list_entries, unlink, SpinGuard};
use crate::base::vfs::FileRef;
use core::ffi::c_void;
use core::marker::PhantomData;
use core::mem::offset_of;
use core::ptr::{self, addr_of_mut, NonNull};
use core::sync::atomic::{AtomicPtr, Ordering};
use kernel::prelude::*;

/// The kind of lock that fcntl(2) sets (`include/linux/filelock.h`).
const FL_POSIX: u32 = 1;
/// Where its node of the list is in a lock.
const NODE: usize =
    offset_of!(private::file_lock, c) + offset_of!(private::file_lock_core, flc_list);

/// The POSIX locks of an inode.
///
/// # Invariants
///
/// This thread holds the list's spinlock, and the inode, which keeps the list, is there for `'a`: so the
/// locks in it stay, as do the owners that they have references to, and neither changes.
pub(crate) struct LockList<'a> {
    context: NonNull<private::file_lock_context>,
    _guard: SpinGuard,
    _inode: PhantomData<&'a private::inode>,
}

impl LockList<'_> {
    /// Those of an inode, if there were ever any. No sleeping while they are there.
    ///
    /// # Safety
    ///
    /// The inode is there for the lifetime.
    pub(crate) unsafe fn of(inode: *mut private::inode) -> Option<Self> {
        // SAFETY: The inode is there. The pointer is set once, and read as `locks_inode_context()` does. An inode
        // keeps its context, with its lock.
        let (context, guard) = unsafe {
            let slot = addr_of_mut!((*inode).i_flctx);
            let context =
                (*slot.cast::<AtomicPtr<private::file_lock_context>>()).load(Ordering::Acquire);
            let context = NonNull::new(context)?;
            let lock = addr_of_mut!((*context.as_ptr()).flc_lock);
            (context, SpinGuard::new(lock))
        };
        // INVARIANT: The guard is that of the list's lock; the caller keeps the inode.
        Some(LockList {
            context,
            _guard: guard,
            _inode: PhantomData,
        })
    }

    /// The locks, in the order of the VFS.
    pub(crate) fn locks(&self) -> impl Iterator<Item = PosixLock<'_>> {
        let context = self.context.as_ptr();
        // SAFETY: The list's lock is held while the iterator is there. Each node is in a lock.
        unsafe {
            list_entries(addr_of_mut!((*context).flc_posix)).map(|node| {
                let fl: *mut private::file_lock = node.wrapping_byte_sub(NODE).cast();
                PosixLock {
                    raw: NonNull::new_unchecked(fl),
                    owner: (*fl).c.flc_owner,
                    manager: (*fl).fl_lmops,
                    open: (*fl).c.flc_file,
                    range: ((*fl).fl_start, (*fl).fl_end),
                    pid: (*fl).c.flc_pid,
                    kind: (*fl).c.flc_type,
                    _list: PhantomData,
                }
            })
        }
    }

    /// Makes a lock another owner's, set through another open file. It goes where the VFS looks for it: to the others of that
    /// owner, by their first bytes (`posix_lock_inode()`). Who waits for it goes on to wait. Does not sleep.
    ///
    /// Who reads `/proc/locks` may see the open file that it was set through before, without the list's lock, but cannot be
    /// preempted (`locks_show()`).
    ///
    /// # Safety
    ///
    /// The lock is in this list. The new owner is one of the lock's manager, and the caller's reference to it is the lock's from
    /// now on, as the lock's to the old owner is the caller's. The file is an open one of this inode for as long as the lock.
    pub(crate) unsafe fn give(
        &self,
        lock: NonNull<private::file_lock>,
        owner: *mut c_void,
        open: *mut private::file,
    ) {
        let lock = lock.as_ptr();
        // SAFETY: The lock is in the list, whose spinlock is held, by this function's requirement and the type's invariant.
        unsafe {
            let node = addr_of_mut!((*lock).c.flc_list);
            unlink(node);
            ((*lock).c.flc_owner, (*lock).c.flc_file) = (owner, open);
            let head = addr_of_mut!((*self.context.as_ptr()).flc_posix);
            let mut at = head;
            for other in self.locks().filter(|other| other.owner == owner) {
                let other_node = addr_of_mut!((*other.raw.as_ptr()).c.flc_list);
                if other.range.0 > (*lock).fl_start {
                    at = other_node;
                    break;
                }
                at = (*other_node).next;
            }
            link_before(node, at);
        }
    }
}

/// What a lock is, in its list.
pub(crate) struct PosixLock<'a> {
    /// The lock itself, to be compared, or given to somebody else.
    pub(crate) raw: NonNull<private::file_lock>,
    /// Whose it is. What a lock manager set has a reference to it.
    pub(crate) owner: *mut c_void,
    /// The operations of the lock manager that set it, or null.
    pub(crate) manager: *const private::lock_manager_operations,
    /// The open file that it was set through.
    pub(crate) open: *mut private::file,
    /// Its first and last byte.
    pub(crate) range: (private::loff_t, private::loff_t),
    /// The process.
    pub(crate) pid: private::pid_t,
    /// `F_RDLCK` or `F_WRLCK`.
    pub(crate) kind: u8,
    _list: PhantomData<&'a ()>,
}

impl PosixLock<'_> {
    /// The open file that it was set through, if a lock manager set it, unless that is just going. Does not sleep.
    pub(crate) fn open_file(&self) -> Option<FileRef> {
        if self.manager.is_null() {
            return None;
        }
        // SAFETY: The list's lock is held, so the lock is there, and does not change. nfsd and lockd keep an open file that they
        // have locked by open as long as the lock is there.
        unsafe { FileRef::of_slot(addr_of_mut!((*self.raw.as_ptr()).c.flc_file)) }
    }
}

/// Sets a lock as fcntl(2) does, without waiting for others, or with the kind `F_UNLCK` unlocks what an owner has of a range. May
/// sleep.
///
/// Fails as the file system's lock operation does, and with `EAGAIN` for one that answers later.
///
/// # Safety
///
/// The file is open. The owner is there meanwhile, and is one of the manager's if there is one, which gets a reference of its
/// own for a lock that is set. A file system that answers later is not asked: it would keep what it is asked with.
pub(crate) unsafe fn set(
    open: *mut private::file,
    owner: *mut c_void,
    manager: *const private::lock_manager_operations,
    kind: u8,
    range: (private::loff_t, private::loff_t),
    pid: private::pid_t,
) -> Result {
    let mut fl: private::file_lock = pin_init::zeroed();
    let fl = &raw mut fl;
    // SAFETY: The lock is ours, and does not move from here on. Nobody keeps it: one that is not to wait is copied. The rest is
    // this function's requirement.
    let result = unsafe {
        private::locks_init_lock(fl);
        (*fl).c.flc_flags = FL_POSIX;
        (*fl).c.flc_type = kind;
        (*fl).c.flc_owner = owner;
        (*fl).c.flc_pid = pid;
        (*fl).c.flc_file = open;
        ((*fl).fl_start, (*fl).fl_end) = range;
        (*fl).fl_lmops = manager;
        private::vfs_lock_file(open, private::F_SETLK, fl, ptr::null_mut())
    };
    match result {
        0 => Ok(()),
        // FILE_LOCK_DEFERRED: the file system will answer some time.
        n if n > 0 => Err(EAGAIN),
        n => Err(Error::from_errno(n)),
    }
}
