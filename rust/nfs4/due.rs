// SPDX-License-Identifier: GPL-2.0

//! What is to come back of the clients of a list, and when to look for it.
//!
//! This file makes no kernel calls; it is also compiled and tested on the host.

use crate::base::amount::Amount;
use crate::nfs4::reclaim_line::NlmClient;
use crate::nfs4::record::OwnedClient;
use crate::scopes::scope::Scope;
use kernel::prelude::*;

/// What is to come back of a client.
#[derive(Clone, Copy, Default)]
pub(crate) struct Due {
    /// How much it held, if that is known.
    pub(crate) holds: Option<Amount>,
    /// It was seen with as much.
    pub(crate) seen: bool,
}

impl Due {
    /// What is said now. Of two amounts it is the greater one.
    pub(crate) fn say(&mut self, holds: Option<Amount>) {
        if holds > self.holds {
            self.holds = holds;
            self.seen = holds.is_some_and(Amount::is_nothing);
        }
    }

    /// It was seen with so much. Returns whether that is enough, for the first time.
    pub(crate) fn see(&mut self, held: Amount) -> bool {
        let before = self.seen;
        self.seen |= self.holds.is_some_and(|holds| holds <= held);
        self.seen && !before
    }

    /// Is it to be looked for?
    pub(crate) fn is_open(&self) -> bool {
        self.holds.is_some() && !self.seen
    }
}

/// When to look again for what has come back. Time goes on in ticks.
#[derive(Default)]
pub(crate) struct Pace {
    reclaims: u64,
    /// Ticks since the last reclaim, or the last change of the list.
    quiet: u32,
}

impl Pace {
    /// Begins anew.
    pub(crate) fn restart(&mut self) {
        self.quiet = 0;
    }

    /// A tick. Is it time for a look? Not while somebody goes on reclaiming: who has all may still be about to ask for
    /// some of it in another way. Then at once, and at longer and longer intervals, as a lock may be granted later.
    pub(crate) fn tick(&mut self, reclaims: u64) -> bool {
        if core::mem::replace(&mut self.reclaims, reclaims) != reclaims {
            self.quiet = 0;
            return false;
        }
        self.quiet = self.quiet.saturating_add(1);
        self.quiet.is_power_of_two()
    }
}

/// Somebody who is to be looked for.
pub(crate) struct Missing<T> {
    /// Its place in the list.
    pub(crate) at: usize,
    /// Who it is.
    pub(crate) client: T,
    /// How much it held.
    pub(crate) holds: Amount,
    /// It has as much.
    pub(crate) found: bool,
}

impl<T> Missing<T> {
    /// Somebody with a place in the list.
    pub(crate) fn new(at: usize, client: T, holds: Amount) -> Self {
        Missing {
            at,
            client,
            holds,
            found: false,
        }
    }
}

/// Who is to be looked for on a list.
pub(crate) struct Wanted {
    /// The list's number.
    pub(crate) number: u64,
    /// The list's scope.
    pub(crate) scope: Scope,
    /// Those of NFSv4.
    pub(crate) nfs4: KVVec<Missing<OwnedClient>>,
    /// Those of NLM.
    pub(crate) nlm: KVVec<Missing<NlmClient>>,
}
