// SPDX-License-Identifier: GPL-2.0

//! How much a client holds: one number, by which it is known that all of it is back.
//!
//! A client reclaims some of what it held at a time, and may cut a range of bytes into several, or take a file with
//! two OPENs that one would do for. So neither requests nor ranges are counted, but what they cover: each byte of
//! each range, and each mode of each open and share. Who holds some of it has less, and who holds as much has all,
//! however it came there.
//!
//! This file makes no kernel calls; it is also compiled and tested on the host.

use core::fmt;
use core::ops::AddAssign;

/// An amount. A range has 2^63 bytes at most, so that there is room for more of them than there can be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Amount(u128);

/// The digits that an amount is written with at most.
const DIGITS: usize = 32;

impl Amount {
    /// That of a locked range, which goes from its first byte to its last.
    pub(crate) fn of_range((first, last): (i64, i64)) -> Self {
        Amount(u128::from(last.abs_diff(first)) + 1)
    }

    /// That of an open or a share: itself, and each bit of what it wants and of what it denies to others.
    pub(crate) fn of_modes(access: u32, deny: u32) -> Self {
        Amount(u128::from(1 + access.count_ones() + deny.count_ones()))
    }

    /// Is it nothing?
    pub(crate) fn is_nothing(self) -> bool {
        self.0 == 0
    }

    /// Reads hexadecimal digits.
    pub(crate) fn parse(digits: &str) -> Option<Self> {
        if !(1..=DIGITS).contains(&digits.len()) {
            return None;
        }
        let digit = |amount: u128, c: char| Some(amount << 4 | u128::from(c.to_digit(16)?));
        digits.chars().try_fold(0, digit).map(Amount)
    }
}

impl AddAssign for Amount {
    fn add_assign(&mut self, other: Amount) {
        self.0 = self.0.saturating_add(other.0);
    }
}

/// In hexadecimal digits, without leading zeros. (The kernel has no division of such numbers.)
impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match ((self.0 >> 64) as u64, self.0 as u64) {
            (0, low) => write!(f, "{low:x}"),
            (high, low) => write!(f, "{high:x}{low:016x}"),
        }
    }
}
