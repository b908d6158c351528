// SPDX-License-Identifier: GPL-2.0

//! Do all threads of nfsd and lockd run our functions?
//!
//! While livepatch is in transition, which may last as long as one task sleeps in a function that is replaced, some
//! threads run the kernel's functions and others run ours. What a command says would then be kept by some only, so
//! commands are not taken.
//!
//! ```text
//!   pre_patch ---> transition ---> post_patch       insmod, or nfsd is loaded: from post_patch on
//!                       |              |
//!                  post_unpatch    pre_unpatch      switched off, or nfsd is unloaded: until pre_unpatch
//! ```
//!
//! A transition that is reversed midway ends in the other of these callbacks, without a "pre" of its own: one to
//! switch on in `post_unpatch`, one to switch off in `post_patch` again. One that is forced ends as if all threads
//! had left the functions; those that have not keep to the old ones until they do.
//!
//! nfsd's callbacks are those that count: the other modules are loaded before it and unloaded after it, and livepatch
//! calls `post_patch` of all of them when the transition of all is over.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use kernel::prelude::*;

static IN_FORCE: AtomicBool = AtomicBool::new(false);
/// How often that has changed.
static CHANGES: AtomicU64 = AtomicU64::new(0);

/// Notes that all threads run our functions, or that this ends. For livepatch's callbacks.
pub(crate) fn set(in_force: bool) {
    IN_FORCE.store(in_force, Ordering::Release);
    CHANGES.fetch_add(1, Ordering::AcqRel);
}

/// How often that was noted. Does not sleep.
pub(crate) fn changes() -> u64 {
    CHANGES.load(Ordering::Acquire)
}

/// Do all threads run our functions? Does not sleep.
pub(crate) fn is() -> bool {
    IN_FORCE.load(Ordering::Acquire)
}

/// Fails with `ENODEV` unless all threads run our functions. Does not sleep.
pub(crate) fn check() -> Result {
    if is() {
        Ok(())
    } else {
        Err(ENODEV)
    }
}
