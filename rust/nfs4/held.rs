// SPDX-License-Identifier: GPL-2.0

//! What an NFSv4 client holds of a scope.

use crate::nfs4::client_table::Confirmed;
use crate::nfs4::identity;
use crate::nfs4::stateids::{Kind, PinnedStateid, Stateid};
use crate::scopes::place::Place;
use crate::scopes::scope::{Fsid, Scope};
use crate::scopes::svc_export::ExportRef;
use core::ops::AddAssign;

/// Stateids, by kind.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) opens: usize,
    pub(crate) locks: usize,
    pub(crate) delegations: usize,
    pub(crate) layouts: usize,
}

impl Held {
    /// Is there none?
    pub(crate) fn is_empty(&self) -> bool {
        *self == Held::default()
    }
}

impl AddAssign for Held {
    fn add_assign(&mut self, other: Held) {
        self.opens += other.opens;
        self.locks += other.locks;
        self.delegations += other.delegations;
        self.layouts += other.layouts;
    }
}

impl From<Kind> for Held {
    fn from(kind: Kind) -> Held {
        let mut one = Held::default();
        match kind {
            Kind::Open => one.opens = 1,
            Kind::Lock => one.locks = 1,
            Kind::Delegation => one.delegations = 1,
            Kind::Layout => one.layouts = 1,
        }
        one
    }
}

/// Is a stateid of a scope? `all` of its client's are.
fn is_of(stateid: &Stateid<'_>, scope: &Scope, all: bool) -> bool {
    all || scope.covers(&stateid.place())
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
    pub(crate) fn held(&self, scope: &Scope) -> Held {
        let mut held = Held::default();
        self.find_held(scope, |_, kind| {
            held += Held::from(kind);
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

    /// The first stateid of a scope from a number on: the stateid, what it is, and the number to go on with.
    pub(crate) fn first_held(
        &self,
        scope: &Scope,
        from: usize,
    ) -> Option<(PinnedStateid, Kind, usize)> {
        let all = self.came_to(scope);
        let state = self.lock_state();
        let mut stateids = state.stateids_from(from);
        stateids.find_map(|(number, stateid)| {
            let kind = stateid.kind().filter(|_| is_of(&stateid, scope, all))?;
            Some((stateid.pin(), kind, number + 1))
        })
    }

    /// Calls `f` with what it holds, stateid by stateid, and on which export.
    pub(crate) fn each_held(&self, mut f: impl FnMut(Fsid, Held)) {
        for stateid in self.lock_state().stateids() {
            if let (Some(kind), Some(fsid)) = (stateid.kind(), stateid.place().shown()) {
                f(fsid, kind.into());
            }
        }
    }

    /// Has it come to the address that the scope is, so that all it holds is of it? That is known of
    /// one that came to a floating address, by its name, and with NFSv4.0, if it has callbacks.
    fn came_to(&self, scope: &Scope) -> bool {
        let Scope::Server(address) = scope else {
            return false;
        };
        identity::owner(self.name(), *address).is_some()
            || self.minor_version() == 0 && self.server_address() == Some(*address)
    }
}
