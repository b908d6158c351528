// SPDX-License-Identifier: GPL-2.0

//! An upcall on its way, and the counters of what became of upcalls.

use crate::cld::Command;
use crate::pipe::Message;
use crate::state::State;
use core::sync::atomic::AtomicBool;
use kernel::prelude::*;
use kernel::sync::{new_condvar, CondVar, LockedBy, Mutex};

/// An upcall on its way.
pub(crate) type Upcall = Message<Call>;

/// What we know of an upcall.
#[pin_data]
pub(crate) struct Call {
    /// What it asks for.
    pub(crate) command: Command,
    phase: LockedBy<Phase, State>,
    /// Has the daemon read it to its end, since it was sent? Without the lock, as the daemon should
    /// not wait for who has just sent it something.
    pub(crate) read: AtomicBool,
    /// Signalled when it is answered.
    #[pin]
    pub(crate) answered: CondVar,
}

/// Where an upcall is.
#[derive(Clone, Copy)]
pub(crate) enum Phase {
    /// It waits until fewer upcalls are in flight, at this place of the line.
    InLine(u64),
    /// It is on the pipe with this xid, or the daemon has read it.
    Sent(u32),
    /// The daemon said this, or nobody will say anything any more.
    Answered(Result<Answer>),
}

/// What a daemon answers.
#[derive(Clone, Copy)]
pub(crate) struct Answer {
    /// The first byte behind the header: for GetVersion the highest version that it knows.
    pub(crate) version: u8,
}

impl Call {
    /// An upcall that has a place in line; its phase is guarded by `state`.
    pub(crate) fn new(
        command: Command,
        place: u64,
        state: &Mutex<State>,
    ) -> impl PinInit<Self> + '_ {
        pin_init!(Self {
            command,
            phase: LockedBy::new(state, Phase::InLine(place)),
            read: AtomicBool::new(false),
            answered <- new_condvar!("nfsd_ha::Call"),
        })
    }

    /// Where it is.
    pub(crate) fn phase(&self, state: &State) -> Phase {
        *self.phase.access(state)
    }

    /// It is there now. One that is answered stays answered.
    pub(crate) fn set_phase(&self, state: &mut State, phase: Phase) {
        let old = self.phase.access_mut(state);
        if !matches!(old, Phase::Answered(_)) {
            *old = phase;
        }
    }

    /// It is answered. Its caller is to be woken by [`Call::answered`].
    pub(crate) fn answer(&self, state: &mut State, result: Result<Answer>) {
        self.set_phase(state, Phase::Answered(result));
    }

    /// Nobody will answer it any more: its caller is woken, and told why.
    pub(crate) fn give_up(&self, state: &mut State, why: Error) {
        self.answer(state, Err(why));
        self.answered.notify_all();
    }
}

/// What became of the upcalls of one command.
#[derive(Clone, Copy, Default)]
pub(crate) struct Tally {
    /// Upcalls made.
    pub(crate) sent: u64,
    /// Of these, the ones that failed, for whatever reason.
    pub(crate) failed: u64,
}

/// Counters of a channel, from its server's start.
#[derive(Clone, Copy, Default)]
pub(crate) struct Stats {
    tallies: [Tally; Command::ALL.len()],
    /// Upcalls that went back to the queue, as their reader had gone.
    pub(crate) requeued: u64,
    /// Upcalls that were given up after the time limit.
    pub(crate) timed_out: u64,
    /// Downcalls that were refused.
    pub(crate) bad_downcalls: u64,
    /// Reclaims that were refused, as the client is not on record.
    pub(crate) refused: u64,
    /// Upcalls that the keeper made, as a record could not be changed at once.
    pub(crate) retried: u64,
    /// Changes of a record that are not made, as there was no memory to remember them.
    pub(crate) lost: u64,
}

impl Stats {
    /// Counts an upcall.
    pub(crate) fn count(&mut self, command: Command, failed: bool) {
        // The position is a constant for each command.
        let at = Command::ALL.iter().position(|c| *c == command).unwrap_or(0);
        self.tallies[at].sent += 1;
        self.tallies[at].failed += u64::from(failed);
    }

    /// The commands with what became of their upcalls.
    pub(crate) fn tallies(&self) -> impl Iterator<Item = (Command, Tally)> + '_ {
        Command::ALL.into_iter().zip(self.tallies)
    }
}
