// SPDX-License-Identifier: GPL-2.0
//! When to do what: how often clients may begin, and which requests are to be made again when.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

/// What bounds how many clients begin in a second.
pub struct Pace {
    interval: Option<Duration>,
    next: Option<Instant>,
}

impl Pace {
    /// So much time is between two clients.
    pub fn new(interval: Option<Duration>) -> Self {
        Self {
            interval,
            next: None,
        }
    }

    /// Changes that.
    pub fn set(&mut self, interval: Duration) {
        self.interval = Some(interval);
    }

    /// May another client begin now? It does then.
    pub fn may_start(&mut self, now: Instant) -> bool {
        let Some(interval) = self.interval else {
            return true;
        };
        let next = self.next.unwrap_or(now);
        if next > now {
            return false;
        }
        // What could not begin in time is made good for, but not more than a second of it.
        let behind = now.checked_sub(Duration::from_secs(1)).unwrap_or(now);
        self.next = Some(next.max(behind) + interval);
        true
    }

    /// How long no other client may begin.
    pub fn wait(&self, now: Instant) -> Duration {
        match (self.interval, self.next) {
            (Some(_), Some(next)) => next.saturating_duration_since(now),
            (Some(_), None) => Duration::ZERO,
            // What could begin has begun; what has not waits for answers.
            (None, _) => Duration::MAX,
        }
    }
}

/// Slots that wait, by the time when they are to go on.
#[derive(Default)]
pub struct Pauses(BinaryHeap<Reverse<(Instant, usize)>>);

impl Pauses {
    /// Adds a slot.
    pub fn add(&mut self, due: Instant, slot: usize) {
        self.0.push(Reverse((due, slot)));
    }

    /// When the first one is to go on.
    pub fn next(&self) -> Option<Instant> {
        self.0.peek().map(|Reverse((due, _))| *due)
    }

    /// Takes out one that is to go on now.
    pub fn take(&mut self, now: Instant) -> Option<usize> {
        if self.next()? > now {
            return None;
        }
        self.0.pop().map(|Reverse((_, slot))| slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_pace() {
        let start = Instant::now() + Duration::from_secs(5);
        let mut pace = Pace::new(Some(10 * MS));
        assert!(pace.may_start(start));
        assert!(!pace.may_start(start + 9 * MS));
        assert_eq!(pace.wait(start + 9 * MS), MS);
        let in_time = (0..1000)
            .filter(|n| pace.may_start(start + *n * MS))
            .count();
        assert_eq!(in_time, 99);
        // After 10 seconds in which none began, those of one second begin at once.
        let at_once = (0..1000)
            .filter(|_| pace.may_start(start + 11_000 * MS))
            .count();
        assert_eq!(at_once, 101);
    }

    #[test]
    fn pauses_in_order() {
        let start = Instant::now();
        let mut pauses = Pauses::default();
        pauses.add(start + 2 * MS, 1);
        pauses.add(start + MS, 2);
        assert_eq!(pauses.take(start), None);
        assert_eq!(pauses.next(), Some(start + MS));
        assert_eq!(pauses.take(start + 5 * MS), Some(2));
        assert_eq!(pauses.take(start + 5 * MS), Some(1));
        assert_eq!(pauses.take(start + 5 * MS), None);
    }
}
