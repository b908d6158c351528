// SPDX-License-Identifier: GPL-2.0
//! What a worker does if answers do not come, the connection is lost, or it is told to end.

use super::{State, Worker, MAX_PAUSE};
use crate::problem::Problem;
use crate::steps::Phase;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

impl Worker<'_> {
    /// Makes requests again whose pause is over, and looks for those without an answer.
    pub(super) fn wake(&mut self, phase: &Phase, now: Instant) {
        while let Some(number) = self.pauses.take(now) {
            if self.slots[number].state == State::Paused {
                self.send(phase, number, now);
            }
        }
        if now - self.last_check < Duration::from_millis(500) {
            return;
        }
        self.last_check = now;
        for number in 0..self.slots.len() {
            let slot = &self.slots[number];
            if slot.state != State::Sent
                || now.saturating_duration_since(slot.sent) < self.shared.timeout
            {
                continue;
            }
            if self.shared.keep_going {
                return self.lost(phase);
            }
            self.fail(phase, number, Problem::TIMEOUT, now);
        }
    }

    /// The connection is lost: makes another one, or fails.
    pub(super) fn lost(&mut self, phase: &Phase) {
        self.shared.lost.fetch_add(1, Relaxed);
        let since = Instant::now();
        let mut pause = Duration::from_millis(50);
        while self.shared.keep_going
            && !self.shared.stop.load(Relaxed)
            && since.elapsed() < self.shared.timeout * 10
        {
            if self
                .link
                .reconnect(self.server, self.shared.timeout)
                .is_ok()
            {
                let now = Instant::now();
                for slot in self
                    .slots
                    .iter_mut()
                    .filter(|slot| slot.state == State::Sent)
                {
                    slot.sent = now;
                    self.link.out.extend_from_slice(&slot.request);
                }
                return;
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(MAX_PAUSE);
        }
        self.dead = true;
        let now = Instant::now();
        for number in 0..self.slots.len() {
            if self.slots[number].state != State::Free {
                self.fail(phase, number, Problem::LOST, now);
            }
        }
        self.fail_queue(phase);
    }

    /// All clients that wait fail, as there is no connection.
    pub(super) fn fail_queue(&mut self, phase: &Phase) {
        let now = Instant::now();
        for client in std::mem::take(&mut self.queue) {
            self.clients[client as usize].failed = true;
            self.stats[phase.first].has_failed(Problem::LOST, now, now);
            self.shared.failed.fetch_add(1, Relaxed);
        }
    }

    /// Told to end, and the answers have come or do not: leaves off.
    pub(super) fn leave(&mut self, phase: &Phase) {
        let busy = self.slots.len() - self.free.len();
        if phase.time.is_none() {
            self.unfinished = (self.queue.len() + busy) as u64;
        }
        self.queue.clear();
        for number in 0..self.slots.len() {
            if self.slots[number].state != State::Free {
                self.release(number);
            }
        }
    }

    pub(super) fn nothing_sent(&self) -> bool {
        self.slots.iter().all(|slot| slot.state != State::Sent)
    }
}
