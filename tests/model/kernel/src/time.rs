// SPDX-License-Identifier: GPL-2.0

//! `kernel::time`: a clock that moves on when the scheduler says so, to the next moment that
//! somebody waits for. Without [`Clock`] it stands still: who waits for a time then waits for ever.

use crate::sync::{End, Waiter};
use shuttle::rand::{thread_rng, Rng};
use shuttle::thread;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// A tick is a millisecond.
pub type Jiffies = u64;

#[derive(Default)]
struct State {
    now: Jiffies,
    /// Who waits, by the moment and a number.
    timers: BTreeMap<(Jiffies, u64), Arc<Waiter>>,
    next: u64,
    /// The clock's thread, while it has nothing to do.
    idle: Option<thread::Thread>,
    stopped: bool,
    /// It moves on when nobody else does anything.
    patient: bool,
    /// How many locks were taken.
    locks: u64,
    /// How many moments there were.
    moments: i64,
    /// Threads that are quick now, and do not wait: time stands still meanwhile.
    quick: HashSet<thread::ThreadId>,
    /// One of how many waits has a signal pending; 0 for none.
    signals: u32,
}

thread_local! {
    // All threads of a schedule are one thread of the machine.
    static STATE: RefCell<State> = RefCell::default();
}

fn with<R>(f: impl FnOnce(&mut State) -> R) -> R {
    STATE.with_borrow_mut(f)
}

/// A moment in whose waits one of `signals` meets a signal; 0 for none. To begin a schedule with.
pub fn reset(signals: u32) {
    // Dropped when it is not borrowed any more.
    let _old = with(|s| {
        std::mem::replace(
            s,
            State {
                signals,
                ..State::default()
            },
        )
    });
}

/// The time.
pub fn now() -> Jiffies {
    with(|s| s.now)
}

/// A moment that is after all that were asked for before.
pub fn moment() -> i64 {
    with(|s| {
        s.moments += 1;
        s.moments
    })
}

pub(crate) fn signal_pending() -> bool {
    let signals = with(|s| s.signals);
    signals > 0 && thread_rng().gen_ratio(1, signals)
}

/// Ends the wait of `waiter` after a time.
pub(crate) fn arm(time: Jiffies, waiter: Arc<Waiter>) -> (Jiffies, u64) {
    let (timer, idle) = with(|s| {
        s.next += 1;
        let timer = (s.now + time, s.next);
        s.timers.insert(timer, waiter);
        (timer, s.idle.take())
    });
    if let Some(clock) = idle {
        clock.unpark();
    }
    timer
}

pub(crate) fn disarm(timer: (Jiffies, u64)) {
    let _waiter = with(|s| s.timers.remove(&timer));
}

/// From now on, it moves on only when nobody else does anything, or as before.
pub fn set_patient(patient: bool) {
    with(|s| s.patient = patient);
}

/// A lock is taken.
pub(crate) fn note_lock() {
    with(|s| s.locks += 1);
}

/// For how many turns of the clock's thread that is so.
const QUIET: u32 = 8;

/// A clock that moves on.
pub struct Clock(thread::JoinHandle<()>);

impl Clock {
    /// One that moves on once in `pace` times that it could, so that others get on meanwhile.
    pub fn start(pace: u32) -> Self {
        // For how many turns nobody has taken a lock, and how many had been taken then.
        let mut quiet = (0, 0);
        Clock(thread::spawn(move || loop {
            let (stopped, idle, patient, locks) = with(|s| {
                if s.timers.is_empty() {
                    s.idle = Some(thread::current());
                }
                (s.stopped, s.idle.is_some(), s.patient, s.locks)
            });
            quiet = (if locks == quiet.1 { quiet.0 + 1 } else { 0 }, locks);
            let moves_on = match patient {
                true => quiet.0 > QUIET,
                false => thread_rng().gen_ratio(1, pace),
            };
            if stopped {
                return;
            }
            if idle {
                thread::park();
                with(|s| s.idle = None);
            } else if moves_on {
                quiet.0 = 0;
                let first = with(|s| {
                    if !s.quick.is_empty() {
                        return None;
                    }
                    let ((moment, _), waiter) = s.timers.pop_first()?;
                    s.now = s.now.max(moment);
                    Some(waiter)
                });
                match first {
                    Some(waiter) => waiter.wake(End::Timeout),
                    None => thread::yield_now(),
                }
            } else {
                thread::yield_now();
            }
        }))
    }

    /// Nobody waits for a time any more.
    pub fn stop(self) {
        let idle = with(|s| {
            s.stopped = true;
            s.idle.take()
        });
        if let Some(clock) = idle {
            clock.unpark();
        }
        self.0.join().unwrap();
    }
}

/// Calls `f`, which takes no time but where it waits.
pub fn quickly<R>(f: impl FnOnce() -> R) -> R {
    let id = thread::current().id();
    let is_first = with(|s| s.quick.insert(id));
    let result = f();
    if is_first {
        with(|s| s.quick.remove(&id));
    }
    result
}

/// Waits, as `f` does.
pub(crate) fn wait<R>(f: impl FnOnce() -> R) -> R {
    let id = thread::current().id();
    let was_quick = with(|s| s.quick.remove(&id));
    let result = f();
    if was_quick {
        with(|s| s.quick.insert(id));
    }
    result
}

/// Sleeps for a time.
pub fn sleep(time: Jiffies) {
    let waiter = Waiter::new();
    arm(time, waiter.clone());
    waiter.wait();
}

pub fn msecs_to_jiffies(msecs: u32) -> Jiffies {
    msecs.into()
}

/// A span of time, which nobody measures.
#[derive(Clone, Copy)]
pub struct Delta;

impl Delta {
    pub const fn from_millis(_: i64) -> Self {
        Delta
    }
}

pub mod delay {
    /// Any time may be over when it ends.
    pub fn fsleep(_: super::Delta) {
        super::wait(shuttle::thread::yield_now);
    }
}
