// SPDX-License-Identifier: GPL-2.0

//! What a channel knows: the upcalls on their way, the records, and what is wanted of them.
//!
//! All of it is guarded by the channel's lock.

use crate::changes::Changes;
use crate::channel::Channel;
use crate::cld::{self, Body, Downcall, Version};
use crate::clock::Moment;
use crate::nfs4_client::ClientRef;
use crate::params;
use crate::pipe::Pipe;
use crate::records::RecordTable;
use crate::siphash::SipHash;
use crate::upcall::{Answer, Phase, Stats, Upcall};
use crate::xid::XidTable;
use core::sync::atomic::Ordering;
use kernel::prelude::*;
use kernel::rbtree::RBTree;
use kernel::sync::Arc;

/// How far a channel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// No daemon has sent its records yet.
    Waiting,
    /// A daemon has.
    Ready,
    /// The server stops.
    Closed,
}

/// What a channel knows.
pub(crate) struct State {
    pub(crate) upcalls: XidTable<Arc<Upcall>>,
    /// Upcalls that wait until fewer are in flight, by their places.
    pub(crate) line: RBTree<u64, Arc<Upcall>>,
    pub(crate) next_place: u64,
    /// The clients that may reclaim.
    pub(crate) records: RecordTable<SipHash>,
    /// What the daemon has not confirmed yet.
    pub(crate) changes: Changes<SipHash, ClientRef>,
    /// GraceDone is to be sent when nothing is owed.
    pub(crate) grace_done_due: bool,
    /// The version of the protocol in use: 1 until the daemon has said more.
    pub(crate) version: Version,
    /// Does somebody have the pipe open?
    pub(crate) daemon: bool,
    /// How often a daemon has come to a pipe that nobody had open.
    pub(crate) arrivals: u64,
    /// How far it is.
    pub(crate) stage: Stage,
    /// Did something fail, and has not been made good yet?
    pub(crate) outage: bool,
    /// Since when there has been no daemon that does what it is asked.
    pub(crate) silent: Option<Moment>,
    /// Records are on their way.
    pub(crate) loading: bool,
    /// When a downcall came last.
    pub(crate) heard: Moment,
    /// Counters.
    pub(crate) stats: Stats,
}

impl State {
    /// Without a daemon.
    pub(crate) fn new() -> Self {
        State {
            // A daemon may still hold answers to a server that is gone.
            upcalls: XidTable::new(SipHash::random().word()),
            line: RBTree::new(),
            next_place: 0,
            records: RecordTable::new(SipHash::random()),
            changes: Changes::new(SipHash::random()),
            grace_done_due: false,
            version: Version::V1,
            daemon: false,
            arrivals: 0,
            stage: Stage::Waiting,
            outage: false,
            silent: Some(Moment::now()),
            loading: false,
            heard: Moment::now(),
            stats: Stats::default(),
        }
    }

    /// The number of upcalls that the daemon has to answer, and that wait in line.
    pub(crate) fn in_flight(&self) -> (usize, usize) {
        (self.upcalls.len(), self.line.iter().count())
    }

    /// How long a request may wait for the daemon, in milliseconds: an outage costs a request one
    /// time limit from the outage's beginning, so that it cannot stop the server for long.
    pub(crate) fn patience(&self) -> u32 {
        let limit = params::upcall_timeout();
        self.silent.map_or(limit, |since| since.left(limit))
    }

    /// Puts an upcall on the pipe.
    pub(crate) fn send(&mut self, pipe: &Pipe<Channel>, upcall: Arc<Upcall>) -> Result {
        let xid = self.upcalls.reserve()?;
        upcall.body.read.store(false, Ordering::Relaxed);
        match pipe.queue(upcall.clone(), |bytes| cld::set_xid(bytes, xid)) {
            // sunrpc's time-out has it, and is about to return it: then it is sent.
            Ok(()) | Err(EBUSY) => {}
            Err(e) => return Err(e),
        }
        upcall.body.set_phase(self, Phase::Sent(xid));
        self.upcalls.insert(xid, upcall);
        Ok(())
    }

    /// Puts an upcall on the pipe, or ends it with the error.
    pub(crate) fn send_or_end(&mut self, pipe: &Pipe<Channel>, upcall: Arc<Upcall>) {
        if let Err(e) = self.send(pipe, upcall.clone()) {
            upcall.body.give_up(self, e);
        }
    }

    /// Lets those who wait in line go on, as far as there is room.
    pub(crate) fn advance(&mut self, pipe: &Pipe<Channel>) {
        while self.upcalls.len() < params::upcalls_in_flight() {
            let Some(first) = self.line.cursor_front_mut() else {
                return;
            };
            let (_, upcall) = first.remove_current().1.to_key_value();
            self.send_or_end(pipe, upcall);
        }
    }

    /// Ends an upcall, if it has not ended: its xid means nothing from now on. Its caller is to be
    /// woken.
    pub(crate) fn end(&mut self, pipe: &Pipe<Channel>, upcall: &Upcall, result: Result<Answer>) {
        match upcall.body.phase(self) {
            Phase::InLine(place) => drop(self.line.remove(&place)),
            Phase::Sent(xid) => {
                self.upcalls.remove(xid);
                if !upcall.body.read.load(Ordering::Acquire) {
                    pipe.withdraw(upcall);
                }
            }
            Phase::Answered(_) => return,
        }
        upcall.body.answer(self, result);
        self.advance(pipe);
    }

    /// Finds the upcall that a downcall answers, and does what it says.
    pub(crate) fn receive(
        &mut self,
        pipe: &Pipe<Channel>,
        len: usize,
        data: &[u8],
    ) -> Result<Arc<Upcall>> {
        let downcall = Downcall::parse(self.version, len, data)?;
        let upcall = self.upcalls.get(downcall.xid).ok_or(ENOENT)?.clone();
        if !upcall.body.read.load(Ordering::Acquire) {
            return Err(ENOENT);
        }
        if downcall.command != upcall.body.command as u8 {
            return Err(EINVAL);
        }
        match downcall.body {
            // After the grace period nobody may reclaim, also not while they still come.
            Body::Record(_) if self.grace_done_due => {}
            // nfsdcld does not look whether a record was taken.
            Body::Record(client) => {
                if let Err(e) = self.records.insert(client) {
                    self.end(pipe, &upcall, Err(e));
                }
            }
            Body::Done { status: 0, version } => self.end(pipe, &upcall, Ok(Answer { version })),
            Body::Done { status, .. } => {
                self.end(pipe, &upcall, Err(Error::from_errno(status.into())));
            }
        }
        self.heard = Moment::now();
        // Answers alone do not help before there are records.
        if self.stage == Stage::Ready {
            self.silent = None;
        }
        Ok(upcall)
    }
}
