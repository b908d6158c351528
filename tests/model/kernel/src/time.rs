// SPDX-License-Identifier: GPL-2.0

//! `kernel::time`: a clock that moves on when the scheduler says so, to the next moment that
//! somebody waits for. Without [`Clock`] it stands still: who waits for a time then waits for ever.

use crate::sync::{End, Waiter};
use shuttle::rand::{thread_rng, Rng};
use shuttle::thread;
use std::cell::RefCell;
use std::collections::BTreeMap;
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

/// A clock that moves on.
pub struct Clock(thread::JoinHandle<()>);

impl Clock {
    /// One that moves on once in `pace` times that it could, so that others get on meanwhile.
    pub fn start(pace: u32) -> Self {
        Clock(thread::spawn(move || loop {
            let (stopped, idle) = with(|s| {
                if s.timers.is_empty() {
                    s.idle = Some(thread::current());
                }
                (s.stopped, s.idle.is_some())
            });
            if stopped {
                return;
            }
            if idle {
                thread::park();
                with(|s| s.idle = None);
            } else if thread_rng().gen_ratio(1, pace) {
                let first = with(|s| {
                    let ((moment, _), waiter) = s.timers.pop_first()?;
                    s.now = s.now.max(moment);
                    Some(waiter)
                });
                if let Some(waiter) = first {
                    waiter.wake(End::Timeout);
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
        shuttle::thread::yield_now();
    }
}
