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
use crate::base::raw::{is_unlinked, link_first, list_entries, unlink, MutexGuard, SpinGuard};
use crate::nlm::host::Host;
use crate::nlm::lockd::{Lockd, NlmFile};
use core::ptr::{addr_of_mut, NonNull};
use core::sync::atomic::{AtomicBool, Ordering};
use kernel::bindings;
use kernel::ffi::c_void;
use kernel::prelude::*;
use kernel::time::Jiffies;

/// A reference to a block. Dropping it may sleep, and takes its file's lock.
pub(crate) struct Block {
    raw: NonNull<nlm_block>,
    /// [`Host::restarts`] when it was found.
    restarts: u32,
    /// We took it from `nlm_blocked`.
    taken: AtomicBool,
}

/// The lock of `nlm_blocked`.
fn blocked_lock() -> SpinGuard {
    // SAFETY: lockd is loaded, as there are blocks; its data stay with it.
    unsafe { SpinGuard::new(&raw mut private::nlm_blocked_lock) }
}

impl NlmFile {
    /// The blocked locks of this file whose host is wanted. May sleep.
    pub(crate) fn blocks(&self, want: impl Fn(Host<'_>) -> bool) -> Result<KVec<Block>> {
        let mut blocks = KVec::new();
        // Its lock keeps the blocks in its list: one that loses its last reference is removed
        // under it (`nlmsvc_free_block()`).
        let lock = self.lock();
        // SAFETY: The list changes under the file's lock, which is held.
        for node in unsafe { list_entries(self.block_list()) } {
            // SAFETY: Each node is in a block, which stays and keeps its last reference while the
            // file's lock is held, and has a host.
            unsafe {
                let raw: *mut nlm_block = kernel::container_of!(node, nlm_block, b_flist);
                let host = Host::new((*raw).b_host);
                if !want(host) {
                    continue;
                }
                // The room first, as a block cannot be dropped under the lock.
                if let Err(e) = blocks.reserve(1, GFP_KERNEL) {
                    drop(lock);
                    return Err(e.into());
                }
                bindings::refcount_inc(addr_of_mut!((*raw).b_count.refcount).cast());
                let block = Block {
                    raw: NonNull::new_unchecked(raw),
                    restarts: host.restarts(),
                    taken: AtomicBool::new(false),
                };
                blocks.push(block, GFP_KERNEL)?;
            }
        }
        drop(lock);
        Ok(blocks)
    }
}

impl Block {
    fn as_ptr(&self) -> *mut nlm_block {
        self.raw.as_ptr()
    }

    /// Whose it is.
    pub(crate) fn host(&self) -> Host<'_> {
        // SAFETY: We have a reference to the block, and it has one to its host, which never changes.
        unsafe { Host::new((*self.as_ptr()).b_host) }
    }

    fn listed(&self) -> *mut private::list_head {
        // SAFETY: We have a reference to the block; the address of a field.
        unsafe { addr_of_mut!((*self.as_ptr()).b_list) }
    }

    /// Was the lock granted? The block then waits for the client's answer to the callback, which
    /// must find it. lockd says so before it puts the block on `nlm_blocked` again, whose lock is
    /// held.
    fn is_granted(&self, _list: &SpinGuard) -> bool {
        // SAFETY: We have a reference to the block; read in one go.
        unsafe { addr_of_mut!((*self.as_ptr()).b_granted).read_volatile() != 0 }
    }

    /// No more waiting in the VFS, which then has nothing to tell lockd. Does not sleep.
    fn stop_waiting(&self) {
        // SAFETY: We have a reference to the block, which has its call until it is freed; the lock in
        // it was prepared with it, and may be in no list.
        unsafe {
            let call = (*self.as_ptr()).b_call;
            private::locks_delete_block(addr_of_mut!((*call).a_args.lock.fl));
        }
    }

    /// Parks the block; with `granted` also one whose lock was granted, and gives up a callback
    /// that is on its way. lockd, which may work on it at this moment, may put it back. May sleep.
    pub(crate) fn park(&self, _lockd: &Lockd<'_>, granted: bool) {
        self.stop_waiting();
        let listed = {
            let list = blocked_lock();
            // SAFETY: We have a reference to the block, and the list's lock is held.
            unsafe {
                let take = !is_unlinked(self.listed()) && (granted || !self.is_granted(&list));
                if take {
                    unlink(self.listed());
                }
                take
            }
        };
        if listed && self.taken.swap(true, Ordering::Relaxed) {
            // The list's reference, which lockd took again after the one that we have.
            self.put();
        }
        if granted {
            self.cancel_callback();
        }
    }

    /// Gives up a callback that is on its way to the client.
    fn cancel_callback(&self) {
        // SAFETY: The block has its host and its call. The host's RPC client is made under its
        // mutex, which is not held here, and goes with the host or when lockd stops, which the caller
        // excludes. `is_call()` takes any task, and compares an address.
        unsafe {
            let block = self.as_ptr();
            let host = (*block).b_host;
            let client = {
                let _lock = MutexGuard::new(addr_of_mut!((*host).h_mutex));
                (*host).h_rpcclnt
            };
            if !client.is_null() {
                let call: *const c_void = (*block).b_call.cast();
                private::rpc_cancel_tasks(client, EIO.to_errno(), Some(is_call), call);
            }
        }
    }

    /// Is it parked, or ended, and does nobody else work on it? Without `granted`, one whose lock
    /// was granted is left alone, so it is settled, too.
    pub(crate) fn is_settled(&self, granted: bool) -> bool {
        let own = 1 + i32::from(self.taken.load(Ordering::Relaxed));
        let list = blocked_lock();
        if !granted && self.is_granted(&list) {
            return true;
        }
        // SAFETY: We have a reference to the block, and the list's lock is held; the count is read in
        // one go.
        unsafe {
            let count = addr_of_mut!((*self.as_ptr()).b_count.refcount.refs.counter);
            is_unlinked(self.listed()) && count.read_volatile() == own
        }
    }

    /// If we took the block from its list, lets lockd try again at once: it will wait again, or
    /// get its lock. Not if its lock was granted meanwhile, as lockd has then called the client,
    /// nor if the client has restarted. May sleep.
    pub(crate) fn unpark(self) {
        if !self.taken.load(Ordering::Relaxed) {
            return;
        }
        let list = blocked_lock();
        if self.is_granted(&list) || self.host().restarts() != self.restarts {
            return;
        }
        // SAFETY: The list's lock is held; at its front a block is the next that lockd takes.
        // The daemon is lockd's service, which runs.
        unsafe {
            let block = self.as_ptr();
            if is_unlinked(self.listed()) {
                let now: Jiffies = (&raw const bindings::jiffies).read_volatile();
                (*block).b_when = now;
                link_first(self.listed(), &raw mut private::nlm_blocked);
                private::svc_wake_up((*block).b_daemon);
                // The list has its reference again.
                self.taken.store(false, Ordering::Relaxed);
            }
        }
    }

    /// Gives up a reference. May sleep.
    fn put(&self) {
        // SAFETY: The reference is ours, and goes; with the last one the block is ours alone, with all
        // that it has. As `nlmsvc_release_block()` and `nlmsvc_free_block()` do, but that the file is
        // let go of as `NlmFile` does it.
        unsafe {
            let block = self.as_ptr();
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
            drop(NlmFile::from_raw(file));
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
    // SAFETY: By this function's requirement the task is valid; the addresses are only compared.
    unsafe { core::ptr::eq((*task).tk_calldata, call) }
}

impl Drop for Block {
    fn drop(&mut self) {
        if self.taken.load(Ordering::Relaxed) {
            self.put();
        }
        self.put();
    }
}
