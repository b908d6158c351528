// SPDX-License-Identifier: GPL-2.0
//! What /proc says of this host and of processes on it.

use crate::limit::Delays;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// Clock ticks of /proc in a second, which is part of the kernel's interface.
const TICKS: f64 = 100.0;

/// How long the threads of a process have waited for a CPU (run_delay, the second number of their schedstat).
pub fn delays(pid: u32) -> Delays {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"));
    let tasks = tasks.into_iter().flatten().flatten();
    tasks
        .filter_map(|task| {
            let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
            let waited = text.split_whitespace().nth(1)?.parse().ok()?;
            let thread = task.file_name().to_str()?.parse().ok()?;
            Some((thread, Duration::from_nanos(waited)))
        })
        .collect()
}

/// CPU time of a process that has not been waited for.
pub fn cpu_time(pid: u32) -> Duration {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    Duration::from_secs_f64(stat_ticks(&text).unwrap_or_default() / TICKS)
}

/// utime and stime: the fields 14 and 15, of which the second is a name in brackets.
fn stat_ticks(text: &str) -> Option<f64> {
    let (_, fields) = text.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11);
    let (user, system): (f64, f64) = (times.next()?.parse().ok()?, times.next()?.parse().ok()?);
    Some(user + system)
}

/// Number of CPUs.
pub fn cpus() -> u32 {
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    u32::try_from(cpus).unwrap_or(1)
}

/// MiB of memory that programs can still have.
pub fn mem_available() -> u32 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|l| l.split_whitespace().next()?.parse::<u32>().ok());
    kib.unwrap_or(0) / 1024
}

/// Sees how many CPUs are idle.
pub struct Load {
    since: Instant,
    idle: f64,
}

impl Load {
    /// Begins to look.
    pub fn new() -> Self {
        Self {
            since: Instant::now(),
            idle: idle_ticks(&fs::read_to_string(Path::new("/proc/stat")).unwrap_or_default()),
        }
    }

    /// How long it has looked.
    pub fn age(&self) -> Duration {
        self.since.elapsed()
    }

    /// How many CPUs were idle in the mean since it began, and begins anew.
    pub fn idle_cpus(&mut self) -> f64 {
        let now = Self::new();
        let ticks = (now.since - self.since).as_secs_f64() * TICKS;
        let idle = (now.idle - self.idle).max(0.0) / ticks.max(1.0);
        *self = now;
        idle
    }
}

/// Ticks in which a CPU had nothing to do, or waited for a disk only.
fn idle_ticks(stat: &str) -> f64 {
    let line = stat.lines().next().unwrap_or_default();
    let numbers = line.split_whitespace().skip(4).take(2);
    numbers.filter_map(|n| n.parse::<f64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_proc() {
        let line = "42 (a ) b) S 1 2 3 4 5 6 7 8 9 10 150 25 0 0 20";
        assert_eq!(stat_ticks(line), Some(175.0));
        assert_eq!(stat_ticks("nonsense"), None);
        assert_eq!(idle_ticks("cpu  1 2 3 40 5 6 7\ncpu0 1"), 45.0);
        let us = std::process::id();
        assert!(delays(us).contains_key(&us));
        assert!(mem_available() > 0);
    }
}
