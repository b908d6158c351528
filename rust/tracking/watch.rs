// SPDX-License-Identifier: GPL-2.0

//! The watch over holds: what clients hold is looked at now and then, and the daemon is told that all of it is on record.
//!
//! A work item, which is there as long as the server and a daemon that knows holds.

use crate::base::clock::{since_1970, Moment};
use crate::base::in_force;
use crate::base::params;
use crate::nfs4::formers;
use crate::nfs4::look::{Look, Step};
use crate::nfs4::nfs4_client::ClientRef;
use crate::scopes::exempt;
use crate::scopes::place::ExportId;
use crate::tracking::all_held::Began;
use crate::tracking::channel::{Channel, Locked};
use crate::tracking::cld::{self, About, Command, Version};
use crate::tracking::elsewhere;
use crate::tracking::grants;
use crate::tracking::holds::{Leave, Row};
use crate::tracking::state::{Stage, State};
use crate::tracking::tracker::{Tracker, WATCH};
use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::workqueue::{self, impl_has_work, WorkItem};

/// How often the watch looks whether there is something to do, in milliseconds.
const TICK: u32 = 2_000;
/// How often it looks whether holds are used, in milliseconds. lockd asks for a share before it notes for whom: it takes less.
const LOOK: u64 = 10_000;
/// It is idle for so many times as long as a look takes, at least.
const IDLE: u64 = 50;
/// How long a server that stops waits for the daemon, in milliseconds.
const LAST_WORD: u32 = 2_000;

impl_has_work! {
    impl HasWork<Self, WATCH> for Tracker { self.watch }
}

impl WorkItem<WATCH> for Tracker {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        this.keep_watch();
    }
}

impl Tracker {
    /// Has the watch begin, if it does not go on already. Does not sleep.
    pub(crate) fn watch(self: &Arc<Self>) {
        let _ = workqueue::system_long().enqueue::<Arc<Self>, WATCH>(self.clone());
    }

    /// Tells the daemon that all is stored, and will be: until `until`, or for as long as it is valid. Returns whether that
    /// worked.
    fn say_all_held<'a>(
        &'a self,
        mut state: Locked<'a>,
        until: Option<u64>,
        limit: u32,
    ) -> (Locked<'a>, bool) {
        let valid = state.all_held.say();
        let about = About {
            epoch: state.epoch,
            until: until.or_else(|| Some(since_1970() + valid)),
            ..About::default()
        };
        let (mut state, result) = match cld::encode(state.version, Command::AllHeld, &about) {
            Ok(message) => Channel::call(&self.pipe, state, Command::AllHeld, message, limit),
            Err(e) => (state, Err(e)),
        };
        if result.is_ok() {
            state.all_held.hear(valid);
        }
        (state, result.is_ok())
    }

    /// The server stops: what is held does not change any more. May sleep.
    pub(crate) fn last_word(&self) {
        let state = self.pipe.handler.state();
        if state.stage == Stage::Ready && state.all_held.is_true() && in_force::is() {
            drop(self.say_all_held(state, None, LAST_WORD));
        }
    }

    fn keep_watch(self: &Arc<Self>) {
        let channel = &self.pipe.handler;
        let mut state = channel.state();
        let mut looked: Option<(Moment, u64)> = None;
        let mut switched = in_force::changes();
        while state.stage != Stage::Closed && state.all_held.is_on {
            let is_ready =
                |state: &State| state.stage == Stage::Ready && state.version == Version::V3;
            if !in_force::is() || in_force::changes() != switched {
                // Not all that is granted is put on record any more, or was.
                switched = in_force::changes();
                state.all_held.unrecorded();
                if is_ready(&state) && state.all_held.is_binding() {
                    let done;
                    (state, done) = self.say_all_held(state, Some(0), TICK);
                    if done {
                        state.all_held.take_back();
                    }
                }
            } else if is_ready(&state) {
                self.see_end_of_grace(&mut state);
                let is_time = looked.is_none_or(|(at, pause)| at.elapsed() >= pause);
                if is_time || state.all_held.needs_look() {
                    let began = Moment::now();
                    drop(state);
                    self.look(is_time);
                    state = channel.state();
                    if is_time {
                        looked = Some((Moment::now(), LOOK.max(began.elapsed() * IDLE)));
                    }
                }
                let is_in_force = in_force::is() && in_force::changes() == switched;
                let is_to_say = state.all_held.is_true() && state.all_held.is_due();
                // Another daemon may have come while somebody looked.
                if is_in_force && is_to_say && is_ready(&state) {
                    (state, _) = self.say_all_held(state, None, params::upcall_timeout());
                }
            }
            let is_over = |s: &State| {
                s.stage == Stage::Closed || !s.all_held.is_on || in_force::changes() != switched
            };
            (state, _) = channel.wait_until(state, &channel.came, TICK, is_over);
        }
    }

    /// Once lockd's grace period is over, too, nobody reclaims any more what others held.
    fn see_end_of_grace(&self, state: &mut State) {
        if state.all_held.is_over && !state.all_held.known && !self.is_in_grace(state) {
            state.all_held.known = true;
            exempt::end(self.net);
        }
    }

    /// Is nfsd or lockd in its grace period, as far as is known of a server that stops?
    fn is_in_grace(&self, state: &State) -> bool {
        self.nn(state).is_none_or(|nn| nn.is_in_grace(false))
    }

    /// Looks at all that is held, `regular` if what is not used may leave. May sleep, without a lock between its parts.
    fn look(self: &Arc<Self>, regular: bool) {
        let channel = &self.pipe.handler;
        let began = {
            let state = channel.state();
            let nn = self.nn(&state);
            // A server that stops needs none.
            let works_since = |moment| nn.is_none_or(|nn| nn.works_since(moment));
            state.all_held.begin_look(works_since)
        };
        if !regular && !began.is_all_there {
            // Another one will be needed.
            return;
        }
        let result = self.look_at_all(began, regular);
        let mut state = channel.state();
        state.all_held.end_look(began, result == Ok(true), regular);
        self.changed(&mut state);
        let counts = state.changes.counts();
        if counts.holds + counts.removed > 0 {
            self.wake_keeper();
        }
    }

    /// Returns whether that was all, and nothing was missing. Fails with `ENOMEM`, with `EPIPE` if the server stops, and with
    /// `EAGAIN` if another daemon comes.
    fn look_at_all(&self, began: Began, regular: bool) -> Result<bool> {
        let mut is_clean = true;
        let mut look = Look::new()?;
        loop {
            let mut state = self.current(began)?;
            match self.nn(&state).ok_or(EPIPE)?.look_on(&mut look)? {
                Step::Part => {}
                Step::Client => {
                    look.add(|name, add| formers::exports(self.net, name, add))?;
                    // Before, a client may have more to reclaim there, and has its hold from before.
                    let leave = match (regular && state.all_held.is_over, began.may_end) {
                        (true, true) => Leave::End,
                        (true, false) => Leave::Begin,
                        (false, _) => Leave::No,
                    };
                    let (name, client) = (look.name(), look.client());
                    // Who has gone meanwhile may have a former self, and its name may be another one's.
                    if self.nn(&state).and_then(|nn| nn.client_named(name)) != client {
                        is_clean = false;
                        continue;
                    }
                    is_clean &= compare(&mut state, name, client, look.exports(), leave)?;
                }
                Step::End => break,
            }
        }
        let is_in_grace = self.is_in_grace(&*self.current(began)?);
        let elsewhere = elsewhere::look(self.net)?;
        let mut state = self.current(began)?;
        let leave = |may: bool| if may { Leave::End } else { Leave::No };
        let (name, exports) = (state.grace_name, &elsewhere.in_grace[..]);
        // It stands for those who have reclaimed, too, until they have holds of their own.
        let may_leave = regular && is_clean && state.changes.counts().holds == 0;
        is_clean &= compare(&mut state, &name, None, exports, leave(may_leave))?;
        // Who is about to reclaim has no lock yet.
        let may_leave = regular && elsewhere.is_whole && !is_in_grace;
        is_clean &= compare(&mut state, &[], None, &elsewhere.nlm, leave(may_leave))?;
        Ok(is_clean && elsewhere.is_whole)
    }

    /// What is known, if the daemon is the one that a look began with.
    fn current(&self, began: Began) -> Result<Locked<'_>> {
        let state = self.pipe.handler.state();
        match state.all_held.is_current(began) {
            true => Ok(state),
            false => Err(EAGAIN),
        }
    }

    /// Something may be granted without a hold: that all is held is not said again before somebody has looked. May sleep.
    pub(crate) fn distrust(&self) {
        self.pipe.handler.state().all_held.unrecorded();
    }
}

/// Compares the holds of a client with the exports that it holds something on. Returns whether none was missing. Fails
/// with `ENOMEM`. May sleep.
fn compare(
    state: &mut State,
    name: &[u8],
    owner: Option<ClientRef>,
    exports: &[ExportId],
    leave: Leave,
) -> Result<bool> {
    let State {
        holds,
        changes,
        all_held,
        ..
    } = state;
    let mut is_clean = true;
    for export in exports {
        if !holds.keep(name, export, owner) {
            is_clean = false;
            all_held.unrecorded();
            holds.note(export)?;
            changes.hold(Row::of_hold(name, export), owner)?;
        }
    }
    let leaving = holds.leaving();
    let is_there = |export: &ExportId| exports.contains(export);
    let result = holds.look(name, leave, is_there, |export| {
        changes.unhold(Row::of_hold(name, export))
    });
    if holds.leaving() > leaving {
        // Who asks from now on finds that it leaves.
        grants::forget();
    }
    result.map(|()| is_clean)
}
