// SPDX-License-Identifier: GPL-2.0

//! The end of net namespaces.
//!
//! C source: `include/net/net_namespace.h`.

use crate::base::net::Net;
use crate::base::private::{self, list_head, pernet_operations};
use crate::base::setup::{Once, Setup};
use core::cell::UnsafeCell;
use core::ptr;
use kernel::error::to_result;
use kernel::prelude::*;

/// What wants to know when a namespace ends.
pub(crate) trait NetEnd {
    /// A namespace ends, or this module is about to be unloaded. May sleep.
    fn ended(net: Net<'_>);
}

/// Tells a [`NetEnd`] of it.
pub(crate) struct AtEnd {
    operations: UnsafeCell<pernet_operations>,
    registered: Once,
}

// SAFETY: The kernel's list is what uses the inside, under a lock of its own.
unsafe impl Sync for AtEnd {}

impl AtEnd {
    /// Tells `T`, once registered.
    pub(crate) const fn new<T: NetEnd>() -> Self {
        let operations = pernet_operations {
            list: list_head {
                next: ptr::null_mut(),
                prev: ptr::null_mut(),
            },
            init: None,
            pre_exit: None,
            exit: Some(ended::<T>),
            exit_batch: None,
            exit_rtnl: None,
            id: ptr::null_mut(),
            size: 0,
        };
        AtEnd {
            operations: UnsafeCell::new(operations),
            registered: Once::new(),
        }
    }

    /// Registers it until what is returned is dropped, once. Both may sleep. Fails with `ENOMEM`, and with `EBUSY` if
    /// it was registered before.
    pub(crate) fn register(&'static self, _: &Setup) -> Result<Registered> {
        if !self.registered.is_first() {
            return Err(EBUSY);
        }
        // SAFETY: It is static, and in no list, as this is the first time.
        to_result(unsafe { private::register_pernet_subsys(self.operations.get()) })?;
        // INVARIANT: It is, by now.
        Ok(Registered(self))
    }
}

/// Somebody is told.
///
/// # Invariants
///
/// It is registered.
pub(crate) struct Registered(&'static AtEnd);

impl Drop for Registered {
    fn drop(&mut self) {
        // SAFETY: It is registered, by the type's invariant.
        unsafe { private::unregister_pernet_subsys(self.0.operations.get()) };
    }
}

/// For the kernel's list.
///
/// # Safety
///
/// The namespace is valid.
unsafe extern "C" fn ended<T: NetEnd>(net: *mut private::net) {
    // SAFETY: A namespace that ends is there until all have been told.
    T::ended(unsafe { Net::from_raw(net) });
}
