// SPDX-License-Identifier: GPL-2.0

//! The core library, with atomics at each of which another thread may go on.

pub use core::*;

/// As in core.
pub mod sync {
    pub use core::sync::*;

    /// Those of shuttle: all orderings are sequentially consistent there.
    pub mod atomic {
        pub use shuttle::sync::atomic::*;
    }
}
