// SPDX-License-Identifier: GPL-2.0
//! What the daemon has done, as a thread that waits for signals may read it at any time.

use crate::codec::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A count.
#[derive(Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Counts one more, and returns how many there are now.
    pub fn one(&self) -> u64 {
        self.add(1)
    }

    /// Counts so many more, and returns how many there are now.
    pub fn add(&self, more: u64) -> u64 {
        // One thread writes.
        let now = self.get() + more;
        self.0.store(now, Ordering::Relaxed);
        now
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// All counts.
#[derive(Default)]
pub struct Stats {
    /// Upcalls read, by command.
    pub upcalls: [Count; 6],
    /// Records sent.
    pub records: Count,
    /// Microseconds from reading a GraceStart until its last answer was taken.
    pub grace_start_us: Count,
    /// Answers that the kernel did not take.
    pub refused: Count,
    /// Times that the pipe was opened.
    pub opened: Count,
}

impl Stats {
    /// Counts an upcall, and returns how many of this command there were.
    pub fn upcall(&self, command: Command) -> u64 {
        self.upcalls[command as usize].one()
    }

    /// Adds the time of a GraceStart.
    pub fn grace_start_took(&self, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.grace_start_us.add(us);
    }

    /// One line of JSON.
    pub fn json(&self) -> String {
        let upcalls = Command::ALL.map(|c| (c.name(), &self.upcalls[c as usize]));
        let others = [
            ("records", &self.records),
            ("grace_start_us", &self.grace_start_us),
            ("refused", &self.refused),
            ("opened", &self.opened),
        ];
        let all = upcalls.iter().chain(&others);
        let members: Vec<_> = all
            .map(|(name, count)| format!("\"{name}\": {}", count.get()))
            .collect();
        format!("{{{}}}", members.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts() {
        let stats = Stats::default();
        assert_eq!(stats.upcall(Command::Remove), 1);
        assert_eq!(stats.upcall(Command::Remove), 2);
        stats.records.add(5);
        stats.grace_start_took(Duration::from_millis(2));
        assert_eq!(
            stats.json(),
            "{\"create\": 0, \"remove\": 2, \"check\": 0, \"grace_done\": 0, \"grace_start\": 0, \
             \"get_version\": 0, \"records\": 5, \"grace_start_us\": 2000, \"refused\": 0, \"opened\": 0}"
        );
    }
}
