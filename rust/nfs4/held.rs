// SPDX-License-Identifier: GPL-2.0

//! What an NFSv4 client holds of a scope.

use crate::base::amount::Amount;
use crate::nfs4::client_table::Confirmed;
use crate::nfs4::identity;
use crate::nfs4::nfs4_client::Nfs4Client;
use crate::nfs4::stateids::{Kind, PinnedStateid, Stateid, Steps};
use crate::scopes::place::Place;
use crate::scopes::scope::{Fsid, Scope};
use crate::scopes::svc_export::ExportRef;
use core::fmt;
use core::ops::AddAssign;

/// Stateids by kind, but of locks the ranges of bytes.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) opens: usize,
    pub(crate) locks: usize,
    pub(crate) delegations: usize,
    pub(crate) layouts: usize,
    /// How much all of this is.
    amount: Amount,
    /// There were too many locks to look at all of them.
    uncounted: bool,
}

impl Held {
    /// A stateid. Does not sleep; its client's `cl_lock` is held.
    pub(crate) fn of(stateid: &Stateid<'_>, kind: Kind, steps: &mut Steps) -> Held {
        let measured = stateid.measure(steps);
        let (locks, amount) = measured.unwrap_or_default();
        let is = |k: Kind| usize::from(kind == k);
        Held {
            opens: is(Kind::Open),
            locks,
            delegations: is(Kind::Delegation),
            layouts: is(Kind::Layout),
            amount,
            uncounted: measured.is_none(),
        }
    }

    /// Is there none?
    pub(crate) fn is_empty(&self) -> bool {
        *self == Held::default()
    }

    /// How much it is, if that is known.
    pub(crate) fn amount(&self) -> Option<Amount> {
        Some(self.amount).filter(|_| !self.uncounted)
    }

    /// The ranges, to be shown.
    pub(crate) fn shown_locks(&self) -> Shown<usize> {
        Shown(Some(self.locks).filter(|_| !self.uncounted))
    }

    /// How much it is, to be shown.
    pub(crate) fn shown_amount(&self) -> Shown<Amount> {
        Shown(self.amount())
    }
}

/// A number, or a dash if it is not known.
pub(crate) struct Shown<T>(pub(crate) Option<T>);

impl<T: fmt::Display> fmt::Display for Shown<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(number) => number.fmt(f),
            None => f.write_str("-"),
        }
    }
}

impl AddAssign for Held {
    fn add_assign(&mut self, other: Held) {
        self.opens += other.opens;
        self.locks += other.locks;
        self.delegations += other.delegations;
        self.layouts += other.layouts;
        self.amount += other.amount;
        self.uncounted |= other.uncounted;
    }
}

/// Is a stateid of a scope? `all` of its client's are.
pub(crate) fn is_of(stateid: &Stateid<'_>, scope: &Scope, all: bool) -> bool {
    all || scope.covers(&stateid.place())
}

impl Nfs4Client {
    /// Has it come to the floating address that a scope is, as its name says, so that all it holds is of it?
    pub(crate) fn came_to_floating(&self, scope: &Scope) -> bool {
        matches!(scope, Scope::Server(address) if identity::owner(self.name(), *address).is_some())
    }

    /// Calls `f` with what it holds, stateid by stateid, and on which export.
    pub(crate) fn each_held(&self, steps: &mut Steps, mut f: impl FnMut(Fsid, Held)) {
        for stateid in self.lock_state().stateids() {
            let Some(kind) = stateid.kind() else { continue };
            if let Some(fsid) = stateid.place().shown() {
                f(fsid, Held::of(&stateid, kind, steps));
            }
        }
    }
}

impl Confirmed<'_> {
    /// Has it something of a scope?
    pub(crate) fn holds(&self, scope: &Scope) -> bool {
        self.find_held(scope, |_, _| Some(())).is_some()
    }

    /// Has it something that is not of a scope?
    pub(crate) fn holds_elsewhere(&self, scope: &Scope) -> bool {
        let all = self.came_to(scope);
        let state = self.lock_state();
        let mut stateids = state.stateids();
        stateids.any(|stateid| stateid.kind().is_some() && !is_of(&stateid, scope, all))
    }

    /// Counts what it holds of a scope. Does not sleep; takes `cl_lock`, as all of these do.
    pub(crate) fn held(&self, scope: &Scope, steps: &mut Steps) -> Held {
        let mut held = Held::default();
        self.find_held(scope, |stateid, kind| {
            held += Held::of(stateid, kind, steps);
            None::<()>
        });
        held
    }

    /// What `f` finds in what it holds of a scope.
    pub(crate) fn find_held<R>(
        &self,
        scope: &Scope,
        mut f: impl FnMut(&Stateid<'_>, Kind) -> Option<R>,
    ) -> Option<R> {
        let all = self.came_to(scope);
        let state = self.lock_state();
        let mut stateids = state.stateids();
        stateids.find_map(|stateid| {
            let kind = stateid.kind().filter(|_| is_of(&stateid, scope, all))?;
            f(&stateid, kind)
        })
    }

    /// What `pick` finds in where it holds something.
    pub(crate) fn find_place<R>(&self, pick: impl Fn(&Place) -> Option<R>) -> Option<R> {
        let state = self.lock_state();
        let mut stateids = state.stateids();
        stateids.find_map(|stateid| stateid.kind().and_then(|_| pick(&stateid.place())))
    }

    /// Has it a stateid that is no more, but has not let go of an export of a scope?
    pub(crate) fn pins(&self, scope: &Scope) -> bool {
        let all = self.came_to(scope);
        let state = self.lock_state();
        let mut stateids = state.stateids();
        stateids.any(|stateid| stateid.pins() && is_of(&stateid, scope, all))
    }

    /// Has such stateids let go of their exports, which are the caller's then: one of a file that was closed
    /// keeps it until the owner closes another one (NFSv4.0, `oo_last_closed_stid`), one that was revoked
    /// until the client frees it (`drop_stid_export()` in `fs/nfsd/nfs4state.c` does this for some).
    ///
    /// Begins with a stateid's number; returns the one to go on with once there is room in `exports`, unless that was
    /// all.
    pub(crate) fn take_pins(
        &self,
        scope: &Scope,
        from: usize,
        exports: &mut [Option<ExportRef>],
    ) -> Option<usize> {
        let all = self.came_to(scope);
        let state = self.lock_state();
        let mut stateids = state.stateids_from(from);
        for export in exports {
            let found = stateids.find(|(_, id)| id.pins() && is_of(id, scope, all));
            *export = found?.1.take_export();
        }
        stateids.next().map(|(number, _)| number)
    }

    /// The first stateid of a scope from a number on, to be revoked: the stateid, what it is, and the number to go on with.
    /// `client` is this one, for longer than its server's lock is held.
    pub(crate) fn first_to_revoke<'k>(
        &self,
        client: &'k Nfs4Client,
        scope: &Scope,
        from: usize,
    ) -> Option<(PinnedStateid<'k>, Held, usize)> {
        let mut steps = Steps::of_client();
        let all = self.came_to(scope);
        let state = self.lock_state();
        let mut stateids = state.stateids_from(from);
        stateids.find_map(|(number, stateid)| {
            let kind = stateid.kind().filter(|_| is_of(&stateid, scope, all))?;
            let pinned = stateid.pin(client)?;
            let held = Held::of(&stateid, kind, &mut steps);
            stateid.leave_owner();
            Some((pinned, held, number + 1))
        })
    }

    /// Has it come to the address that the scope is, so that all it holds is of it? That is known of
    /// one that came to a floating address, by its name, and with NFSv4.0, if it has callbacks.
    fn came_to(&self, scope: &Scope) -> bool {
        let is_of_it =
            |address| self.minor_version() == 0 && self.server_address() == Some(address);
        self.came_to_floating(scope)
            || matches!(scope, Scope::Server(address) if is_of_it(*address))
    }
}
