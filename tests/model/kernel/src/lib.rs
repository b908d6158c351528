// SPDX-License-Identifier: GPL-2.0

//! The items of the kernel crate that the module's concurrent files use, over shuttle.
//!
//! Names, signatures and errors are those of `rust/kernel` in the kernel source.

pub mod rbtree;
pub mod sync;
pub mod time;
pub mod uaccess;
pub mod workqueue;

pub use host::{fail_after, never_fail, AllocError, Error, Flags};

/// C's types.
pub mod ffi {
    pub use core::ffi::*;
}

/// The numbers that the module takes from C.
pub mod bindings {
    pub const EOPNOTSUPP: u32 = 95;
}

/// What each file of the module imports.
pub mod prelude {
    pub use crate::sync::InPlaceInit;
    pub use crate::{pr_err, pr_info, pr_warn};
    pub use core::pin::Pin;
    pub use host::prelude::*;
    pub use pinned_init::{pin_data, pin_init, pinned_drop, try_pin_init, PinInit};
}

/// The log is not looked at.
#[macro_export]
macro_rules! pr_info {
    ($($arg:tt)*) => {
        let _ = format_args!($($arg)*);
    };
}

pub use pr_info as pr_warn;
pub use pr_info as pr_err;
