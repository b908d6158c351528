// SPDX-License-Identifier: GPL-2.0

//! The time before the module attaches.

use core::sync::atomic::{AtomicBool, Ordering};

/// Shows that nobody uses anything of this module yet: its locks may be initialised.
///
/// # Invariants
///
/// It exists in the module's init only, until the module attaches: no other thread runs code of the module.
pub(crate) struct Setup(());

impl Setup {
    /// The beginning of it.
    ///
    /// # Safety
    ///
    /// The module's init calls this, once.
    pub(crate) unsafe fn new() -> Self {
        // INVARIANT: Before the module attaches, the kernel knows its init only.
        Setup(())
    }
}

/// Something that is done once.
pub(crate) struct Once(AtomicBool);

impl Once {
    /// It has not been done.
    pub(crate) const fn new() -> Self {
        Once(AtomicBool::new(false))
    }

    /// Is it to be done now? Says so to the first who asks only.
    pub(crate) fn is_first(&self) -> bool {
        !self.0.swap(true, Ordering::Relaxed)
    }
}
