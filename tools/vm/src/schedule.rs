// SPDX-License-Identifier: GPL-2.0
//! Which tests run at the same time.
//!
//! Most tests wait most of the time, so that many fit on a CPU. The weight of a test is the CPU time that it
//! takes, in hundredths of its duration. A test may start if nothing else runs; or else if all these hold:
//!
//! - neither it nor one that runs wants to be alone;
//! - all weights together are no more than a little over what the host's CPUs give, and while no CPU is idle no
//!   more than half of that: a host that is busy with something else gets no more work, but goes on with some;
//! - all VMs together have no more memory than half of what the host had available;
//! - no more than `--jobs` run.
//!
//! The longest tests begin, so that no long one is left in the end; those that want to be alone come last, when all
//! else is over. One that does not fit is passed by others.

use crate::host::Load;
use std::sync::mpsc::{channel, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// How many CPUs must be idle that there is room for another VM.
const IDLE: f64 = 0.25;

/// How long to look before saying so. A VM that was started in that time is seen: its boot needs CPUs.
const LOOK: Duration = Duration::from_millis(1500);

/// What a test needs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Need {
    /// Hundredths of a CPU.
    pub weight: u32,
    /// MiB of memory.
    pub mem: u32,
    /// Nothing else may run.
    pub alone: bool,
    /// How long it will take, as far as is known.
    pub seconds: f64,
}

/// What there is.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Tests at the same time.
    pub jobs: usize,
    /// Hundredths of a CPU.
    pub weight: u32,
    /// MiB of memory.
    pub mem: u32,
}

impl Room {
    /// Whether a test may start beside those that run, on a host that has an idle CPU or not.
    fn has(&self, need: &Need, running: &[Need], idle: bool) -> bool {
        let room = if idle { self.weight } else { self.weight / 2 };
        let sum = |of: fn(&Need) -> u32| running.iter().map(of).sum::<u32>() + of(need);
        running.is_empty()
            || (running.len() < self.jobs
                && !need.alone
                && !running.iter().any(|n| n.alone)
                && sum(|n| n.weight) <= room
                && sum(|n| n.mem) <= self.mem)
    }
}

/// Puts tests in the order in which to try to start them.
fn sort<T>(tests: &mut [(Need, T)]) {
    tests.sort_by(|(a, _), (b, _)| a.alone.cmp(&b.alone).then(b.seconds.total_cmp(&a.seconds)));
}

/// Has `work` run all tests, each in a thread; `each` gets the results as they come.
pub fn run<T: Send, R: Send>(
    mut tests: Vec<(Need, T)>,
    room: Room,
    work: impl Fn(T) -> R + Sync,
    mut each: impl FnMut(R),
) {
    sort(&mut tests);
    let (sender, receiver) = channel();
    let work = &work;
    thread::scope(|scope| {
        let mut running: Vec<(usize, Need)> = Vec::new();
        let (mut load, mut idle, mut count) = (Load::new(), false, 0);
        loop {
            let needs: Vec<_> = running.iter().map(|(_, need)| *need).collect();
            if let Some(at) = tests.iter().position(|(n, _)| room.has(n, &needs, idle)) {
                let (need, test) = tests.remove(at);
                let (id, sender) = (count, sender.clone());
                count += 1;
                running.push((id, need));
                scope.spawn(move || sender.send((id, work(test))));
                (load, idle) = (Load::new(), false);
                continue;
            }
            if running.is_empty() {
                return;
            }
            match receiver.recv_timeout(LOOK.saturating_sub(load.age())) {
                Ok((id, result)) => {
                    running.retain(|(other, _)| *other != id);
                    each(result);
                }
                Err(RecvTimeoutError::Timeout) => idle = load.idle_cpus() >= IDLE,
                Err(RecvTimeoutError::Disconnected) => unreachable!("we have a sender"),
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    const ROOM: Room = Room {
        jobs: 4,
        weight: 200,
        mem: 4000,
    };

    fn need(weight: u32) -> Need {
        Need {
            weight,
            mem: 500,
            ..Need::default()
        }
    }

    #[test]
    fn fills_the_cpus() {
        assert!(ROOM.has(&need(40), &[need(80), need(80)], true));
        assert!(!ROOM.has(&need(41), &[need(80), need(80)], true));
        // Half of them if they are busy.
        assert!(ROOM.has(&need(40), &[need(60)], false));
        assert!(!ROOM.has(&need(41), &[need(60)], false));
    }

    #[test]
    fn something_always_runs() {
        let huge = Need {
            weight: 1000,
            mem: 100_000,
            alone: true,
            ..Need::default()
        };
        assert!(ROOM.has(&huge, &[], false));
    }

    #[test]
    fn keeps_other_limits() {
        assert!(!ROOM.has(&need(1), &[need(1); 4], true));
        let big = Need {
            mem: 3600,
            ..need(1)
        };
        assert!(!ROOM.has(&big, &[need(1)], true));
        let alone = Need {
            alone: true,
            ..need(1)
        };
        assert!(!ROOM.has(&alone, &[need(1)], true));
        assert!(!ROOM.has(&need(1), &[alone], true));
    }

    #[test]
    fn longest_first_and_alone_last() {
        let test = |seconds, alone| {
            let need = Need {
                seconds,
                alone,
                ..need(1)
            };
            (need, seconds)
        };
        let mut tests = vec![test(5.0, true), test(1.0, false), test(9.0, false)];
        sort(&mut tests);
        let order: Vec<_> = tests.iter().map(|(_, s)| *s).collect();
        assert_eq!(order, [9.0, 1.0, 5.0]);
    }

    #[test]
    fn runs_each_once_and_no_more_than_fit() {
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let tests = (0..10).map(|n| (need(40), n)).collect();
        let work = |n: u32| {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            thread::sleep(Duration::from_millis(20));
            now.fetch_sub(1, Ordering::SeqCst);
            n
        };
        let mut seen = Vec::new();
        run(tests, ROOM, work, |n| seen.push(n));
        seen.sort_unstable();
        assert_eq!(seen, (0..10).collect::<Vec<_>>());
        assert!(most.into_inner() <= 4);
    }
}
