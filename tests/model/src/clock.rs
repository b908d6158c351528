// SPDX-License-Identifier: GPL-2.0

//! As `rust/base/clock.rs`, by the model's clock.

use kernel::time::{self, Jiffies};

/// In no unit: no two moments are the same.
pub(crate) fn uptime() -> i64 {
    time::moment()
}

/// The machine's clock is as good as the model's.
pub(crate) fn since_1970() -> u64 {
    time::now() / 1_000
}

#[derive(Clone, Copy)]
pub(crate) struct Moment(Jiffies);

impl Moment {
    pub(crate) fn now() -> Self {
        Moment(time::now())
    }

    pub(crate) fn elapsed(self) -> u64 {
        time::now() - self.0
    }

    pub(crate) fn left(self, time: u32) -> u32 {
        u32::try_from(u64::from(time).saturating_sub(self.elapsed())).unwrap_or(0)
    }
}
