// SPDX-License-Identifier: GPL-2.0

//! Makes the upcalls that bring the daemon's records up to what nfsd wants.

use crate::base::clock::Moment;
use crate::nfs4::nfs4_client::ClientRef;
use crate::nfs4::server::Expiring;
use crate::tracking::changes::{Done, Job, Next};
use crate::tracking::channel::{Channel, Locked};
use crate::tracking::cld::{self, Command, Version};
use crate::tracking::holds::Row;
use crate::tracking::state::{Stage, State, Upcall};
use crate::tracking::tracker::Tracker;
use kernel::prelude::*;
use kernel::sync::Arc;

/// So many upcalls that nobody waits for are on their way at once, at most.
const TOGETHER: usize = 32;

/// A job whose upcall is on its way.
struct Sent {
    job: Job,
    upcall: Arc<Upcall>,
}

impl Tracker {
    /// Makes the upcall that a row needs, or waits for who is doing so, and leaves
    /// to the keeper what cannot be done in `limit` milliseconds.
    pub(crate) fn settle<'a>(
        self: &'a Arc<Self>,
        mut state: Locked<'a>,
        key: u64,
        row: Row<'_>,
        limit: u32,
    ) {
        let channel = &self.pipe.handler;
        let began = Moment::now();
        loop {
            let patience = state.patience().min(began.left(limit));
            // Who expires many clients leaves their records to the keeper.
            if state.stage == Stage::Closed || patience == 0 || Expiring::is_current() {
                break;
            }
            if state.stage == Stage::Ready {
                match state.changes.begin(key, row) {
                    Next::Settled => return self.changed(&mut state),
                    Next::Busy => {}
                    Next::Upcall(job) => {
                        let done;
                        let partings = state.partings;
                        (state, done) = self.perform(state, job, patience);
                        // It is for the next one.
                        if done || state.partings != partings {
                            continue;
                        }
                        break;
                    }
                }
            }
            let seen = (state.stage, state.changes.ended());
            (state, _) = channel.wait_until(state, &self.settled, patience, |s| {
                (s.stage, s.changes.ended()) != seen
            });
        }
        drop(state);
        self.wake_keeper();
    }

    /// Makes the upcall of a job. Returns whether the daemon has done it.
    fn perform<'a>(
        self: &'a Arc<Self>,
        mut state: Locked<'a>,
        job: Job,
        patience: u32,
    ) -> (Locked<'a>, bool) {
        match self.send(&mut state, job) {
            Ok(sent) => self.hear(state, sent, patience),
            Err(done) => (state, done),
        }
    }

    /// Makes the upcalls of a job and of others that wait, in `patience` milliseconds. Returns whether the daemon has done all
    /// of them. One of version 3 gets many at once, and stores them together.
    pub(crate) fn perform_some<'a>(
        self: &'a Arc<Self>,
        mut state: Locked<'a>,
        first: Job,
        patience: u32,
    ) -> (Locked<'a>, bool) {
        let began = Moment::now();
        let room = match state.version {
            Version::V1 | Version::V2 => 1,
            Version::V3 => TOGETHER,
        };
        let mut done = true;
        let mut all = [const { None }; TOGETHER];
        let mut next = Some(first);
        for place in &mut all[..room] {
            let Some(job) = next.or_else(|| state.changes.begin_next()) else {
                break;
            };
            next = None;
            state.stats.retried += 1;
            match self.send(&mut state, job) {
                Ok(sent) => *place = Some(sent),
                Err(is_done) => done &= is_done,
            }
            if !done {
                break;
            }
        }
        for sent in all.into_iter().flatten() {
            let is_done;
            (state, is_done) = self.hear(state, sent, began.left(patience));
            done &= is_done;
        }
        (state, done)
    }

    /// Sends the upcall of a job. Fails if there is none to wait for, with whether all is done.
    fn send(self: &Arc<Self>, state: &mut State, job: Job) -> Result<Sent, bool> {
        let command = job.command;
        if command.is_new() && state.version < Version::V3 {
            state.changes.cancel(job);
            return Err(true);
        }
        let message = cld::encode(state.version, command, &state.changes.about(&job));
        match message.and_then(|message| Channel::send(&self.pipe, state, command, message)) {
            Ok(upcall) => Ok(Sent { job, upcall }),
            Err(e) => {
                self.ended(state, job, Err(e));
                Err(false)
            }
        }
    }

    /// Waits for the answer to an upcall. Returns whether the daemon has done what it asks for.
    fn hear<'a>(
        self: &'a Arc<Self>,
        state: Locked<'a>,
        sent: Sent,
        patience: u32,
    ) -> (Locked<'a>, bool) {
        let Sent { job, upcall } = sent;
        let (mut state, result) = Channel::hear(&self.pipe, state, &upcall, patience);
        let result = result.map(|_| ());
        self.ended(&mut state, job, result);
        (state, result.is_ok())
    }

    /// The upcall of a job has ended.
    fn ended(self: &Arc<Self>, state: &mut State, job: Job, result: Result) {
        let command = job.command;
        match state.changes.end(job, result.is_ok()) {
            Some(Done::Stored(client)) if state.stage != Stage::Closed => {
                self.stored(state, client);
            }
            // Without memory, it is stored again.
            Some(Done::Held(client, export, owner)) => {
                let _ = state.holds.add(client.get().name, &export, owner);
            }
            _ => {}
        }
        if command == Command::Remove && state.changes.counts().holds > 0 {
            // Some may have waited for this.
            self.wake_keeper();
        }
        // lockd, whose only thread waits for a hold, does so for a shorter time than others.
        if command != Command::Hold || result != Err(ETIMEDOUT) {
            self.report(state, command, result);
        }
        self.changed(state);
    }

    /// The record of a client is stored.
    fn stored(&self, state: &mut State, client: ClientRef) {
        // SAFETY: A client is in the table of changes only until nfsd has called `remove` for
        // it, which it does before it frees it (`expire_client()`), after the last `create` or
        // `check` (they hold `cl_rpc_users`), and which needs no memory to take it out; or until
        // the server stops, when the channel is closed. Both need the lock that we hold.
        let client = unsafe { client.get() };
        client.set_stable(true);
        // A client says with RECLAIM_COMPLETE (RFC 8881 section 18.51) that it has reclaimed
        // all. One whose record could not be stored is waited for: the old one is all it has.
        // One that is on record by its former name does not finish: there may be another one, which came to another
        // address.
        let records = &mut state.records;
        let is_last = client.minor_version() > 0
            && client.with_record(|own| records.complete(own.name, Some(own.hash)));
        if is_last {
            self.end_grace(state);
        }
    }
}
