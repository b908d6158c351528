// SPDX-License-Identifier: GPL-2.0
//! Time limits that end what hangs, and not what is slow because the host is busy.
//!
//! A limit counts the time in which the guests could have gone on: the time on the wall, less what their QEMU's
//! threads waited for a CPU of the host that somebody else had.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How many times its length a limit may take on the wall, so that nothing hangs for ever.
const PATIENCE: u32 = 10;

/// How long threads have waited for a CPU since they started, by thread.
pub type Delays = HashMap<u32, Duration>;

/// The clock of a test.
pub struct Clock {
    last: Instant,
    wall: Duration,
    counted: Duration,
    delays: Delays,
}

/// When a limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    counted: Duration,
    wall: Duration,
}

impl Clock {
    /// A clock that starts now.
    pub fn start() -> Self {
        Self {
            last: Instant::now(),
            wall: Duration::ZERO,
            counted: Duration::ZERO,
            delays: Delays::new(),
        }
    }

    /// How long ago it was told the delays.
    pub fn age(&self) -> Duration {
        self.last.elapsed()
    }

    /// Goes on to now. `delays` are those of all threads of the test's VMs.
    pub fn advance(&mut self, delays: Delays) {
        let elapsed = self.age();
        self.last += elapsed;
        self.add(elapsed, delays);
    }

    /// The test stood still while the thread that waited longest did; a thread that is new has waited since it
    /// started.
    fn add(&mut self, elapsed: Duration, delays: Delays) {
        let before = |thread| self.delays.get(thread).copied().unwrap_or_default();
        let growth = delays.iter().map(|(t, d)| d.saturating_sub(before(t)));
        let waited = growth.max().unwrap_or_default().min(elapsed);
        self.wall += elapsed;
        self.counted += elapsed - waited;
        self.delays = delays;
    }

    /// The time that counts.
    pub fn counted(&self) -> Duration {
        self.counted
    }

    /// When `limit` will be reached that begins now.
    pub fn deadline(&self, limit: Duration) -> Deadline {
        Deadline {
            counted: self.counted + limit,
            wall: self.wall + limit * PATIENCE,
        }
    }

    /// Whether a limit is reached.
    pub fn passed(&self, deadline: &Deadline) -> bool {
        self.counted >= deadline.counted || self.wall >= deadline.wall
    }
}

impl Deadline {
    /// Moves it by `more`.
    pub fn extend(&mut self, more: Duration) {
        self.counted += more;
        self.wall += more * PATIENCE;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn delays(of: &[(u32, u64)]) -> Delays {
        of.iter()
            .map(|(thread, ms)| (*thread, Duration::from_millis(*ms)))
            .collect()
    }

    #[test]
    fn counts_all_of_an_idle_host() {
        let mut clock = Clock::start();
        clock.add(SECOND, delays(&[(1, 0), (2, 0)]));
        clock.add(SECOND, Delays::new());
        assert_eq!((clock.counted(), clock.wall), (2 * SECOND, 2 * SECOND));
    }

    #[test]
    fn takes_off_the_longest_wait_of_each_interval() {
        let mut clock = Clock::start();
        clock.add(SECOND, delays(&[(1, 100), (2, 300)]));
        assert_eq!(clock.counted(), Duration::from_millis(700));
        // What counts is what they have waited since.
        clock.add(SECOND, delays(&[(1, 600), (2, 400)]));
        assert_eq!(clock.counted(), Duration::from_millis(1200));
        // A thread that is new, and two that are gone.
        clock.add(SECOND, delays(&[(3, 200)]));
        assert_eq!(clock.counted(), Duration::from_millis(2000));
        assert_eq!(clock.wall, 3 * SECOND);
    }

    #[test]
    fn never_takes_off_more_than_the_interval() {
        let mut clock = Clock::start();
        clock.add(SECOND, delays(&[(1, 5000)]));
        assert_eq!((clock.counted(), clock.wall), (Duration::ZERO, SECOND));
        // A thread with the number of one that is gone has waited less.
        clock.add(SECOND, delays(&[(1, 10)]));
        assert_eq!(clock.counted(), SECOND);
    }

    #[test]
    fn ends_what_hangs() {
        let mut clock = Clock::start();
        let mut deadline = clock.deadline(2 * SECOND);
        clock.add(SECOND, Delays::new());
        assert!(!clock.passed(&deadline));
        clock.add(SECOND, Delays::new());
        assert!(clock.passed(&deadline));
        deadline.extend(SECOND);
        assert!(!clock.passed(&deadline));
    }

    #[test]
    fn ends_also_what_never_gets_a_cpu() {
        let mut clock = Clock::start();
        let deadline = clock.deadline(SECOND);
        for second in 1..=9 {
            clock.add(SECOND, delays(&[(1, 1000 * second)]));
            assert!(!clock.passed(&deadline));
        }
        clock.add(SECOND, delays(&[(1, 10_000)]));
        assert!(clock.passed(&deadline));
        assert_eq!(clock.counted(), Duration::ZERO);
    }
}
