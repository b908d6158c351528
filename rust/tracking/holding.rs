// SPDX-License-Identifier: GPL-2.0

//! Puts on record which clients hold something on which exports, for a daemon that knows holds, and tells it now and then
//! that this is all.
//!
//! ```text
//!   a request ---> hold(): a Hold, before it is granted
//!   the watch ---> what has no hold gets one; what nobody holds any more is Unheld; then AllHeld
//! ```

use crate::nfs4::nfs4_client::{ClientRef, Nfs4Client};
use crate::scopes::exempt;
use crate::scopes::in_grace::{self, Reason};
use crate::scopes::place::ExportId;
use crate::scopes::was_held::WasHeld;
use crate::tracking::changes::Unhold;
use crate::tracking::cld::Version;
use crate::tracking::grants;
use crate::tracking::holds::Row;
use crate::tracking::state::State;
use crate::tracking::tracker::Tracker;
use kernel::prelude::*;
use kernel::sync::Arc;

impl Tracker {
    /// A daemon has sent its records: all holds are to be put on record there, if it knows them. If it has said on which exports
    /// somebody held something, the grace period is for those.
    pub(crate) fn begin_holds(&self, state: &mut State, held: WasHeld, known: bool) {
        // Another one knows what it knew, not what was granted since.
        let known = known && held.is_clear() && !state.is_another && !state.grace_over;
        state.holds.clear();
        grants::forget();
        let is_on = state.version == Version::V3;
        if !is_on {
            state.changes.drop_all_holds();
        }
        // lockd's grace period, in which these come back, may last longer than nfsd's.
        let mut keep = || {
            held.of_nlm().iter().try_for_each(|export| {
                let row = Row::of_hold(&[], export);
                state.changes.hold(row, None)
            })
        };
        // Who has reclaimed may hold something without a hold: so all are waited for, or nobody.
        let is_none = known && !held.any_of_nfs4();
        let known = known && keep().is_ok() && exempt::begin(self.net, held).is_ok();
        if !known {
            exempt::end(self.net);
        }
        state.records.know(known && is_none);
        if is_on {
            // Before: requests that do not ask for holds are waited for.
            in_grace::ask_for(Reason::Holds, true);
        }
        state.all_held.begin(is_on, known);
    }

    /// Something is about to be granted to a client on an export, or to one of NLM. Waits until there is a hold, `limit`
    /// milliseconds at most. Returns whether there is one, and whether it may be granted: without one, only if the daemon does
    /// not take it that there is one, or if it is reclaimed: unless that is in the server's grace period, and may be on record no
    /// more. May sleep.
    pub(crate) fn hold(
        self: &Arc<Self>,
        client: Option<&Nfs4Client>,
        export: &ExportId,
        limit: u32,
        reclaims: bool,
    ) -> (bool, bool) {
        let channel = &self.pipe.handler;
        let owner = client.map(ClientRef::new);
        let row = Row::of_hold(client.map_or(&[], Nfs4Client::name), export);
        let mut state = channel.state();
        if !state.all_held.is_on {
            return (false, true);
        }
        if state.holds.keep(row.name, export, owner) {
            return (true, true);
        }
        // What it reclaims is on record from before, until the daemon is told that the grace period is over; that waits for
        // this.
        let is_before = reclaims && !state.all_held.may_be_over;
        let limit = if is_before { 0 } else { limit };
        let is_owed = is_before && state.grace_done_due;
        let State { holds, changes, .. } = &mut *state;
        let wanted = holds.note(export).and_then(|_| changes.hold(row, owner));
        if wanted.is_ok() {
            let key = state.changes.key(row);
            if is_owed {
                state.changes.owe_one(key, row);
            }
            self.settle(state, key, row, limit);
            state = channel.state();
        }
        let is_held = state.holds.keep(row.name, export, owner);
        // Who reclaims after a take-over does not ask twice.
        let in_server_grace = || {
            let nn = self.nn(&state);
            nn.is_none_or(|nn| nn.is_in_grace(client.is_some()))
        };
        let may_be =
            is_held || is_before || !state.all_held.is_binding() || reclaims && !in_server_grace();
        if !is_held && may_be {
            state.all_held.unrecorded();
        }
        (is_held, may_be)
    }

    /// May something be granted where nobody knows which export it is? May sleep.
    pub(crate) fn may_be_anywhere(&self) -> bool {
        let mut state = self.pipe.handler.state();
        // It is not said again as long as that is so.
        state.all_held.unrecorded();
        !state.all_held.is_binding()
    }

    /// A client is gone, and with it all that it holds. If the daemon `removes` that name, it forgets what the next client of
    /// that name holds, too, which has to be stored again.
    pub(crate) fn drop_holds(
        self: &Arc<Self>,
        state: &mut State,
        name: &[u8],
        owner: ClientRef,
        removes: bool,
    ) -> Result {
        let State {
            holds,
            changes,
            all_held,
            ..
        } = state;
        // In the grace period it may be on record from before, and reclaim again after a crash.
        let how = match (removes, all_held.is_over) {
            (true, _) => Unhold::ByRemove,
            (false, true) => Unhold::Now,
            (false, false) => Unhold::Never,
        };
        for export in holds.known() {
            changes.drop_hold(Row::of_hold(name, export), owner, how);
        }
        holds.forget(name, |export, other| {
            let row = Row::of_hold(name, export);
            match (other == Some(owner), how) {
                (true, Unhold::Now) => changes.unhold(row)?,
                (true, _) => {}
                (false, Unhold::ByRemove) => {
                    changes.hold(row, other)?;
                    all_held.unrecorded();
                    grants::forget();
                }
                (false, _) => return Ok(false),
            }
            self.wake_keeper();
            Ok(true)
        })
    }
}
