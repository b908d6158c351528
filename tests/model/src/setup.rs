// SPDX-License-Identifier: GPL-2.0

//! As `rust/base/setup.rs`.

use std::sync::atomic::{AtomicBool, Ordering};

pub(crate) struct Setup;

pub(crate) struct Once(AtomicBool);

impl Once {
    pub(crate) const fn new() -> Self {
        Once(AtomicBool::new(false))
    }

    pub(crate) fn is_first(&self) -> bool {
        !self.0.swap(true, Ordering::Relaxed)
    }
}
