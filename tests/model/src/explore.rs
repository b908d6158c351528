// SPDX-License-Identifier: GPL-2.0

//! Runs a scenario in many schedules.

use kernel::{sync, time, workqueue};
use shuttle::rand::{thread_rng, Rng};
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, FailurePersistence, MaxSteps, Runner};
use std::cell::Cell;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Once;

/// Schedules of each scenario by each scheduler.
const SCHEDULES: usize = 1_000;
/// How many preemptions PCT looks for that a fault needs together.
const DEPTH: usize = 3;
/// Steps of a schedule that gets nowhere.
const STEPS: usize = 200_000;

thread_local! {
    static SEED: Cell<u64> = const { Cell::new(0) };
}

/// Runs `scenario` in schedules by chance, then in such with few preemptions (PCT). One of so many
/// waits meets a signal; 0 for none.
///
/// `NFSD_HA_SCHEDULES` says how many, `NFSD_HA_SEED` which.
pub(crate) fn explore(signals: u32, scenario: impl Fn() + Copy + Send + Sync + 'static) {
    let schedules = number("NFSD_HA_SCHEDULES").unwrap_or(SCHEDULES as u64) as usize;
    let seed = number("NFSD_HA_SEED").unwrap_or_else(|| RandomState::new().build_hasher().finish());
    SEED.set(seed);
    show_seed_of_failures();
    run(
        RandomScheduler::new_from_seed(seed, schedules),
        signals,
        scenario,
    );
    run(
        PctScheduler::new_from_seed(seed, DEPTH, schedules),
        signals,
        scenario,
    );
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name}={text} is no number")),
    )
}

fn run(
    scheduler: impl Scheduler + 'static,
    signals: u32,
    scenario: impl Fn() + Send + Sync + 'static,
) {
    let mut config = Config::new();
    config.stack_size = 1 << 17;
    config.failure_persistence = FailurePersistence::None;
    config.max_steps = MaxSteps::FailAfter(STEPS);
    config.silence_warnings = true;
    Runner::new(scheduler, config).run(move || {
        time::reset(signals);
        workqueue::reset();
        sync::set_stalls(0);
        kernel::never_fail();
        scenario();
    });
}

/// Also of one that cannot unwind.
fn show_seed_of_failures() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            eprintln!("to run this again: NFSD_HA_SEED={}", SEED.get());
            hook(info);
        }));
    });
}

/// True once in `n` times.
pub(crate) fn one_in(n: u32) -> bool {
    thread_rng().gen_ratio(1, n)
}

/// A number below `n`.
pub(crate) fn below(n: usize) -> usize {
    thread_rng().gen_range(0..n)
}
