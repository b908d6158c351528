// SPDX-License-Identifier: GPL-2.0

//! `kernel::sync`, over shuttle: at each lock, unlock, wait and notification another thread may
//! go on.

use crate::time::{self, Jiffies};
use crate::Flags;
use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};
use pinned_init::PinInit;
use shuttle::rand::{thread_rng, Rng};
use shuttle::{sync as shuttle_sync, thread};
use std::cell::Cell as Setting;
use std::mem::MaybeUninit;
use std::sync::Mutex as Cell;

/// The standard library's, as `self: &Arc<Self>` works with no other. When something is dropped
/// depends on the schedule all the same.
pub use std::sync::Arc;

pub use crate::{new_condvar, new_mutex};

/// `Arc::pin_init()`.
pub trait InPlaceInit<T>: Sized {
    fn pin_init<E>(init: impl PinInit<T, E>, flags: Flags) -> Result<Self, E>;
}

impl<T> InPlaceInit<T> for Arc<T> {
    fn pin_init<E>(init: impl PinInit<T, E>, _: Flags) -> Result<Self, E> {
        let mut place = Box::new(MaybeUninit::<T>::uninit());
        // SAFETY: The place is valid for writes. Its value moves into the `Arc` afterwards, which
        // is no harm, as nothing in this crate or the model is self-referential.
        unsafe {
            init.__pinned_init(place.as_mut_ptr())?;
            Ok(Arc::new(place.assume_init_read()))
        }
    }
}

thread_local! {
    static STALLS: Setting<u32> = const { Setting::new(0) };
}

/// Who wants a lock is preempted before, while others do much, once in so many times; 0 for never. To begin a schedule with.
pub fn set_stalls(one_in: u32) {
    STALLS.set(one_in);
}

fn stall() {
    let one_in = STALLS.get();
    if one_in > 0 && thread_rng().gen_ratio(1, one_in) {
        let turns = thread_rng().gen_range(0..STALL);
        time::quickly(|| (0..turns).for_each(|_| thread::yield_now()));
    }
}

/// How often others may go on meanwhile.
const STALL: u32 = 400;

pub struct Mutex<T> {
    raw: shuttle_sync::Mutex<()>,
    data: UnsafeCell<T>,
}

// SAFETY: `raw` guards `data`.
unsafe impl<T: Send> Sync for Mutex<T> {}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Mutex::new(T::default())
    }
}

impl<T> Mutex<T> {
    pub const fn new(data: T) -> Self {
        Mutex {
            raw: shuttle_sync::Mutex::new(()),
            data: UnsafeCell::new(data),
        }
    }

    pub fn lock(&self) -> lock::Guard<'_, T, lock::mutex::MutexBackend> {
        lock::Guard::new(self)
    }
}

/// `kernel::sync::lock`.
pub mod lock {
    use super::*;
    use core::marker::PhantomData;

    pub mod mutex {
        pub struct MutexBackend;
    }

    pub struct Guard<'a, T, B> {
        lock: &'a Mutex<T>,
        /// None while it waits.
        raw: Option<shuttle_sync::MutexGuard<'a, ()>>,
        backend: PhantomData<B>,
    }

    impl<'a, T, B> Guard<'a, T, B> {
        pub(super) fn new(lock: &'a Mutex<T>) -> Self {
            let mut guard = Guard {
                lock,
                raw: None,
                backend: PhantomData,
            };
            guard.take();
            guard
        }

        fn take(&mut self) {
            stall();
            time::note_lock();
            // A panic elsewhere ends the whole schedule.
            self.raw = Some(self.lock.raw.lock().unwrap_or_else(|e| e.into_inner()));
        }

        /// Calls `f` without the lock.
        pub(super) fn unlocked<R>(&mut self, f: impl FnOnce() -> R) -> R {
            self.raw = None;
            let result = f();
            self.take();
            result
        }
    }

    impl<T, B> Deref for Guard<'_, T, B> {
        type Target = T;

        fn deref(&self) -> &T {
            // SAFETY: The lock is held.
            unsafe { &*self.lock.data.get() }
        }
    }

    impl<T, B> DerefMut for Guard<'_, T, B> {
        fn deref_mut(&mut self) -> &mut T {
            // SAFETY: The lock is held.
            unsafe { &mut *self.lock.data.get() }
        }
    }
}

pub struct LockedBy<T, U> {
    owner: *const U,
    data: UnsafeCell<T>,
}

// SAFETY: The owner's lock guards `data`, and `owner` is not dereferenced.
unsafe impl<T: Send, U> Send for LockedBy<T, U> {}
// SAFETY: As above.
unsafe impl<T: Send, U> Sync for LockedBy<T, U> {}

impl<T, U> LockedBy<T, U> {
    pub fn new(owner: &Mutex<U>, data: T) -> Self {
        LockedBy {
            owner: owner.data.get(),
            data: UnsafeCell::new(data),
        }
    }

    pub fn access<'a>(&'a self, owner: &'a U) -> &'a T {
        assert!(core::ptr::eq(owner, self.owner), "another's lock");
        // SAFETY: Who has a reference to the owner's data holds the lock.
        unsafe { &*self.data.get() }
    }

    #[allow(clippy::mut_from_ref)]
    pub fn access_mut<'a>(&'a self, owner: &'a mut U) -> &'a mut T {
        assert!(core::ptr::eq(owner, self.owner), "another's lock");
        // SAFETY: As above, and nobody else has one.
        unsafe { &mut *self.data.get() }
    }
}

/// Why a wait ended.
#[derive(Clone, Copy)]
pub(crate) enum End {
    Woken,
    Timeout,
}

/// A thread that waits.
pub(crate) struct Waiter {
    end: Cell<Option<End>>,
    thread: thread::Thread,
}

impl Waiter {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Waiter {
            end: Cell::new(None),
            thread: thread::current(),
        })
    }

    pub(crate) fn wait(&self) -> End {
        loop {
            // The cell must not stay locked while others run.
            let end = *self.end.lock().unwrap();
            match end {
                Some(end) => return end,
                None => time::wait(thread::park),
            }
        }
    }

    pub(crate) fn wake(&self, why: End) {
        self.end.lock().unwrap().get_or_insert(why);
        self.thread.unpark();
    }
}

pub enum CondVarTimeoutResult {
    Woken { jiffies: Jiffies },
    Timeout,
    Signal { jiffies: Jiffies },
}

#[derive(Default)]
pub struct CondVar {
    waiters: Cell<Vec<Arc<Waiter>>>,
}

impl CondVar {
    pub fn new() -> Self {
        Self::default()
    }

    fn sleep<T, B>(&self, guard: &mut lock::Guard<'_, T, B>, limit: Option<Jiffies>) -> End {
        let waiter = Waiter::new();
        self.waiters.lock().unwrap().push(waiter.clone());
        let timer = limit.map(|limit| time::arm(limit, waiter.clone()));
        guard.unlocked(|| {
            let end = waiter.wait();
            self.waiters
                .lock()
                .unwrap()
                .retain(|w| !Arc::ptr_eq(w, &waiter));
            if let Some(timer) = timer {
                time::disarm(timer);
            }
            end
        })
    }

    pub fn wait<T, B>(&self, guard: &mut lock::Guard<'_, T, B>) {
        self.sleep(guard, None);
    }

    pub fn wait_interruptible_timeout<T, B>(
        &self,
        guard: &mut lock::Guard<'_, T, B>,
        jiffies: Jiffies,
    ) -> CondVarTimeoutResult {
        if time::signal_pending() {
            guard.unlocked(thread::yield_now);
            return CondVarTimeoutResult::Signal { jiffies };
        }
        match self.sleep(guard, Some(jiffies)) {
            End::Woken => CondVarTimeoutResult::Woken { jiffies },
            End::Timeout => CondVarTimeoutResult::Timeout,
        }
    }

    pub fn notify_one(&self) {
        let waiters = &self.waiters;
        let first = {
            let mut waiters = waiters.lock().unwrap();
            (!waiters.is_empty()).then(|| waiters.remove(0))
        };
        thread::yield_now();
        if let Some(waiter) = first {
            waiter.wake(End::Woken);
        }
    }

    pub fn notify_all(&self) {
        let waiters = std::mem::take(&mut *self.waiters.lock().unwrap());
        for waiter in waiters {
            waiter.wake(End::Woken);
        }
    }
}

#[macro_export]
macro_rules! new_mutex {
    ($inner:expr, $($name:literal)?) => {
        $crate::sync::Mutex::new($inner)
    };
}

#[macro_export]
macro_rules! new_condvar {
    ($($name:literal)?) => {
        $crate::sync::CondVar::new()
    };
}
