// SPDX-License-Identifier: GPL-2.0

//! Brings the daemon's records up to what nfsd wants, at once or as soon as it is possible.
//!
//! An operation of nfsd makes the upcall for its own client and waits for it. What it could not do
//! is left to the keeper, a work item that runs as long as there is something left:
//!
//! ```text
//!   waiting -- connect(): GetVersion, GraceStart --> ready --> Create and Remove of what is
//!    ^ ^           |                                 |   ^     wanted, then GraceDone if it is due
//!    | +-----------+ no daemon, or it fails: again   |   |
//!    |               when one comes, or after a      v   | the same
//!    |               pause                         parted: a daemon of version 3 is gone
//!    +-- another one ---------------------------- renew(): GetVersion of the next one
//! ```
//!
//! A daemon that comes after the grace period gets the same: its records, which are not looked
//! at any more, then a Create for each client that is there, then GraceDone. So nobody who did not
//! reclaim can do so after the next restart.

use crate::base::clock::Moment;
use crate::base::params;
use crate::scopes::was_held::WasHeld;
use crate::tracking::channel::{Channel, Locked, UNKNOWN};
use crate::tracking::cld::{self, About, Command, Details, Said, Version};
use crate::tracking::holds::Row;
use crate::tracking::state::{Stage, State};
use crate::tracking::tracker::Tracker;
use kernel::bindings;
use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::workqueue::{self, impl_has_work, WorkItem};

/// The first pause after a failure, in milliseconds; each following one is twice as long.
const FIRST_PAUSE: u32 = 1_000;
/// The longest pause, in milliseconds.
const LONGEST_PAUSE: u32 = 30_000;

impl_has_work! {
    impl HasWork<Self> for Tracker { self.keeper }
}

impl WorkItem for Tracker {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        this.keep();
    }
}

impl Tracker {
    /// Has the keeper look at what is left to do. Does not sleep.
    pub(crate) fn wake_keeper(self: &Arc<Self>) {
        // If it is to run already, it will see this, too.
        let _ = workqueue::system_long().enqueue::<Arc<Self>, 0>(self.clone());
    }

    /// Does what is left to do, until nothing is, or the server stops.
    fn keep(self: &Arc<Self>) {
        let channel = &self.pipe.handler;
        let mut pause = FIRST_PAUSE;
        let mut state = channel.state();
        loop {
            let done;
            let arrivals = state.arrivals;
            (state, done) = match state.stage {
                Stage::Closed => return,
                Stage::Waiting if state.daemon => self.catch_up(state),
                Stage::Parted if state.daemon => self.renew(state),
                Stage::Waiting | Stage::Parted => (state, false),
                Stage::Ready => {
                    if let Some(job) = state.changes.begin_next() {
                        self.perform_some(state, job, params::upcall_timeout())
                    } else if state.grace_done_due && state.changes.counts().owed == 0 {
                        self.send_grace_done(state)
                    } else {
                        return;
                    }
                }
            };
            if done {
                pause = FIRST_PAUSE;
                continue;
            }
            if state.stage != Stage::Ready {
                // One that is there and of no use is as good as none: who waits does not wait again and again.
                state.silent.get_or_insert(Moment::now());
            }
            (state, _) = channel.wait_until(state, &channel.came, pause, |s| {
                s.stage == Stage::Closed || s.arrivals != arrivals
            });
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Connects with a daemon that has come late.
    fn catch_up<'a>(self: &'a Arc<Self>, state: Locked<'a>) -> (Locked<'a>, bool) {
        let (mut state, connected) = self.connect(state);
        if !connected {
            return (state, false);
        }
        if state.grace_done_due {
            // Nobody reclaims any more.
            state.records.clear();
        }
        if state.grace_done_due || state.is_another {
            // Those who are there must be on record before the old records go.
            if let Err(e) = self.record_all(&mut state) {
                state.stage = Stage::Waiting;
                self.report(&mut state, Command::GraceStart, Err(e));
                return (state, false);
            }
            state.changes.doubt();
            state.is_another = false;
        }
        if state.all_held.is_on {
            self.watch();
        }
        if state.grace_done_due {
            state.changes.owe();
        } else if state.records.awaited() == 0 {
            self.end_grace(&state);
        }
        self.changed(&mut state);
        (state, true)
    }

    /// Asks a daemon that has come in the place of one of version 3 for its version. One that is not at the same
    /// epoch has not what that had: it is told all. Returns whether it has answered.
    fn renew<'a>(self: &'a Arc<Self>, state: Locked<'a>) -> (Locked<'a>, bool) {
        let (mut state, answer) = self.ask_version(state);
        let Ok(said) = answer else {
            return (state, false);
        };
        if state.stage != Stage::Parted {
            return (state, true);
        }
        if said.version == Version::V3 && said.epoch == state.epoch {
            state.stage = Stage::Ready;
            state.silent = None;
        } else {
            pr_info!(
                "another client tracking daemon has come, and is told all (net {:x})\n",
                self.inum
            );
            state.stage = Stage::Waiting;
            state.is_another = true;
            state.grace_done_due = state.grace_over;
        }
        self.changed(&mut state);
        (state, true)
    }

    /// Wants a record of each client that had one, in the daemon's new epoch.
    fn record_all(&self, state: &mut State) -> Result {
        let clients = self.nn(state).ok_or(EPIPE)?.stable_clients()?;
        for &client in &clients {
            // SAFETY: It was among the confirmed clients when we had the channel's lock already. To free
            // it, nfsd calls `remove` first, which needs that lock, and the channel is not closed.
            let confirmed = unsafe { client.get() };
            confirmed.with_record(|record| {
                let key = state.changes.key(Row {
                    name: record.name,
                    export: None,
                });
                let details = Details {
                    minor: Some(confirmed.minor_version()),
                    server: None,
                };
                state.changes.store(key, record, details, client)
            })?;
        }
        Ok(())
    }

    /// Agrees on a version with the daemon, and gets its records. Returns whether that worked.
    ///
    /// Waits one time limit for each of the two answers, and longer while records come.
    pub(crate) fn connect<'a>(&'a self, state: Locked<'a>) -> (Locked<'a>, bool) {
        let (state, answer) = self.ask_version(state);
        let (state, connected) = match answer {
            Ok(said) => self.load(state, said.version),
            Err(_) => (state, false),
        };
        self.settled.notify_all();
        if connected {
            pr_info!(
                "client tracking with protocol version {}, {} clients may reclaim (net {:x})\n",
                state.version as u8,
                state.records.counts().known,
                self.inum
            );
        }
        (state, connected)
    }

    /// Asks the daemon for its version.
    fn ask_version<'a>(&'a self, mut state: Locked<'a>) -> (Locked<'a>, Result<Said>) {
        // There is no such question in version 3.
        state.version = state.version.min(Version::V2);
        let (mut state, mut answer) = self.ask(state, Command::GetVersion);
        if answer.is_err_and(|e| e.to_errno() == -(bindings::EOPNOTSUPP as i32)) {
            // It does not know the question.
            state.version = Version::V1;
            answer = Ok(Said {
                version: Version::V1,
                epoch: None,
                known: false,
            });
        }
        if answer.is_ok_and(|said| said.version != state.version) {
            // It was gone before we heard of its answer.
            answer = Err(UNKNOWN);
        }
        self.report(&mut state, Command::GetVersion, answer.map(|_| ()));
        (state, answer)
    }

    /// Gets the records of a daemon that speaks `version`.
    fn load<'a>(&'a self, mut state: Locked<'a>, version: Version) -> (Locked<'a>, bool) {
        state.loading = true;
        state.was_held = WasHeld::default();
        let (mut state, answer) = self.ask(state, Command::GraceStart);
        state.loading = false;
        let held = core::mem::take(&mut state.was_held);
        let known = answer.is_ok_and(|said| said.known);
        let result = match answer {
            Ok(said) if version == Version::V3 => said.epoch.map(Some).ok_or(EINVAL),
            Ok(_) => Ok(None),
            Err(e) => Err(e),
        };
        // The server may have stopped since the answer came, or the daemon gone.
        let done = result.is_ok() && state.stage == Stage::Waiting && state.version == version;
        if done {
            state.stage = Stage::Ready;
            state.silent = None;
            state.epoch = result.unwrap_or(None);
            self.begin_holds(&mut state, held, known);
        } else if state.stage == Stage::Waiting {
            state.version = Version::V1;
            if !state.is_another {
                state.records.clear();
            }
        }
        self.report(&mut state, Command::GraceStart, result.map(|_| ()));
        (state, done)
    }

    /// Makes an upcall that is for no client.
    fn ask<'a>(&'a self, state: Locked<'a>, command: Command) -> (Locked<'a>, Result<Said>) {
        let about = About {
            epoch: state.epoch.filter(|_| command == Command::GraceDone),
            ..About::default()
        };
        match cld::encode(state.version, command, &about) {
            Ok(message) => {
                let limit = params::upcall_timeout();
                Channel::call(&self.pipe, state, command, message, limit)
            }
            Err(e) => (state, Err(e)),
        }
    }

    /// Tells the daemon that the grace period is over. Returns whether that worked.
    fn send_grace_done<'a>(self: &'a Arc<Self>, mut state: Locked<'a>) -> (Locked<'a>, bool) {
        state.all_held.may_be_over = true;
        let (mut state, result) = self.ask(state, Command::GraceDone);
        let done = result.is_ok();
        match result {
            Ok(_) => {
                state.grace_done_due = false;
                state.all_held.is_over = true;
            }
            // If it was done, nfsdcld would drop the records of all clients for another one. So it
            // gets a new epoch, and the clients again.
            Err(UNKNOWN) if state.stage == Stage::Ready => state.stage = Stage::Waiting,
            Err(_) => {}
        }
        self.report(&mut state, Command::GraceDone, result.map(|_| ()));
        self.changed(&mut state);
        (state, done)
    }

    /// Something has changed in what is wanted: wakes those who wait for that.
    pub(crate) fn changed(self: &Arc<Self>, state: &mut State) {
        let counts = state.changes.counts();
        self.settled.notify_all();
        if state.grace_done_due && counts.owed == 0 {
            self.wake_keeper();
        }
        let left = counts.stored + counts.removed > 0 || state.grace_done_due;
        if !left && state.stage == Stage::Ready && core::mem::take(&mut state.outage) {
            pr_info!("the daemon has everything again (net {:x})\n", self.inum);
        }
    }

    /// Ends the grace period, as nobody can still want to reclaim.
    pub(crate) fn end_grace(&self, state: &State) {
        if let Some(nn) = self.nn(state).filter(|nn| !nn.grace_ended()) {
            pr_info!(
                "nobody is left to reclaim, ending the grace period (net {:x})\n",
                self.inum
            );
            nn.end_grace();
        }
    }

    /// Logs the first of a row of failures.
    pub(crate) fn report(&self, state: &mut State, command: Command, result: Result) {
        let Err(e) = result else {
            return;
        };
        // That a daemon is restarted is no failure.
        if e == UNKNOWN && state.stage != Stage::Waiting {
            return;
        }
        if state.stage == Stage::Closed || core::mem::replace(&mut state.outage, true) {
            return;
        }
        pr_err!(
            "{} failed with {}, and will be tried again: is the daemon running (nfsdcld or nfsd-had), and its disk not full? (net {:x})\n",
            command.name(),
            e.to_errno(),
            self.inum
        );
    }
}
