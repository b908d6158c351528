// SPDX-License-Identifier: GPL-2.0

//! What this module has one of: its locks, with what they guard.

use crate::base::setup::{Once, Setup};
use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::ops::Deref;
use core::sync::atomic::{AtomicBool, Ordering};
use kernel::prelude::*;

/// A value of which there is one. It is made where it is, during the module's setup, and stays there as long as the module:
/// what it keeps is to be freed by the module's exit.
///
/// Dereferencing it takes a load and a comparison, and panics if it was not made, which is a mistake that the first
/// start of the module shows.
///
/// # Invariants
///
/// Once `made` is set, the value is there, and neither moves nor goes.
pub(crate) struct Global<T> {
    value: UnsafeCell<MaybeUninit<T>>,
    claimed: Once,
    made: AtomicBool,
}

// SAFETY: Who makes the value is one thread, which `claimed` sees to; all others get a reference.
unsafe impl<T: Send + Sync> Sync for Global<T> {}

impl<T> Global<T> {
    /// Without a value.
    pub(crate) const fn new() -> Self {
        Global {
            value: UnsafeCell::new(MaybeUninit::uninit()),
            claimed: Once::new(),
            made: AtomicBool::new(false),
        }
    }

    /// Makes the value, unless there is one.
    pub(crate) fn init(&'static self, _: &Setup, value: impl PinInit<T>) {
        if self.claimed.is_first() {
            // SAFETY: The place is static, nobody else has come so far, and nobody looks at it until `made` is set.
            let place: &'static mut MaybeUninit<T> = unsafe { &mut *self.value.get() };
            let Ok(_) = place.write_pin_init(value);
            // INVARIANT: It is there now, and what is in a static place is never dropped.
            self.made.store(true, Ordering::Release);
        }
    }
}

impl<T> Deref for Global<T> {
    type Target = T;

    fn deref(&self) -> &T {
        assert!(
            self.made.load(Ordering::Acquire),
            "nfsd_ha: used before it was made"
        );
        // SAFETY: It is there, by the type's invariant, and nobody has more than a reference to it.
        unsafe { (*self.value.get()).assume_init_ref() }
    }
}
