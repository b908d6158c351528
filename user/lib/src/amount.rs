// SPDX-License-Identifier: GPL-2.0
//! How much a client holds: one number, by which it is known that all of it is back.
//!
//! One for each byte of each locked range, and for each open and share one and one more for each of
//! reading and writing that it wants and that it denies (`rust/base/amount.rs`). The module writes it
//! in hexadecimal digits.

use std::fmt;
use std::iter::Sum;
use std::ops::Add;
use std::str::FromStr;

/// The digits that an amount is written with at most.
const DIGITS: usize = 32;

/// An amount. Sums stop at the greatest one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Amount(u128);

/// This is no amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no amount: one has 1 to 32 hexadecimal digits")]
pub struct NoAmount(String);

impl Amount {
    /// Its last 48 bits: of those, a list has the sum for all clients, so that every program can add
    /// them up, also one that has floating-point numbers only.
    pub fn checksum(self) -> u64 {
        (self.0 & ((1 << 48) - 1)) as u64
    }
}

impl From<u128> for Amount {
    fn from(amount: u128) -> Self {
        Self(amount)
    }
}

impl Add for Amount {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sum for Amount {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::default(), Add::add)
    }
}

impl FromStr for Amount {
    type Err = NoAmount;

    fn from_str(digits: &str) -> Result<Self, NoAmount> {
        let refused = || NoAmount(digits.to_owned());
        if digits.len() > DIGITS || digits.starts_with('+') {
            return Err(refused());
        }
        u128::from_str_radix(digits, 16)
            .map(Self)
            .map_err(|_| refused())
    }
}

/// In hexadecimal digits, without leading zeros.
impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// In hexadecimal digits: a number of JSON has no room for it.
impl serde::Serialize for Amount {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn no_amounts() {
        for text in [
            "",
            "g",
            "-",
            "-1",
            "+1",
            "0x1",
            " 1",
            "1 ",
            &"f".repeat(33),
            "é",
        ] {
            assert!(text.parse::<Amount>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn sums_stop_and_checksums_wrap() {
        let all: Amount = "f".repeat(32).parse().unwrap();
        assert_eq!(all + Amount(1), all);
        assert_eq!(all.checksum(), 0xffff_ffff_ffff);
        assert_eq!(Amount(1 << 48).checksum(), 0);
        assert_eq!([1, 2, 3].map(Amount).into_iter().sum::<Amount>(), Amount(6));
    }

    proptest! {
        #[test]
        fn is_read_as_it_is_written(amount in any::<u128>()) {
            prop_assert_eq!(Amount(amount).to_string().parse(), Ok(Amount(amount)));
        }

        #[test]
        fn any_text_is_taken_or_refused(text in ".*") {
            let _ = text.parse::<Amount>();
        }
    }
}
