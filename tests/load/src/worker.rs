// SPDX-License-Identifier: GPL-2.0
//! A thread with a connection and its share of the clients: many requests are under way on it.

mod trouble;

use crate::client::{Client, Context};
use crate::net::Link;
use crate::pace::{Pace, Pauses};
use crate::problem::Problem;
use crate::rpc::{begin_call, end_call, parse_reply};
use crate::run::Shared;
use crate::stats::StepStats;
use crate::steps::{Call, Phase, Step};
use crate::xdr::Reader;
use std::collections::VecDeque;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// How long to wait for answers after a signal to end.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// A place for a client that is worked on.
struct Slot {
    client: usize,
    /// Where it is: the phase's step, and of that the call.
    step: usize,
    at: usize,
    /// Calls to make before that one, the first at the end.
    detour: Vec<Call>,
    /// When the step began; in a loop, the call.
    began: Instant,
    sent: Instant,
    state: State,
    xid: u32,
    pause: Duration,
    /// The request, to be sent again on another connection.
    request: Vec<u8>,
}

#[derive(PartialEq)]
enum State {
    Free,
    /// An answer is to come.
    Sent,
    /// The request is to be made again after a pause.
    Paused,
}

/// A connection with its clients.
pub struct Worker<'a> {
    shared: &'a Shared,
    cx: Context,
    server: SocketAddr,
    link: Link,
    /// The connection is lost for good.
    dead: bool,
    clients: Vec<Client>,
    /// The clients that are to begin in this phase.
    queue: VecDeque<u32>,
    slots: Vec<Slot>,
    free: Vec<usize>,
    pauses: Pauses,
    pace: Pace,
    last_check: Instant,
    /// By step of all phases.
    pub stats: Vec<StepStats>,
    /// Clients that did not come to the end of the steps, and did not fail either.
    pub unfinished: u64,
    /// When it came to the end of all phases.
    pub ended: Instant,
}

impl<'a> Worker<'a> {
    /// A worker for these clients, of which `in_flight` are worked on at the same time.
    pub fn new(
        shared: &'a Shared,
        cx: Context,
        link: Link,
        numbers: impl Iterator<Item = u32>,
        in_flight: usize,
    ) -> Self {
        let now = Instant::now();
        let slot = |number: usize| Slot {
            client: 0,
            step: 0,
            at: 0,
            detour: Vec::new(),
            began: now,
            sent: now,
            state: State::Free,
            // The low bits say which slot it is, the others count its requests.
            xid: (shared.first_xid & !0xffff) | number as u32,
            pause: Duration::ZERO,
            request: Vec::new(),
        };
        Self {
            shared,
            cx,
            server: shared.server,
            link,
            dead: false,
            clients: numbers.map(Client::new).collect(),
            queue: VecDeque::new(),
            slots: (0..in_flight).map(slot).collect(),
            free: (0..in_flight).rev().collect(),
            pauses: Pauses::default(),
            pace: Pace::new(None),
            last_check: now,
            stats: vec![StepStats::default(); shared.rows],
            unfinished: 0,
            ended: now,
        }
    }

    /// Goes through all phases.
    pub fn run(&mut self) {
        for (number, phase) in self.shared.phases.iter().enumerate() {
            // All are at the end of the phase before, then all know that this one begins.
            if self.shared.barrier.wait().is_leader() {
                self.shared.begin_phase(number);
            }
            self.shared.barrier.wait();
            self.run_phase(phase);
        }
        self.ended = Instant::now();
    }

    fn run_phase(&mut self, phase: &Phase) {
        let live = |number: &u32| !self.clients[*number as usize].failed;
        self.queue = (0..self.clients.len() as u32).filter(live).collect();
        if self.shared.stop.load(Relaxed) && self.unfinished > 0 {
            return self.queue.clear();
        }
        let nlm = self.shared.lockd.filter(|_| phase.is_nlm());
        let server = nlm.unwrap_or(self.shared.server);
        if server != self.server && !self.dead {
            self.server = server;
            if self.link.reconnect(server, self.shared.timeout).is_err() {
                self.lost(phase);
            }
        }
        if self.dead {
            self.fail_queue(phase);
        }
        self.pace = Pace::new(self.shared.interval);
        let end = phase.time.map(|time| Instant::now() + time);
        let mut told_to_end = None;
        loop {
            let now = Instant::now();
            if told_to_end.is_none() && self.shared.stop.load(Relaxed) {
                told_to_end = Some(now);
            }
            if end.is_some_and(|end| now >= end) {
                self.queue.clear();
            }
            match told_to_end {
                Some(told) if self.nothing_sent() || now > told + LAST_ANSWERS => {
                    return self.leave(phase);
                }
                Some(_) => {}
                None => {
                    self.wake(phase, now);
                    self.start(phase, now);
                }
            }
            if self.free.len() == self.slots.len() && self.queue.is_empty() {
                return;
            }
            if self.exchange(now).is_err() {
                self.lost(phase);
            }
            self.receive(phase);
        }
    }

    /// Sends what is to be sent, waits, and takes what has come.
    fn exchange(&mut self, now: Instant) -> std::io::Result<()> {
        self.link.flush()?;
        let mut time = Duration::from_millis(100);
        if let Some(due) = self.pauses.next() {
            time = time.min(due.saturating_duration_since(now));
        }
        if !self.queue.is_empty() && !self.free.is_empty() {
            time = time.min(self.pace.wait(now));
        }
        self.link.wait(time)?;
        self.link.fill()
    }

    /// Handles all records that have come.
    fn receive(&mut self, phase: &Phase) {
        let mut records = std::mem::take(&mut self.link.records);
        let now = Instant::now();
        while let Some(record) = records.next() {
            self.answer(phase, record, now);
        }
        // Unless the connection was replaced meanwhile, there may be a part of a record.
        self.link.records = records;
    }

    fn answer(&mut self, phase: &Phase, record: &[u8], now: Instant) {
        let Ok(Some((xid, reply))) = parse_reply(record) else {
            return;
        };
        let number = (xid & 0xffff) as usize;
        match self.slots.get(number) {
            Some(slot) if slot.xid == xid && slot.state == State::Sent => {}
            // It comes too late.
            _ => return,
        }
        let call = self.call(phase, number);
        let result = reply.and_then(|reader: Reader| {
            self.clients[self.slots[number].client].decode(call, &mut self.cx, reader)
        });
        match result {
            Ok(()) => self.succeeded(phase, number, call, now),
            Err(problem) => self.refused(phase, number, call, problem, now),
        }
    }

    /// The call that a slot is at.
    fn call(&self, phase: &Phase, number: usize) -> Call {
        let slot = &self.slots[number];
        match slot.detour.last() {
            Some(&call) => call,
            None => phase.steps[slot.step].calls()[slot.at],
        }
    }

    fn succeeded(&mut self, phase: &Phase, number: usize, call: Call, now: Instant) {
        let slot = &mut self.slots[number];
        slot.pause = Duration::ZERO;
        if slot.detour.pop().is_some() {
            return self.send(phase, number, now);
        }
        if call == self.shared.acknowledges {
            if let Some(mut file) = self.shared.acked.as_ref() {
                let name = self.cx.names.owner(self.clients[slot.client].number);
                if let Err(e) = file.write_all(format!("{name}\n").as_bytes()) {
                    eprintln!("nfs4load: cannot write the name of a client: {e}");
                }
            }
        }
        slot.at += 1;
        let step = phase.steps[slot.step];
        let step_ends = slot.at == step.calls().len();
        if step_ends || phase.time.is_some() {
            self.stats[phase.first + slot.step].succeeded(slot.began, now);
            slot.began = now;
        }
        if phase.time.is_some() {
            self.shared.done.fetch_add(1, Relaxed);
        }
        if step_ends {
            (slot.step, slot.at) = (slot.step + 1, 0);
        }
        if slot.step < phase.steps.len() {
            return self.send(phase, number, now);
        }
        if phase.time.is_some() {
            // It is its turn again later.
            self.queue.push_back(slot.client as u32);
        } else {
            self.shared.done.fetch_add(1, Relaxed);
        }
        self.release(number);
    }

    fn refused(
        &mut self,
        phase: &Phase,
        number: usize,
        call: Call,
        problem: Problem,
        now: Instant,
    ) {
        let slot = &mut self.slots[number];
        let stats = &mut self.stats[phase.first + slot.step];
        if call == Call::Complete && problem == Problem::COMPLETE_ALREADY {
            stats.already += 1;
            // This is well, too, but for the list of those that were told so.
            return self.succeeded(phase, number, Call::Renew, now);
        }
        let forgotten = self.shared.keep_going && problem.is_forgotten();
        let too_long = now.saturating_duration_since(slot.began) > self.shared.give_up;
        if too_long || !forgotten && !problem.is_transient() {
            return self.fail(phase, number, problem, now);
        }
        *stats.retried.entry(problem).or_default() += 1;
        self.shared.retried.fetch_add(1, Relaxed);
        if forgotten {
            slot.detour.clear();
            if matches!(call, Call::ExchangeId | Call::CreateSession)
                && phase.steps[slot.step] == Step::Session
            {
                slot.at = 0;
            } else {
                slot.detour
                    .extend(self.clients[slot.client].recovery().into_iter().rev());
            }
        }
        slot.pause = (slot.pause * 2).clamp(self.shared.pause, self.shared.pause.max(MAX_PAUSE));
        slot.state = State::Paused;
        self.pauses.add(now + slot.pause, number);
    }

    fn fail(&mut self, phase: &Phase, number: usize, problem: Problem, now: Instant) {
        let slot = &mut self.slots[number];
        self.clients[slot.client].failed = true;
        self.stats[phase.first + slot.step].has_failed(problem, slot.began, now);
        self.shared.failed.fetch_add(1, Relaxed);
        self.release(number);
    }

    fn release(&mut self, number: usize) {
        self.slots[number].state = State::Free;
        self.free.push(number);
    }

    /// Sends the request that a slot is at.
    fn send(&mut self, phase: &Phase, number: usize, now: Instant) {
        let call = self.call(phase, number);
        let slot = &mut self.slots[number];
        slot.xid = slot.xid.wrapping_add(0x1_0000);
        slot.sent = now;
        slot.state = State::Sent;
        let out = &mut self.link.out;
        let start = begin_call(out, slot.xid, Client::procedure(call));
        self.clients[slot.client].encode(call, &self.cx, out);
        end_call(out, start);
        if self.shared.keep_going {
            slot.request.clear();
            slot.request.extend_from_slice(&out[start..]);
        }
    }

    /// Begins with more clients, as many as may be.
    fn start(&mut self, phase: &Phase, now: Instant) {
        let hold = phase.steps[0] == Step::Hold;
        if let (true, Some(lease)) = (hold, self.cx.lease) {
            let clients = self.queue.len() + self.slots.len() - self.free.len();
            let third = Duration::from_secs(lease.max(1).into()) / 3;
            self.pace.set(third / clients.max(1) as u32);
        }
        while !self.queue.is_empty() && !self.free.is_empty() {
            let ask_lease = hold && self.cx.lease.is_none();
            if ask_lease && self.free.len() < self.slots.len() || !self.pace.may_start(now) {
                return;
            }
            let (Some(client), Some(number)) = (self.queue.pop_front(), self.free.pop()) else {
                return;
            };
            let slot = &mut self.slots[number];
            (slot.client, slot.step, slot.at) = (client as usize, 0, 0);
            slot.detour.clear();
            slot.detour.extend(ask_lease.then_some(Call::LeaseTime));
            slot.pause = Duration::ZERO;
            slot.began = now;
            self.send(phase, number, now);
        }
    }
}

/// The longest pause before a request is made again.
const MAX_PAUSE: Duration = Duration::from_secs(1);
