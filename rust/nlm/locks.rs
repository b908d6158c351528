// SPDX-License-Identifier: GPL-2.0

//! Locks that lockd holds for clients.
//!
//! C source: `fs/lockd/svclock.c`, `fs/locks.c`. They are POSIX locks of the VFS, in the list of
//! the inode, which has a spinlock; their owner is lockd's `struct nlm_lockowner`.

use crate::base::posix_locks::{self, LockList};
use crate::base::private::{self, nlm_lockowner};
use crate::nlm::host::Host;
use crate::nlm::lockd::{Lockd, NlmFile};
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ptr::{self, addr_of_mut, NonNull};
use kernel::bindings;
use kernel::prelude::*;

/// `FOP_ASYNC_LOCK` (`include/linux/fs.h`).
const FOP_ASYNC_LOCK: u32 = 1 << 6;

/// Those of the locks in a list that are lockd's.
fn of_lockd<'a>(list: &'a LockList<'_>) -> impl Iterator<Item = NlmLock<'a>> {
    let manager = &raw const private::nlmsvc_lock_operations;
    let ours = list
        .locks()
        .filter(move |lock| ptr::eq(lock.manager, manager));
    ours.filter_map(|lock| {
        let owner = NonNull::new(lock.owner.cast())?;
        Some(NlmLock {
            // INVARIANT: A lock of lockd's, by its operations, has a reference to its owner.
            owner: ManuallyDrop::new(Owner(owner, PhantomData)),
            open: lock.open,
            range: lock.range,
            pid: lock.pid,
            kind: lock.kind,
        })
    })
}

/// What a lock of lockd's is, in its list.
struct NlmLock<'a> {
    /// The reference is the lock's, and not to be given up.
    owner: ManuallyDrop<Owner<'a>>,
    open: *mut private::file,
    range: (private::loff_t, private::loff_t),
    pid: private::pid_t,
    kind: u8,
}

impl NlmFile<'_> {
    /// The POSIX locks of its inode, if there were ever any. No sleeping while they are there.
    fn posix_locks(&self) -> Option<LockList<'_>> {
        // SAFETY: The file is pinned for as long as it is borrowed, so its inode is there.
        unsafe { LockList::of(self.inode()) }
    }

    /// May its file system answer a lock request later, and then tell lockd
    /// (`locks_can_async_lock()`)? It keeps what it was asked with until then.
    pub(crate) fn locks_are_deferred(&self) -> bool {
        let operations = self.any_open().operations();
        operations.lock.is_some() && operations.fop_flags & FOP_ASYNC_LOCK != 0
    }

    /// Are there locks of lockd's on its inode, set through whatever file? Does not sleep.
    pub(crate) fn has_nlm_locks(&self) -> bool {
        self.posix_locks()
            .is_some_and(|list| of_lockd(&list).next().is_some())
    }

    /// The locks that lockd set through this file and whose host is wanted, in the order of the
    /// VFS. May sleep; `want` is asked under a spinlock.
    ///
    /// Not those of the same inode that were set through another file handle.
    pub(crate) fn locks(&self, want: impl Fn(Host<'_>) -> bool) -> Result<KVVec<HeldLock<'_>>> {
        let mut locks = KVVec::new();
        let opens = self.opens();
        loop {
            let mut missing = 0;
            {
                let Some(list) = self.posix_locks() else {
                    return Ok(locks);
                };
                for lock in of_lockd(&list) {
                    let Some(open) = NonNull::new(lock.open) else {
                        continue;
                    };
                    if !opens.contains(&lock.open) || !want(lock.owner.host()) {
                        continue;
                    }
                    if locks.len() == locks.capacity() {
                        missing += 1;
                        continue;
                    }
                    // INVARIANT: The open file is one of this file's.
                    let held = HeldLock {
                        file: self,
                        open,
                        owner: lock.owner.get(self.lockd()),
                        restarts: lock.owner.host().restarts(),
                        range: lock.range,
                        pid: lock.pid,
                        kind: lock.kind,
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
}

/// A lock that lockd holds for a client, or held.
///
/// # Invariants
///
/// `open` is one of the file's open files.
pub(crate) struct HeldLock<'a> {
    file: &'a NlmFile<'a>,
    open: NonNull<private::file>,
    owner: Owner<'a>,
    /// [`Host::restarts`] when it was held.
    restarts: u32,
    range: (private::loff_t, private::loff_t),
    pid: private::pid_t,
    kind: u8,
}

impl<'a> HeldLock<'a> {
    /// The file that it is on.
    pub(crate) fn file(&self) -> &'a NlmFile<'a> {
        self.file
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
        self.range
    }

    /// Sets or removes it. May sleep.
    ///
    /// Fails as the file system's lock operation does, and with `EAGAIN` for one that may answer
    /// later.
    fn change(&self, remove: bool) -> Result {
        if self.file.locks_are_deferred() {
            return Err(EAGAIN);
        }
        let (kind, manager) = match remove {
            true => (private::F_UNLCK as u8, ptr::null()),
            false => (self.kind, &raw const private::nlmsvc_lock_operations),
        };
        let (open, owner) = (self.open.as_ptr(), self.owner.0.as_ptr().cast());
        // SAFETY: The file is pinned, so it stays open; we have the owner, which is one of lockd's. The file system does not
        // answer later.
        unsafe { posix_locks::set(open, owner, manager, kind, self.range, self.pid) }
    }

    /// Removes it. May sleep.
    pub(crate) fn unlock(&self) -> Result {
        self.change(true)
    }

    /// Sets it as it was, after it was removed. May sleep.
    pub(crate) fn relock(&self) -> Result {
        self.change(false)
    }
}

/// The owner of a lock.
///
/// # Invariants
///
/// There is a reference to the owner for as long as this is there, and the owner has one to its
/// host. Dropping it gives the reference up.
struct Owner<'a>(NonNull<nlm_lockowner>, PhantomData<&'a Lockd>);

impl Owner<'_> {
    /// Another reference. Does not sleep.
    fn get<'a>(&self, _lockd: &'a Lockd) -> Owner<'a> {
        // SAFETY: There is a reference already (`nlmsvc_get_lockowner()`).
        unsafe { bindings::refcount_inc(addr_of_mut!((*self.0.as_ptr()).count).cast()) };
        // INVARIANT: The reference is the value's, and lockd, whose the owner is, is there.
        Owner(self.0, PhantomData)
    }

    /// Its client.
    fn host(&self) -> Host<'_> {
        // SAFETY: The owner is there, and keeps its host, which never changes.
        unsafe { Host::new((*self.0.as_ptr()).host) }
    }
}

impl Drop for Owner<'_> {
    fn drop(&mut self) {
        // SAFETY: The reference is ours, and goes; lockd is there.
        unsafe { private::nlmsvc_put_lockowner(self.0.as_ptr()) };
    }
}
