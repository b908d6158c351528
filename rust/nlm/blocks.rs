// SPDX-License-Identifier: GPL-2.0

//! Blocked locks: requests that lockd grants when they can be, with a callback to the client.
//!
//! C source: `fs/lockd/svclock.c`. A block is in its file's list until its last reference goes;
//! while it waits for the lock, or for the client's answer to the callback, it is also in
//! `nlm_blocked`, which has a reference. lockd's thread works on blocks from that list. A block
//! counts as a user of its file.
//!
//! To *park* a block is to take it from that list and to stop it from waiting in the VFS.

use crate::base::private::{self, nlm_block};
use crate::base::raw::{is_unlinked, link_first, unlink, MutexGuard, SpinGuard};
use crate::nlm::host::Host;
use crate::nlm::lockd::{Lockd, NlmFile};
use core::marker::PhantomData;
use core::mem;
use core::ptr::{addr_of_mut, NonNull};
use kernel::bindings;
use kernel::ffi::c_void;
use kernel::prelude::*;
use kernel::time::Jiffies;

/// A reference to a block. Dropping it may sleep, and takes its file's lock.
///
/// # Invariants
///
/// The reference is this value's, while lockd runs. So the block is there, with its file, its host
/// and its call, and is in its file's list.
struct Reference<'a> {
    raw: NonNull<nlm_block>,
    lockd: &'a Lockd,
}

impl Reference<'_> {
    fn as_ptr(&self) -> *mut nlm_block {
        self.raw.as_ptr()
    }

    /// Whose it is.
    fn host(&self) -> Host<'_> {
        // SAFETY: The block is there, and keeps its host, which never changes.
        unsafe { Host::new((*self.as_ptr()).b_host) }
    }

    /// No more waiting in the VFS, which then has nothing to tell lockd. Does not sleep.
    fn stop_waiting(&self) {
        // SAFETY: The block keeps its call; the lock in it was prepared with it, and may be in no list.
        unsafe {
            let call = (*self.as_ptr()).b_call;
            private::locks_delete_block(addr_of_mut!((*call).a_args.lock.fl));
        }
    }

    /// Gives up a callback that is on its way to the client. May sleep.
    fn cancel_callback(&self) {
        // SAFETY: The block has its host and its call. The host's RPC client is made under its
        // mutex, and goes with the host or when lockd stops, which it does not.
        // `is_call()` takes any task, and compares an address.
        unsafe {
            let host = self.host().as_ptr().cast_mut();
            let client = {
                let _lock = MutexGuard::new(addr_of_mut!((*host).h_mutex));
                (*host).h_rpcclnt
            };
            if !client.is_null() {
                let call: *const c_void = (*self.as_ptr()).b_call.cast();
                private::rpc_cancel_tasks(client, EIO.to_errno(), Some(is_call), call);
            }
        }
    }
}

impl Drop for Reference<'_> {
    fn drop(&mut self) {
        let block = self.as_ptr();
        // SAFETY: The reference is ours, and goes; with the last one the block is ours alone, with all
        // that it has. As `nlmsvc_release_block()` and `nlmsvc_free_block()` do, but that the file is
        // let go of as `NlmFile` does it.
        unsafe {
            let (file, call) = ((*block).b_file, (*block).b_call);
            let lock = addr_of_mut!((*file).f_mutex);
            let count = addr_of_mut!((*block).b_count.refcount);
            if !private::refcount_dec_and_mutex_lock(count, lock) {
                return;
            }
            unlink(addr_of_mut!((*block).b_flist));
            bindings::mutex_unlock(lock.cast());
            // Whoever was blocked while we parked it.
            self.stop_waiting();
            let owner = (*call).a_args.lock.oh.data;
            if owner != addr_of_mut!((*call).a_owner).cast() {
                bindings::kfree(owner.cast());
            }
            private::locks_release_private(addr_of_mut!((*call).a_args.lock.fl));
            private::nlmsvc_release_call(call);
            drop(NlmFile::from_raw(self.lockd, NonNull::new_unchecked(file)));
            bindings::kfree(block.cast());
        }
    }
}

/// Is this the task of the call `call`?
///
/// # Safety
///
/// For `rpc_cancel_tasks()`.
unsafe extern "C" fn is_call(task: *const private::rpc_task, call: *const c_void) -> bool {
    // SAFETY: The RPC client calls with a task of its own; the addresses are only compared.
    unsafe { core::ptr::eq((*task).tk_calldata, call) }
}

/// `nlm_blocked`, the blocks that lockd's thread works on. No sleeping while this is there.
///
/// # Invariants
///
/// This thread holds `nlm_blocked_lock`. Each block in the list has a reference for it, and who
/// has a reference to a block in no list may add the block.
struct BlockedList<'a> {
    _guard: SpinGuard,
    _lockd: PhantomData<&'a Lockd>,
}

impl<'a> BlockedList<'a> {
    /// The list.
    fn lock(_lockd: &'a Lockd) -> Self {
        // INVARIANT: The lock is the list's, and its guard is in the value.
        BlockedList {
            // SAFETY: lockd is loaded, so that its lock is there, and its lifetime that of this.
            _guard: unsafe { SpinGuard::new(&raw mut private::nlm_blocked_lock) },
            _lockd: PhantomData,
        }
    }

    /// Was the block's lock granted? The block then waits for the client's answer to the callback,
    /// which must find it. lockd says so before it puts the block on this list again.
    fn is_granted(&self, block: &Reference<'_>) -> bool {
        // SAFETY: The block is there; read in one go.
        unsafe { addr_of_mut!((*block.as_ptr()).b_granted).read_volatile() != 0 }
    }

    /// Is a block in no list, and has it so many references?
    fn is_without(&self, block: &Reference<'_>, references: usize) -> bool {
        // SAFETY: The block is there, and the list's lock is held; the count is read in one go.
        let (unlinked, count) = unsafe {
            let count = addr_of_mut!((*block.as_ptr()).b_count.refcount.refs.counter);
            let unlinked = is_unlinked(addr_of_mut!((*block.as_ptr()).b_list));
            (unlinked, count.read_volatile())
        };
        unlinked && usize::try_from(count) == Ok(references)
    }

    /// Takes a block from the list, if it is there: the list's reference to it.
    fn take(&mut self, block: &Reference<'a>) -> Option<Reference<'a>> {
        // SAFETY: The block is there, and the list's lock is held.
        unsafe {
            let node = addr_of_mut!((*block.as_ptr()).b_list);
            if is_unlinked(node) {
                return None;
            }
            unlink(node);
        }
        // INVARIANT: The reference was the list's, which has the block no more.
        Some(Reference {
            raw: block.raw,
            lockd: block.lockd,
        })
    }

    /// Puts a block at the front of the list, as the next that lockd takes, and wakes lockd up.
    /// Returns the reference if the block is in the list: the list has one already.
    fn put_first(&mut self, block: Reference<'a>) -> Option<Reference<'a>> {
        let raw = block.as_ptr();
        // SAFETY: The block is there, and the list's lock is held, under which its time changes.
        // Its daemon is lockd's service, which runs.
        unsafe {
            let node = addr_of_mut!((*raw).b_list);
            if !is_unlinked(node) {
                return Some(block);
            }
            let now: Jiffies = (&raw const bindings::jiffies).read_volatile();
            (*raw).b_when = now;
            link_first(node, &raw mut private::nlm_blocked);
            private::svc_wake_up((*raw).b_daemon);
        }
        // INVARIANT: The reference is the list's.
        mem::forget(block);
        None
    }
}

/// A block that was found. Dropping it may sleep, and takes its file's lock.
pub(crate) struct Block<'a> {
    own: Reference<'a>,
    /// [`Host::restarts`] when it was found.
    restarts: u32,
    /// The reference of `nlm_blocked`, if we took the block from there.
    taken: Option<Reference<'a>>,
}

impl NlmFile<'_> {
    /// The blocked locks of this file whose host is wanted. May sleep.
    pub(crate) fn blocks(&self, want: impl Fn(Host<'_>) -> bool) -> Result<KVVec<Block<'_>>> {
        let mut blocks = KVVec::new();
        // On failure it goes before the blocks, which cannot be dropped under it.
        let lock = self.lock();
        for raw in lock.blocks() {
            // SAFETY: The block is there while the lock is held, and keeps its last reference and its
            // host.
            unsafe {
                let host = Host::new((*raw).b_host);
                if !want(host) {
                    continue;
                }
                // The room first, as a block cannot be dropped under the lock.
                blocks.reserve(1, GFP_KERNEL)?;
                bindings::refcount_inc(addr_of_mut!((*raw).b_count.refcount).cast());
                let block = Block {
                    // INVARIANT: The reference was made for it just now.
                    own: Reference {
                        raw: NonNull::new_unchecked(raw),
                        lockd: self.lockd(),
                    },
                    restarts: host.restarts(),
                    taken: None,
                };
                blocks.push(block, GFP_KERNEL)?;
            }
        }
        drop(lock);
        Ok(blocks)
    }
}

impl Block<'_> {
    /// Whose it is.
    pub(crate) fn host(&self) -> Host<'_> {
        self.own.host()
    }

    /// Parks the block; with `granted` also one whose lock was granted, and gives up a callback
    /// that is on its way. lockd, which may work on it at this moment, may put it back. May sleep.
    pub(crate) fn park(&mut self, granted: bool) {
        self.own.stop_waiting();
        let listed = {
            let mut list = BlockedList::lock(self.own.lockd);
            if granted || !list.is_granted(&self.own) {
                list.take(&self.own)
            } else {
                None
            }
        };
        if listed.is_some() {
            // With what it may have been: the list's reference, which lockd took again after the one
            // that we have.
            self.taken = listed;
        }
        if granted {
            self.own.cancel_callback();
        }
    }

    /// Is it parked, or ended, and does nobody else work on it? Without `granted`, one whose lock
    /// was granted is left alone, so it is settled, too.
    pub(crate) fn is_settled(&self, granted: bool) -> bool {
        let list = BlockedList::lock(self.own.lockd);
        let ours = 1 + usize::from(self.taken.is_some());
        (!granted && list.is_granted(&self.own)) || list.is_without(&self.own, ours)
    }

    /// If we took the block from its list, lets lockd try again at once: it will wait again, or
    /// get its lock. Not if its lock was granted meanwhile, as lockd has then called the client,
    /// nor if the client has restarted. May sleep.
    pub(crate) fn unpark(mut self) {
        let Some(taken) = self.taken.take() else {
            return;
        };
        let mut list = BlockedList::lock(self.own.lockd);
        self.taken = if list.is_granted(&self.own) || self.host().restarts() != self.restarts {
            Some(taken)
        } else {
            list.put_first(taken)
        };
    }
}
