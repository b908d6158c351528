// SPDX-License-Identifier: GPL-2.0

//! As `rust/base/params.rs`, with values that a schedule chooses.

use std::cell::Cell;

thread_local! {
    static IN_FLIGHT: Cell<usize> = const { Cell::new(128) };
}

/// A time limit, in milliseconds.
pub(crate) const LIMIT: u32 = 1_000;

pub(crate) fn upcall_timeout() -> u32 {
    LIMIT
}

/// How long AllHeld is true, in seconds.
pub(crate) fn holds_valid() -> u32 {
    10
}

pub(crate) fn upcalls_in_flight() -> usize {
    IN_FLIGHT.get()
}

pub(crate) fn set_upcalls_in_flight(n: usize) {
    IN_FLIGHT.set(n);
}
