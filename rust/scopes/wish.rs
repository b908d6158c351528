// SPDX-License-Identifier: GPL-2.0

//! What an admin wants of a scope's grace period.
//!
//! This file makes no kernel calls; it is also compiled and tested on the host.

use crate::scopes::scope::Scope;
use kernel::prelude::*;

/// Longest grace period that can be asked for, in seconds; as `nfsv4gracetime` allows.
pub(crate) const MAX_SECONDS: u32 = 3600;

/// What is wanted of a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// A grace period.
    Grace {
        /// Its length, or the usual one; none ends it.
        seconds: Option<u32>,
        /// Processes of this machine are kept out, too.
        local: bool,
    },
    /// Its end when those who are listed for the scope have finished.
    Listed,
}

/// Reads `SCOPE [SECONDS] [local]` or `SCOPE listed`. Fails with `EINVAL`, also where `local` has no meaning: for an
/// address, or an end.
pub(crate) fn parse(line: &str) -> Result<(Scope, Wish)> {
    let mut words = line.split(' ');
    let scope = Scope::parse(words.next().ok_or(EINVAL)?)?;
    let words = [words.next(), words.next(), words.next()];
    let (digits, local) = match words {
        [Some("listed"), None, None] => return Ok((scope, Wish::Listed)),
        [Some("local"), None, None] => (None, true),
        [digits, None, None] => (digits, false),
        [digits, Some("local"), None] => (digits, true),
        _ => return Err(EINVAL),
    };
    let seconds = digits.map(seconds).transpose()?;
    if local && (seconds == Some(0) || matches!(scope, Scope::Server(_))) {
        return Err(EINVAL);
    }
    Ok((scope, Wish::Grace { seconds, local }))
}

/// A number of seconds, with any zeros before it.
fn seconds(digits: &str) -> Result<u32> {
    if !digits.bytes().all(|c| c.is_ascii_digit()) {
        return Err(EINVAL);
    }
    let seconds = digits.parse().map_err(|_| EINVAL)?;
    if seconds > MAX_SECONDS {
        return Err(EINVAL);
    }
    Ok(seconds)
}
