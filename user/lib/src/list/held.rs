// SPDX-License-Identifier: GPL-2.0
//! How much all clients of a list held, by which a release is compared with the list.

use super::or_dash;
use crate::control::Released;
use std::fmt;
use std::str::FromStr;

/// How much was held, in all. A number is `None` if not all could be counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Held {
    /// NLM's locked ranges.
    pub locks: Option<u64>,
    /// NLM's shares.
    pub shares: Option<u64>,
    /// NFSv4's open files, by owner.
    pub nfs4_opens: Option<u64>,
    /// NFSv4's locked ranges.
    pub nfs4_locks: Option<u64>,
    /// The amount of all of it, modulo 2^48.
    pub amount: Option<u64>,
}

impl Held {
    /// What was released.
    pub fn of_release(released: &Released) -> Self {
        Self {
            locks: released.locks,
            shares: released.shares,
            nfs4_opens: released.nfs4_opens,
            nfs4_locks: released.nfs4_locks,
            amount: released.holds.map(|amount| amount.checksum()),
        }
    }

    /// Was the same released? What could not be counted is never the same.
    pub fn is(&self, other: &Self) -> bool {
        self == other && self.numbers().iter().all(Option::is_some)
    }

    fn numbers(&self) -> [Option<u64>; 5] {
        [
            self.locks,
            self.shares,
            self.nfs4_opens,
            self.nfs4_locks,
            self.amount,
        ]
    }
}

/// Five numbers or dashes.
impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.numbers().map(or_dash).join(" "))
    }
}

impl FromStr for Held {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let number = |word: &str| match word {
            "-" => Ok(None),
            _ => word.parse().map(Some).map_err(|_| ()),
        };
        let numbers: Vec<_> = text
            .split(' ')
            .take(6)
            .map(number)
            .collect::<Result<_, _>>()?;
        let [locks, shares, nfs4_opens, nfs4_locks, amount] = numbers[..] else {
            return Err(());
        };
        Ok(Self {
            locks,
            shares,
            nfs4_opens,
            nfs4_locks,
            amount,
        })
    }
}
