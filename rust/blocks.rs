// SPDX-License-Identifier: GPL-2.0

//! Blocked locks: requests that lockd grants when they can be, with a callback to the client.
//!
//! C source: `fs/lockd/svclock.c`. A block is in its file's list until its last reference goes;
//! while it waits for the lock, or for the client's answer to the callback, it is also in
//! `nlm_blocked`, which has a reference. lockd's thread works on blocks from that list.
//!
//! To *park* a block is to take it from that list and to stop it from waiting in the VFS.

use crate::lockd::{Host, Lockd, NlmFile};
use crate::private::{self, nlm_block};
use crate::raw::{is_unlinked, link_first, list_entries, unlink, MutexGuard, SpinGuard};
use core::ptr::{addr_of_mut, NonNull};
use kernel::bindings;
use kernel::ffi::c_void;
use kernel::prelude::*;
use kernel::time::Jiffies;

/// A reference to a block. Dropping it may sleep, and takes its file's lock.
pub(crate) struct Block(NonNull<nlm_block>);

/// The lock of `nlm_blocked`.
fn blocked_lock() -> SpinGuard {
    // SAFETY: lockd is loaded, as there are blocks; its data stay with it.
    unsafe { SpinGuard::new(&raw mut private::nlm_blocked_lock) }
}

impl NlmFile {
    /// The blocked locks of this file whose host is wanted. May sleep.
    pub(crate) fn blocks(&self, want: impl Fn(Host<'_>) -> bool) -> Result<KVec<Block>> {
        let mut blocks = KVec::new();
        let file = self.as_ptr();
        // SAFETY: The file is pinned. Its lock keeps the blocks in its list: one that loses its
        // last reference is removed under it (`nlmsvc_free_block()`).
        unsafe {
            let _lock = MutexGuard::new(addr_of_mut!((*file).f_mutex));
            for node in list_entries(addr_of_mut!((*file).f_blocks)) {
                let block: *mut nlm_block = kernel::container_of!(node, nlm_block, b_flist);
                if want(Host::new((*block).b_host)) {
                    // The room first, as a block cannot be dropped under the lock.
                    if let Err(e) = blocks.reserve(1, GFP_KERNEL) {
                        drop(_lock);
                        return Err(e.into());
                    }
                    bindings::refcount_inc(addr_of_mut!((*block).b_count.refcount).cast());
                    blocks.push(Block(NonNull::new_unchecked(block)), GFP_KERNEL)?;
                }
            }
        }
        Ok(blocks)
    }
}

impl Block {
    fn as_ptr(&self) -> *mut nlm_block {
        self.0.as_ptr()
    }

    /// Whose it is.
    pub(crate) fn host(&self) -> Host<'_> {
        // SAFETY: A block has a reference to its host.
        unsafe { Host::new((*self.as_ptr()).b_host) }
    }

    /// Is it one of this file's?
    pub(crate) fn is_of(&self, file: &NlmFile) -> bool {
        // SAFETY: Set when the block is made, and never changed.
        unsafe { (*self.as_ptr()).b_file == file.as_ptr() }
    }

    fn listed(&self) -> *mut private::list_head {
        // SAFETY: The address of a field of a valid structure.
        unsafe { addr_of_mut!((*self.as_ptr()).b_list) }
    }

    /// Parks the block, and gives up a callback that is on its way. lockd, which may work on it
    /// at this moment, may put it back. May sleep.
    pub(crate) fn park(&self, _lockd: &Lockd) {
        // SAFETY: The block has its call. First the VFS, which then has nothing to tell lockd.
        unsafe {
            let call = (*self.as_ptr()).b_call;
            private::locks_delete_block(addr_of_mut!((*call).a_args.lock.fl));
        }
        let listed = {
            let _lock = blocked_lock();
            // SAFETY: The list's lock is held.
            unsafe {
                let listed = !is_unlinked(self.listed());
                if listed {
                    unlink(self.listed());
                }
                listed
            }
        };
        if listed {
            // The list's reference.
            drop(Block(self.0));
        }
        self.cancel_callback();
    }

    /// Gives up a callback that is on its way to the client.
    fn cancel_callback(&self) {
        // SAFETY: The block has its host and its call. The host's RPC client is made under its
        // mutex, and goes with the host or when lockd stops, which the caller excludes.
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

    /// Is it parked, and nobody else works on it?
    pub(crate) fn is_parked(&self) -> bool {
        let _lock = blocked_lock();
        // SAFETY: The list's lock is held; the count is read in one go.
        unsafe {
            let count = addr_of_mut!((*self.as_ptr()).b_count.refcount.refs.counter);
            is_unlinked(self.listed()) && count.read_volatile() == 1
        }
    }

    /// Lets lockd try again at once, which makes the block wait again. Does not sleep.
    pub(crate) fn retry(self) {
        let lock = blocked_lock();
        // SAFETY: The list's lock is held; the list is sorted by time, and no time is before
        // now. The daemon is lockd's service, which runs.
        unsafe {
            let block = self.as_ptr();
            if is_unlinked(self.listed()) {
                let now: Jiffies = (&raw const bindings::jiffies).read_volatile();
                (*block).b_when = now;
                link_first(self.listed(), &raw mut private::nlm_blocked);
                private::svc_wake_up((*block).b_daemon);
                // Our reference is the list's now.
                core::mem::forget(self);
            }
        }
        drop(lock);
    }
}

/// Is this the task of the call `call`?
///
/// # Safety
///
/// For `rpc_cancel_tasks()`.
unsafe extern "C" fn is_call(task: *const private::rpc_task, call: *const c_void) -> bool {
    // SAFETY: The caller's task is valid.
    unsafe { core::ptr::eq((*task).tk_calldata, call) }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: The reference is ours. As in `nlmsvc_release_block()`: the last one goes under
        // the file's lock, which `nlmsvc_free_block()` lets go of.
        unsafe {
            let count = addr_of_mut!((*self.as_ptr()).b_count);
            let lock = addr_of_mut!((*(*self.as_ptr()).b_file).f_mutex);
            if private::refcount_dec_and_mutex_lock(addr_of_mut!((*count).refcount), lock) {
                private::nlmsvc_free_block(count);
            }
        }
    }
}
