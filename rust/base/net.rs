// SPDX-License-Identifier: GPL-2.0

//! Net namespaces.
//!
//! C source: `include/net/net_namespace.h`, `include/net/netns/generic.h`.

use crate::base::private;
use core::ptr::addr_of_mut;
use core::sync::atomic::{AtomicPtr, Ordering};
use kernel::sync::rcu;

/// A net namespace that nfsd runs in: a pointer to compare, and to hand back to C.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Net(*mut private::net);

// SAFETY: It is only dereferenced in unsafe functions, whose callers say that it is valid.
unsafe impl Send for Net {}
// SAFETY: As for `Send`; it is never changed.
unsafe impl Sync for Net {}

impl Net {
    /// A name for `net`.
    pub(crate) fn new(net: *mut private::net) -> Self {
        Net(net)
    }

    /// The pointer.
    pub(crate) fn as_ptr(self) -> *mut private::net {
        self.0
    }

    /// The number of the namespace, as in `/proc/PID/ns/net` and nfsd's own messages.
    ///
    /// # Safety
    ///
    /// The namespace is alive.
    pub(crate) unsafe fn inum(self) -> u32 {
        // SAFETY: By this function's requirement; the number never changes.
        unsafe { (*self.0).ns.inum }
    }

    /// A number that no other namespace ever has.
    ///
    /// # Safety
    ///
    /// The namespace is alive.
    pub(crate) unsafe fn cookie(self) -> u64 {
        // SAFETY: By this function's requirement; the number never changes.
        unsafe { (*self.0).net_cookie }
    }

    /// What a module keeps for the namespace (`net_generic()`).
    ///
    /// # Safety
    ///
    /// `id` is that of a module that keeps a `T`, and is loaded, and the namespace is alive.
    pub(crate) unsafe fn generic<T>(self, id: u32) -> *mut T {
        let _guard = rcu::read_lock();
        // SAFETY: The array of a live namespace is replaced under RCU, and never without the
        // entries that it had. A module's entry is there while the module is loaded.
        unsafe {
            let generic = (*addr_of_mut!((*self.0).gen).cast::<AtomicPtr<private::net_generic>>())
                .load(Ordering::Acquire);
            *generic.cast::<*mut T>().add(id as usize)
        }
    }
}
