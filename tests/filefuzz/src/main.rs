// SPDX-License-Identifier: GPL-2.0
//! Writes anything to the client tracking pipe and to the module's control files.
//!
//! Threads with random numbers of their own take turns at all files. Beside them one does what an
//! admin would do so that the server can go on working: it ends the grace periods that valid
//! commands have begun, and confirms what `nlm_clients` wants to be recorded.

mod admin;
mod commands;
mod memory;
mod messages;
mod mutate;
mod options;
mod random;
mod stats;
mod sys;
mod target;
mod worker;

use anyhow::{Context, Result};
use clap::Parser;
use options::Options;
use random::Random;
use stats::{Stats, Table};
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use worker::Worker;

/// What the threads share.
pub struct Shared {
    /// Writes so far.
    pub writes: AtomicU64,
    /// The last number that `nlm_clients` has shown.
    pub sequence: AtomicU64,
    /// The threads that write; 0 for one that does not.
    threads: Vec<AtomicI32>,
}

impl Shared {
    /// Does somebody still write?
    pub fn is_busy(&self) -> bool {
        self.threads().next().is_some()
    }

    fn threads(&self) -> impl Iterator<Item = i32> + '_ {
        let threads = self.threads.iter().map(|t| t.load(Ordering::Relaxed));
        threads.filter(|thread| *thread != 0)
    }
}

/// A thread writes as long as this is there.
struct Busy<'a>(&'a AtomicI32);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

fn main() -> Result<()> {
    let options = Options::parse();
    let seed = options.seed.unwrap_or_else(random::any_seed);
    println!(
        "seed={seed} writes={} threads={}",
        options.writes, options.threads
    );
    sys::let_signals_interrupt()?;
    let shared = Shared {
        writes: AtomicU64::new(0),
        sequence: AtomicU64::new(0),
        // There is none of this number.
        threads: (0..options.threads).map(|_| AtomicI32::new(-1)).collect(),
    };
    let seeds = (0..options.threads as u64).map(|n| seed.wrapping_add(n << 32));
    let workers: Vec<_> = seeds
        .map(|seed| Worker::new(&options, &shared, Random::new(seed)))
        .collect::<Result<_>>()?;
    let began = Instant::now();
    let stats = thread::scope(|scope| {
        let workers: Vec<_> = workers
            .into_iter()
            .zip(&shared.threads)
            .map(|(worker, id)| {
                scope.spawn(move || {
                    id.store(sys::thread_id(), Ordering::Relaxed);
                    let _busy = Busy(id);
                    worker.run()
                })
            })
            .collect();
        scope.spawn(|| admin::run(&options, &shared));
        watch(&options, &shared, began);
        let mut stats = Stats::new(&options);
        for worker in workers {
            stats.add(&worker.join().ok().context("a thread has panicked")?);
        }
        anyhow::Ok(stats)
    })?;
    let seconds = began.elapsed().as_secs_f64();
    print!("{}", Table::of_writes(&stats));
    print!("{}", Table::of_calls(&stats));
    let writes = shared.writes.load(Ordering::Relaxed);
    println!(
        "{writes} writes in {seconds:.1} s, {:.0} a second; {} upcalls read, {} answered; seed={seed}",
        writes as f64 / seconds,
        stats.upcalls,
        stats.answered
    );
    Ok(())
}

/// Until all threads have ended: interrupts them now and then, as a write may sleep until something
/// happens, and says every ten seconds how far they are.
fn watch(options: &Options, shared: &Shared, began: Instant) {
    let mut said = began;
    while shared.is_busy() {
        thread::sleep(Duration::from_millis(options.interrupt));
        shared.threads().for_each(sys::interrupt);
        if said.elapsed() >= Duration::from_secs(10) {
            said = Instant::now();
            let (writes, seconds) = (
                shared.writes.load(Ordering::Relaxed),
                began.elapsed().as_secs(),
            );
            println!("{seconds} s: {writes} of {} writes", options.writes);
        }
    }
}
