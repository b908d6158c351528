// SPDX-License-Identifier: GPL-2.0

//! The conversation with client tracking daemons: upcalls, and the downcalls that answer them.
//!
//! ```text
//!   call() --> in line --> queued on pipe --> in flight --> answered --> call() returns
//!           while many are     ^                  |
//!           in flight          +------------------+  the last reader closes
//! ```
//!
//! An upcall gets a new xid each time it is queued, so that whoever still answers the old one
//! is refused.
//!
//! A daemon of version 3 may be followed by one that does not know it. So what is in flight or in line ends when it closes
//! the pipe, and is asked again when the next one has said its version.
//!
//! Lock order: the pipe's inode lock (sunrpc's), then `TRACKERS`, then [`Channel::state`], then the pipe's
//! spinlock, or nfsd's `client_lock`. `state` is never held while waiting for a daemon.

use crate::base::clock::Moment;
use crate::base::params;
use crate::tracking::attributes::Record;
use crate::tracking::cld::{self, Body, Command, Downcall, Said, Version, ANSWER_LEN, HEADER_LEN};
use crate::tracking::pipe::{Handler, Message, Pipe};
use crate::tracking::state::{Call, Phase, Stage, State, Upcall};
use core::sync::atomic::Ordering;
use kernel::prelude::*;
use kernel::sync::lock::{mutex::MutexBackend, Guard};
use kernel::sync::{new_condvar, new_mutex, Arc, CondVar, CondVarTimeoutResult, Mutex};
use kernel::time::{delay::fsleep, msecs_to_jiffies, Delta};
use kernel::uaccess::UserSliceReader;

/// How many time limits a GraceStart may take that goes on sending records.
const GRACE_START_LIMITS: u64 = 20;

/// How long to wait between looks for an answer while a signal is pending.
const SIGNAL_PAUSE: Delta = Delta::from_millis(100);

/// An upcall was read by a daemon that is gone, and is not for the next one: it may have been done, or not.
pub(crate) const UNKNOWN: Error = ESRCH;

/// [`Channel::state`], locked.
pub(crate) type Locked<'a> = Guard<'a, State, MutexBackend>;

/// The kernel's end of a conversation: the handler of a pipe.
#[pin_data]
pub(crate) struct Channel {
    #[pin]
    state: Mutex<State>,
    /// Signalled when a daemon comes, and when the server stops.
    #[pin]
    pub(crate) came: CondVar,
    /// Called when a daemon has come in the place of one of version 3, with the pipe's inode lock held.
    followed: fn(&Pipe<Self>),
}

impl Channel {
    /// A channel without a daemon. `followed` is called when one has come in the place of one of version 3, with the
    /// pipe's inode lock held.
    pub(crate) fn new(followed: fn(&Pipe<Self>)) -> impl PinInit<Self> {
        pin_init!(Self {
            state <- new_mutex!(
                State::new(),
                "nfsd_ha::Channel"
            ),
            came <- new_condvar!("nfsd_ha::Channel::came"),
            followed,
        })
    }

    /// What the channel knows. May sleep; see the lock order above.
    pub(crate) fn state(&self) -> Locked<'_> {
        self.state.lock()
    }

    /// Makes an upcall and waits for its answer, with `state` unlocked meanwhile.
    ///
    /// `message` is what [`cld::encode`] made for the version in use. Fails with what the daemon
    /// answered; `ETIMEDOUT` if it did not in `patience` milliseconds, or goes on sending records
    /// after 20 time limits; `ENOMEM`; `EPIPE` if the channel closed; [`UNKNOWN`] if a daemon of version 3
    /// went. Before version 3, a GraceDone that a daemon has begun to read is waited for as long as that is
    /// there, and fails with [`UNKNOWN`] if it goes.
    /// May sleep; no lock may be held that a reader or writer of the pipe needs.
    pub(crate) fn call<'a>(
        pipe: &'a Pipe<Self>,
        mut state: Locked<'a>,
        command: Command,
        message: KVec<u8>,
        patience: u32,
    ) -> (Locked<'a>, Result<Said>) {
        match Self::send(pipe, &mut state, command, message) {
            Ok(upcall) => Self::hear(pipe, state, &upcall, patience),
            Err(e) => (state, Err(e)),
        }
    }

    /// The first half of [`Channel::call`]: puts an upcall on the pipe, or in line. Fails with `ENOMEM` and `EPIPE`. May sleep.
    pub(crate) fn send(
        pipe: &Pipe<Self>,
        state: &mut State,
        command: Command,
        message: KVec<u8>,
    ) -> Result<Arc<Upcall>> {
        let result = pipe.handler.submit(pipe, state, command, message);
        if result.is_err() {
            state.stats.count(command, true);
        }
        result
    }

    /// The second half: waits for the answer to an upcall. Who does not, has it neither answered nor forgotten.
    pub(crate) fn hear<'a>(
        pipe: &'a Pipe<Self>,
        state: Locked<'a>,
        upcall: &Upcall,
        patience: u32,
    ) -> (Locked<'a>, Result<Said>) {
        let (mut state, result) = pipe.handler.wait(pipe, state, upcall, patience);
        state.stats.count(upcall.body.command, result.is_err());
        (state, result)
    }

    fn submit(
        &self,
        pipe: &Pipe<Self>,
        state: &mut State,
        command: Command,
        message: KVec<u8>,
    ) -> Result<Arc<Upcall>> {
        if state.stage == Stage::Closed {
            return Err(EPIPE);
        }
        let place = state.next_place;
        let call = Call::new(command, state.version, place, &self.state);
        let len = state.version.message_len().unwrap_or(message.len());
        let upcall = Arc::pin_init(Message::new(message, len, call), GFP_KERNEL)?;
        if state.upcalls.len() < params::upcalls_in_flight() && state.line.is_empty() {
            state.send(pipe, upcall.clone())?;
        } else {
            state
                .line
                .try_create_and_insert(place, upcall.clone(), GFP_KERNEL)?;
            state.next_place += 1;
        }
        Ok(upcall)
    }

    /// Waits for the answer to an upcall.
    fn wait<'a>(
        &'a self,
        pipe: &Pipe<Self>,
        mut state: Locked<'a>,
        upcall: &Upcall,
        patience: u32,
    ) -> (Locked<'a>, Result<Said>) {
        let began = Moment::now();
        loop {
            if let Phase::Answered(result) = upcall.body.phase(&state) {
                return (state, result);
            }
            let mut left = began.left(patience);
            // Records are a sign of life.
            if left == 0
                && upcall.body.command == Command::GraceStart
                && began.elapsed() < GRACE_START_LIMITS * u64::from(patience)
            {
                left = state.heard.left(patience);
            }
            if left == 0 && state.heard.left(patience) == 0 {
                state.silent.get_or_insert(began);
            }
            // To send a second one, after this was done, would delete all records (nfsdcld). So it
            // must not be with a daemon, not even one that is reading it just now.
            if left == 0
                && upcall.body.command == Command::GraceDone
                && upcall.body.version < Version::V3
                && matches!(upcall.body.phase(&state), Phase::Sent(_))
                && !pipe.withdraw(upcall)
            {
                left = patience.max(1);
            }
            if left == 0 {
                state.stats.timed_out += 1;
                state.end(pipe, upcall, Err(ETIMEDOUT));
                continue;
            }
            let result = upcall
                .body
                .answered
                .wait_interruptible_timeout(&mut state, msecs_to_jiffies(left));
            if let CondVarTimeoutResult::Signal { .. } = result {
                state = self.pause(state);
            }
        }
    }

    /// Waits until `condition` holds or the time is over, in milliseconds, looking when `news`
    /// comes. Returns whether it holds.
    pub(crate) fn wait_until<'a>(
        &'a self,
        mut state: Locked<'a>,
        news: &CondVar,
        time: u32,
        condition: impl Fn(&State) -> bool,
    ) -> (Locked<'a>, bool) {
        let began = Moment::now();
        loop {
            if condition(&state) {
                return (state, true);
            }
            let left = began.left(time);
            if left == 0 {
                return (state, false);
            }
            let result = news.wait_interruptible_timeout(&mut state, msecs_to_jiffies(left));
            if let CondVarTimeoutResult::Signal { .. } = result {
                state = self.pause(state);
            }
        }
    }

    /// A signal is no reason to give up: livepatch and the freezer send signals too, and clients
    /// depend on what we wait for. One that is pending makes every wait end at once, so look
    /// again in a while.
    fn pause<'a>(&'a self, state: Locked<'a>) -> Locked<'a> {
        drop(state);
        fsleep(SIGNAL_PAUSE);
        self.state.lock()
    }

    /// Ends every upcall, and refuses new ones. May sleep.
    pub(crate) fn close(pipe: &Pipe<Self>) -> Locked<'_> {
        let mut state = pipe.handler.state.lock();
        state.stage = Stage::Closed;
        let line = core::mem::take(&mut state.line);
        let upcalls = state.upcalls.take();
        for upcall in Iterator::chain(line.values(), upcalls.values()) {
            upcall.body.give_up(&mut state, EPIPE);
            pipe.withdraw(upcall);
        }
        pipe.handler.came.notify_all();
        state
    }
}

/// What changes both the state and the pipe.
impl State {
    /// Puts an upcall on the pipe.
    fn send(&mut self, pipe: &Pipe<Channel>, upcall: Arc<Upcall>) -> Result {
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
    fn send_or_end(&mut self, pipe: &Pipe<Channel>, upcall: Arc<Upcall>) {
        if let Err(e) = self.send(pipe, upcall.clone()) {
            upcall.body.give_up(self, e);
        }
    }

    /// Lets those who wait in line go on, as far as there is room.
    fn advance(&mut self, pipe: &Pipe<Channel>) {
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
    fn end(&mut self, pipe: &Pipe<Channel>, upcall: &Upcall, result: Result<Said>) {
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
    fn receive(&mut self, pipe: &Pipe<Channel>, len: usize, data: &[u8]) -> Result<Arc<Upcall>> {
        let asked = cld::xid(data).and_then(|xid| self.upcalls.get(xid));
        // The version may be another one since it was asked.
        let version = asked.map_or(self.version, |upcall| upcall.body.version);
        let downcall = Downcall::parse(version, len, data)?;
        let upcall = self.upcalls.get(downcall.xid).ok_or(ENOENT)?.clone();
        if !upcall.body.read.load(Ordering::Acquire) {
            return Err(ENOENT);
        }
        if downcall.command != upcall.body.command as u8 {
            return Err(EINVAL);
        }
        match downcall.body {
            // After the grace period nobody may reclaim, also not while they still come.
            Body::Records(_) if self.grace_done_due => {}
            // nfsdcld does not look whether a record was taken.
            Body::Records(records) => {
                let stored = records.iter().try_for_each(|one| match one {
                    Record::Client(client, holds) => self.records.insert(client, holds != Some(0)),
                    Record::Export(export, holders) => self.was_held.add(export, holders),
                });
                if let Err(e) = stored {
                    self.end(pipe, &upcall, Err(e));
                }
            }
            Body::Done(said) => {
                if upcall.body.command == Command::GetVersion {
                    // At once: the daemon may go before who has asked hears of it.
                    self.version = said.version;
                }
                self.end(pipe, &upcall, Ok(said));
            }
            Body::Failed(why) => {
                self.end(pipe, &upcall, Err(Error::from_errno(-i32::from(why))));
            }
        }
        self.heard = Moment::now();
        // Answers alone do not help before there are records.
        if self.stage == Stage::Ready {
            self.silent = None;
        }
        Ok(upcall)
    }

    /// Ends what is in flight and in line: a daemon of version 3 is gone.
    fn part(&mut self, pipe: &Pipe<Channel>) {
        self.version = Version::V1;
        self.partings += 1;
        if self.stage == Stage::Ready {
            self.stage = Stage::Parted;
        }
        let line = core::mem::take(&mut self.line);
        for upcall in line.values() {
            upcall.body.give_up(self, UNKNOWN);
        }
        let upcalls = self.upcalls.take();
        for upcall in upcalls.values() {
            upcall.body.give_up(self, UNKNOWN);
            pipe.withdraw(upcall);
        }
    }
}

impl Handler for Channel {
    type Body = Call;

    fn downcall(pipe: &Pipe<Self>, mut data: UserSliceReader) -> Result {
        let len = data.len();
        let mut answer = [0; ANSWER_LEN];
        let start = &mut answer[..len.min(ANSWER_LEN)];
        data.read_slice(start)?;
        let mut bytes = KVVec::new();
        let message = if !cld::is_record(len, start) {
            &*start
        } else if bytes.reserve(len, GFP_KERNEL).is_ok() {
            bytes.extend_from_slice(start, GFP_KERNEL)?;
            data.read_all(&mut bytes, GFP_KERNEL)?;
            &bytes[..]
        } else {
            // nfsdcld does not look whether a record was taken, so its GraceStart has failed.
            cld::set_status(start, ENOMEM);
            &start[..HEADER_LEN]
        };
        let mut state = pipe.handler.state.lock();
        let result = state.receive(pipe, len, message);
        state.stats.bad_downcalls += u64::from(result.is_err());
        let upcall = result?;
        // A record leaves its upcall open, and its caller asleep.
        let answered = matches!(upcall.body.phase(&state), Phase::Answered(_));
        // So that who is woken need not wait for the lock.
        drop(state);
        if answered {
            upcall.body.answered.notify_all();
        }
        Ok(())
    }

    fn delivered(_: &Pipe<Self>, upcall: Arc<Upcall>) {
        upcall.body.read.store(true, Ordering::Release);
    }

    fn returned(pipe: &Pipe<Self>, upcall: Arc<Upcall>, why: Error) {
        let mut state = pipe.handler.state.lock();
        let Phase::Sent(xid) = upcall.body.phase(&state) else {
            return;
        };
        // `closed()` may have been quicker to send it again.
        if upcall.is_queued() || upcall.body.read.load(Ordering::Acquire) {
            return;
        }
        state.upcalls.remove(xid);
        if state.stage == Stage::Closed {
            upcall.body.give_up(&mut state, why);
        } else {
            state.stats.requeued += 1;
            state.send_or_end(pipe, upcall);
            state.advance(pipe);
        }
    }

    fn opened(pipe: &Pipe<Self>) {
        let mut state = pipe.handler.state.lock();
        state.daemon = true;
        state.arrivals += 1;
        if state.has_records() {
            // It gets its chance.
            state.silent = None;
        }
        let follows = state.stage == Stage::Parted;
        drop(state);
        pipe.handler.came.notify_all();
        if follows {
            (pipe.handler.followed)(pipe);
        }
    }

    fn closed(pipe: &Pipe<Self>) {
        let mut state = pipe.handler.state.lock();
        state.daemon = false;
        state.silent.get_or_insert(Moment::now());
        if state.stage == Stage::Closed {
            return;
        }
        if state.version == Version::V3 {
            return state.part(pipe);
        }
        // What it has read and not answered is for the next one. The order does not matter:
        // no two upcalls in flight are for the same client.
        let upcalls = state.upcalls.take();
        for upcall in upcalls.values() {
            let call = &upcall.body;
            let read = call.read.load(Ordering::Acquire);
            if read && call.command == Command::GraceDone {
                call.give_up(&mut state, UNKNOWN);
                continue;
            }
            state.stats.requeued += u64::from(read);
            pipe.withdraw(upcall);
            state.send_or_end(pipe, upcall.clone());
        }
        state.advance(pipe);
    }
}
