// SPDX-License-Identifier: GPL-2.0

//! Counters of what became of upcalls.

use crate::tracking::cld::Command;

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
