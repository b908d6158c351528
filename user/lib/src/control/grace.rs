// SPDX-License-Identifier: GPL-2.0
//! `fsid_grace`: the scopes in grace (`rust/control/fsid_grace.rs`).

use crate::scope::Scope;

/// A scope in grace.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Grace {
    /// The scope.
    pub scope: Scope,
    /// How long it is still in grace, in seconds, unless clients reclaim.
    pub left: u64,
    /// Reclaims that were let through.
    pub reclaims: u64,
    /// Requests that were told to wait.
    pub refused: u64,
    /// Processes of this machine are kept out, too.
    pub local: bool,
}

impl Grace {
    /// `SCOPE left SECONDS reclaims NUMBER refused NUMBER [local]`
    pub(super) fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let scope = words.next()?.parse().ok()?;
        let mut number = |name| match words.next() {
            Some(word) if word == name => words.next()?.parse().ok(),
            _ => None,
        };
        Some(Self {
            scope,
            left: number("left")?,
            reclaims: number("reclaims")?,
            refused: number("refused")?,
            local: words.any(|word| word == "local"),
        })
    }
}
