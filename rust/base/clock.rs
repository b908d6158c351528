// SPDX-License-Identifier: GPL-2.0

//! Time: for limits that are long the kernel's tick, as reading a clock can cost more than an upcall where the
//! clock is a device (a virtual machine's HPET), and else the clock.

use kernel::bindings;
use kernel::time::{BootTime, ClockSource, Jiffies, Monotonic, RealTime};

/// Nanoseconds since boot, suspension included. May be called anywhere but in an NMI.
pub(crate) fn since_boot() -> i64 {
    BootTime::ktime_get()
}

/// Nanoseconds since boot, without suspension: sunrpc notes so when a request begins. May be called anywhere but in an NMI.
pub(crate) fn uptime() -> i64 {
    Monotonic::ktime_get()
}

/// Seconds since 1970, as the machine's clock says. May be called anywhere but in an NMI.
pub(crate) fn since_1970() -> u64 {
    (RealTime::ktime_get() / 1_000_000_000).unsigned_abs()
}

/// A moment, as exact as the tick: 1 to 10 ms.
#[derive(Clone, Copy)]
pub(crate) struct Moment(Jiffies);

impl Moment {
    /// Now. May be called anywhere.
    pub(crate) fn now() -> Self {
        // SAFETY: The kernel's own counter, which is always there, and read in one go.
        Moment(unsafe { (&raw const bindings::jiffies).read_volatile() })
    }

    /// How long ago it was, in milliseconds. May be called anywhere.
    pub(crate) fn elapsed(self) -> u64 {
        let jiffies = Self::now().0.wrapping_sub(self.0);
        // SAFETY: It takes every number, and looks at nothing else.
        unsafe { bindings::jiffies64_to_msecs(jiffies as u64) }
    }

    /// What is left of `time` milliseconds from this moment on. May be called anywhere.
    pub(crate) fn left(self, time: u32) -> u32 {
        u32::try_from(u64::from(time).saturating_sub(self.elapsed())).unwrap_or(0)
    }
}
