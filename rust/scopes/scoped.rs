// SPDX-License-Identifier: GPL-2.0

//! The grace period of one scope.
//!
//! Times are nanoseconds of the kernel's boot time, which is never set back.
//!
//! This file makes no kernel calls; it is also compiled and tested on the host.

use crate::scopes::scope::{Fsid, Scope};

/// A scope's grace period goes on after a reclaim for a quarter of its length, and for so long at most, in nanoseconds:
/// who reclaims many locks sends the next one by then. nfsd prolongs its own, up to two leases
/// (`clients_still_reclaiming()`).
const MAX_MIDST: i64 = 15_000_000_000;

/// One scope.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scoped {
    /// Its net namespace.
    pub(crate) net: u64,
    /// The scope.
    pub(crate) scope: Scope,
    /// When it ends, or 0 if it never began, or was ended.
    pub(crate) until: i64,
    /// It does not last longer than this, whoever reclaims.
    limit: i64,
    /// For so long it goes on after each reclaim.
    midst: i64,
    /// It is held so many times.
    pub(crate) holds: u32,
    /// Somebody has found the export since the grace period began.
    pub(crate) found: bool,
    /// Halves of reclaims that were let through.
    pub(crate) half_reclaims: u64,
    /// Requests that were refused.
    pub(crate) refused: u64,
    /// The device of its file system, if local processes are kept out.
    pub(crate) local: Option<Fsid>,
}

impl Scoped {
    /// A scope that is not in grace.
    pub(crate) fn new(net: u64, scope: &Scope) -> Self {
        Scoped {
            net,
            scope: *scope,
            until: 0,
            limit: 0,
            midst: 0,
            holds: 0,
            found: false,
            half_reclaims: 0,
            refused: 0,
            local: None,
        }
    }

    /// Has a command ended it, or none begun it, and is it not held either?
    pub(crate) fn is_dormant(&self) -> bool {
        self.until == 0 && self.holds == 0
    }

    /// Puts it in grace until a time, or for longer if it is. Who reclaims when that time has nearly come keeps it in
    /// grace for a while, up to twice as long as was said.
    pub(crate) fn start(&mut self, now: i64, until: i64) {
        if now >= self.until {
            (self.half_reclaims, self.refused) = (0, 0);
            (self.limit, self.midst, self.found) = (0, 0, false);
        }
        let length = until - now;
        self.limit = self.limit.max(until.saturating_add(length));
        self.midst = self.midst.max((length / 4).min(MAX_MIDST));
        self.until = self.until.max(until);
    }

    /// Counts a reclaim, for which nfsd or lockd asks so many times.
    pub(crate) fn reclaim(&mut self, now: i64, asks: u32) {
        self.half_reclaims += u64::from(2 / asks.max(1));
        // One that is only held is in no grace period of its own.
        if now < self.until {
            let until = now.saturating_add(self.midst).min(self.limit);
            self.until = self.until.max(until);
        }
    }

    /// Is it in grace, or held?
    pub(crate) fn in_grace(&self, now: i64) -> bool {
        self.holds > 0 || now < self.until
    }

    /// Nanoseconds to go, or none if the scope is only held.
    pub(crate) fn left(&self, now: i64) -> i64 {
        (self.until - now).max(0)
    }

    /// Reclaims that were let through.
    pub(crate) fn reclaims(&self) -> u64 {
        self.half_reclaims / 2
    }
}
