// SPDX-License-Identifier: GPL-2.0

//! The conversation with a client tracking daemon: upcalls, and the downcalls that answer them.
//!
//! ```text
//!   call()                 daemon reads           daemon answers
//!   ------> queued on pipe ------------> in flight --------------> answered --> call() returns
//!              ^                            |
//!              +----------------------------+  the last reader closes
//! ```
//!
//! Lock order: the pipe's inode lock (sunrpc's), then [`Channel::state`], then the pipe's
//! spinlock. `state` is never held while waiting for a daemon.

use crate::cld::{self, Body, Client, Command, Downcall, Version};
use crate::pipe::{Handler, Message, Pipe};
use crate::records::RecordTable;
use crate::siphash::SipHash;
use crate::xid::XidTable;
use kernel::bindings;
use kernel::prelude::*;
use kernel::sync::lock::{mutex::MutexBackend, Guard};
use kernel::sync::{
    new_condvar, new_mutex, Arc, CondVar, CondVarTimeoutResult, LockedBy, Mutex, UniqueArc,
};
use kernel::time::{delay::fsleep, msecs_to_jiffies, Delta, Instant, Monotonic};

/// How long an upcall waits for a sign of life from the daemon, in milliseconds.
///
/// As long as sunrpc waits for a reader (`RPC_UPCALL_TIMEOUT`).
const UPCALL_TIMEOUT: u32 = 30_000;
/// How long a GraceStart may take that goes on sending records, in milliseconds.
const GRACE_START_TIMEOUT: u32 = 600_000;

/// How long to wait between looks for an answer while a signal is pending.
const SIGNAL_PAUSE: Delta = Delta::from_millis(100);

/// An upcall on its way.
pub(crate) type Upcall = Message<Call>;

/// What we know of an upcall.
#[pin_data]
pub(crate) struct Call {
    command: Command,
    phase: LockedBy<Phase, State>,
    #[pin]
    answered: CondVar,
}

#[derive(Clone, Copy)]
enum Phase {
    /// The daemon has not read it, or not to its end.
    Queued,
    /// The daemon has read it.
    InFlight,
    /// The daemon said this, or nobody will say anything any more.
    Answered(Result<Answer>),
}

impl Call {
    fn new(command: Command, state: &Mutex<State>) -> impl PinInit<Self> + '_ {
        pin_init!(Self {
            command,
            phase: LockedBy::new(state, Phase::Queued),
            answered <- new_condvar!("nfsd_ha::Call"),
        })
    }

    /// Ends the upcall, unless it has ended.
    fn end(&self, state: &mut State, result: Result<Answer>) {
        let phase = self.phase.access_mut(state);
        if !matches!(phase, Phase::Answered(_)) {
            *phase = Phase::Answered(result);
            self.answered.notify_all();
        }
    }
}

/// What a daemon answers.
#[derive(Clone, Copy)]
pub(crate) struct Answer {
    /// The first byte behind the header: for GetVersion the highest version that it knows.
    pub(crate) version: u8,
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
}

impl Stats {
    fn tally(&mut self, command: Command) -> &mut Tally {
        // The position is a constant for each command.
        let at = Command::ALL.iter().position(|c| *c == command).unwrap_or(0);
        &mut self.tallies[at]
    }

    /// The commands with what became of their upcalls.
    pub(crate) fn tallies(&self) -> impl Iterator<Item = (Command, Tally)> + '_ {
        Command::ALL.into_iter().zip(self.tallies)
    }
}

/// What [`Channel::state`] guards.
pub(crate) struct State {
    upcalls: XidTable<Arc<Upcall>>,
    /// The clients that may reclaim.
    pub(crate) records: RecordTable<SipHash>,
    /// The version of the protocol in use: 1 until the daemon has said more.
    pub(crate) version: Version,
    /// Does somebody have the pipe open?
    pub(crate) daemon: bool,
    closing: bool,
    /// Did the last upcall that was reported fail?
    pub(crate) outage: bool,
    /// When a record came last.
    heard: Instant<Monotonic>,
    /// Counters.
    pub(crate) stats: Stats,
}

impl State {
    /// The number of upcalls that wait for their answer.
    pub(crate) fn in_flight(&self) -> usize {
        self.upcalls.len()
    }
}

/// The kernel's end of a conversation: the handler of a pipe.
#[pin_data]
pub(crate) struct Channel {
    #[pin]
    state: Mutex<State>,
    /// Signalled when somebody opens the pipe.
    #[pin]
    came: CondVar,
}

impl Channel {
    /// A channel without a daemon.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            state <- new_mutex!(
                State {
                    // A daemon may still hold answers to a server that is gone.
                    upcalls: XidTable::new(SipHash::random().word()),
                    records: RecordTable::new(SipHash::random()),
                    version: Version::V1,
                    daemon: false,
                    closing: false,
                    outage: false,
                    heard: Instant::now(),
                    stats: Stats::default(),
                },
                "nfsd_ha::Channel"
            ),
            came <- new_condvar!("nfsd_ha::Channel::came"),
        })
    }

    /// What the channel knows. May sleep; see the lock order above.
    pub(crate) fn state(&self) -> Guard<'_, State, MutexBackend> {
        self.state.lock()
    }

    /// Waits until somebody has the pipe open: at most `timeout` milliseconds, or until a
    /// signal comes. Returns whether somebody has.
    pub(crate) fn wait_for_daemon(&self, timeout: u32) -> bool {
        let mut state = self.state.lock();
        let mut left = msecs_to_jiffies(timeout);
        while !state.daemon {
            match self.came.wait_interruptible_timeout(&mut state, left) {
                CondVarTimeoutResult::Woken { jiffies } => left = jiffies,
                _ => break,
            }
        }
        state.daemon
    }

    /// Agrees on a version with the daemon, and fills the table of records.
    ///
    /// For a server that starts. May sleep; bounded as [`Channel::call`] is.
    pub(crate) fn handshake(pipe: &Pipe<Self>) -> Result {
        let version = match Self::call(pipe, Command::GetVersion, None) {
            Ok(answer) => Version::negotiate(answer.version),
            // It does not know the question.
            Err(e) if e.to_errno() == -(bindings::EOPNOTSUPP as i32) => Version::V1,
            Err(e) => return Err(e),
        };
        pipe.handler.state.lock().version = version;
        Self::call(pipe, Command::GraceStart, None)?;
        Ok(())
    }

    /// Makes an upcall and waits for its answer.
    ///
    /// Fails with what the daemon answered; `ETIMEDOUT` if it did not in 30 s, or is still
    /// sending records after 10 minutes; `ENOMEM`, or `EBUSY` with too
    /// many upcalls in flight; `EINVAL` if the client's name does not fit into a message;
    /// `EPIPE` if the channel closed. May sleep; no lock may be held that a reader or
    /// writer of the pipe needs.
    pub(crate) fn call(
        pipe: &Pipe<Self>,
        command: Command,
        client: Option<Client<'_>>,
    ) -> Result<Answer> {
        let channel = &pipe.handler;
        let result = channel
            .send(pipe, command, client)
            .and_then(|(xid, upcall)| {
                let result = channel.wait(&upcall);
                channel.state.lock().upcalls.remove(xid);
                pipe.withdraw(&upcall);
                result
            });
        let mut state = channel.state.lock();
        let tally = state.stats.tally(command);
        tally.sent += 1;
        tally.failed += u64::from(result.is_err());
        result
    }

    /// Queues an upcall. On success the caller must take the xid out of the table again.
    fn send(
        &self,
        pipe: &Pipe<Self>,
        command: Command,
        client: Option<Client<'_>>,
    ) -> Result<(u32, Arc<Upcall>)> {
        let version = self.state.lock().version;
        let bytes = cld::encode(version, command, client)?;
        let call = Call::new(command, &self.state);
        let mut upcall =
            UniqueArc::pin_init(Message::new(bytes, version.message_len(), call), GFP_KERNEL)?;

        let mut state = self.state.lock();
        if state.closing {
            return Err(EPIPE);
        }
        let xid = state.upcalls.reserve()?;
        cld::set_xid(upcall.as_mut().bytes_mut(), xid);
        let upcall: Arc<Upcall> = upcall.into();
        state.upcalls.insert(xid, upcall.clone());
        // Still with the lock: in the queue in the order of the xids.
        if let Err(e) = pipe.queue(upcall.clone()) {
            state.upcalls.remove(xid);
            return Err(e);
        }
        Ok((xid, upcall))
    }

    /// Waits for the answer to an upcall that is queued.
    fn wait(&self, upcall: &Upcall) -> Result<Answer> {
        let began = Instant::now();
        let mut state = self.state.lock();
        loop {
            if let Phase::Answered(result) = *upcall.body.phase.access(&*state) {
                return result;
            }
            let (heard, limit) = match upcall.body.command {
                Command::GraceStart => (state.heard, GRACE_START_TIMEOUT),
                _ => (began, UPCALL_TIMEOUT),
            };
            let quiet = began.elapsed().as_millis().min(heard.elapsed().as_millis());
            let left = (i64::from(UPCALL_TIMEOUT) - quiet)
                .min(i64::from(limit) - began.elapsed().as_millis());
            if left <= 0 {
                state.stats.timed_out += 1;
                upcall.body.end(&mut state, Err(ETIMEDOUT));
                continue;
            }
            let result = upcall
                .body
                .answered
                .wait_interruptible_timeout(&mut state, msecs_to_jiffies(left as u32));
            if let CondVarTimeoutResult::Signal { .. } = result {
                // Not a reason to give up: livepatch and the freezer send signals too, and the
                // clients depend on the answer. A signal that is pending makes every wait end at
                // once, so look again in a while.
                drop(state);
                fsleep(SIGNAL_PAUSE);
                state = self.state.lock();
            }
        }
    }

    /// Ends every upcall, and refuses new ones. May sleep.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.closing = true;
        let upcalls = state.upcalls.take();
        for upcall in upcalls.values() {
            upcall.body.end(&mut state, Err(EPIPE));
        }
    }

    /// Finds the upcall that a downcall answers, and does what it says.
    fn receive(state: &mut State, data: &[u8]) -> Result {
        let downcall = Downcall::parse(state.version, data)?;
        let upcall = state.upcalls.get(downcall.xid).ok_or(ENOENT)?.clone();
        let call = &upcall.body;
        if !matches!(call.phase.access(state), Phase::InFlight) {
            return Err(ENOENT);
        }
        if downcall.command != call.command as u8 {
            return Err(EINVAL);
        }
        match downcall.body {
            Body::Record(client) => {
                state.records.insert(client)?;
                state.heard = Instant::now();
            }
            Body::Done { status: 0, version } => call.end(state, Ok(Answer { version })),
            Body::Done { status, .. } => call.end(state, Err(Error::from_errno(status.into()))),
        }
        Ok(())
    }
}

impl Handler for Channel {
    type Body = Call;

    fn downcall(pipe: &Pipe<Self>, data: &[u8]) -> Result {
        let mut state = pipe.handler.state.lock();
        let result = Self::receive(&mut state, data);
        state.stats.bad_downcalls += u64::from(result.is_err());
        result
    }

    fn delivered(pipe: &Pipe<Self>, upcall: Arc<Upcall>) {
        let mut state = pipe.handler.state.lock();
        let phase = upcall.body.phase.access_mut(&mut state);
        if matches!(phase, Phase::Queued) {
            *phase = Phase::InFlight;
        }
    }

    fn returned(pipe: &Pipe<Self>, upcall: Arc<Upcall>, why: Error) {
        let mut state = pipe.handler.state.lock();
        let open = matches!(upcall.body.phase.access(&*state), Phase::Queued);
        if !open {
            return;
        }
        if state.closing {
            upcall.body.end(&mut state, Err(why));
        } else if let Err(e) = pipe.queue(upcall.clone()) {
            upcall.body.end(&mut state, Err(e));
        } else {
            state.stats.requeued += 1;
        }
    }

    fn opened(pipe: &Pipe<Self>) {
        pipe.handler.state.lock().daemon = true;
        pipe.handler.came.notify_all();
    }

    fn closed(pipe: &Pipe<Self>) {
        let mut state = pipe.handler.state.lock();
        state.daemon = false;
        if state.closing {
            return;
        }
        // What it has read and not answered is for the next one.
        let upcalls = state.upcalls.take();
        for upcall in upcalls.values() {
            let phase = upcall.body.phase.access_mut(&mut state);
            if !matches!(phase, Phase::InFlight) {
                continue;
            }
            *phase = Phase::Queued;
            match pipe.queue(upcall.clone()) {
                Ok(()) => state.stats.requeued += 1,
                Err(e) => upcall.body.end(&mut state, Err(e)),
            }
        }
        state.upcalls = upcalls;
    }
}
