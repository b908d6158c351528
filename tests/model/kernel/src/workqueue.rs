// SPDX-License-Identifier: GPL-2.0

//! `kernel::workqueue`: a work item runs once for all times that it was queued meanwhile, and never
//! twice at a time.

use shuttle::thread;
use std::cell::RefCell;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex as Cell};

pub use crate::{impl_has_work, new_work};

thread_local! {
    static WORKERS: RefCell<Vec<thread::JoinHandle<()>>> = RefCell::default();
}

/// Waits until all work is done.
pub fn flush() {
    while let Some(worker) = WORKERS.with_borrow_mut(Vec::pop) {
        worker.join().unwrap();
    }
}

/// Forgets the workers of a schedule that failed. To begin a schedule with.
pub fn reset() {
    WORKERS.take();
}

pub trait WorkItem: HasWork + Send + Sync + Sized + 'static {
    type Pointer;

    fn run(this: Arc<Self>);
}

pub trait HasWork: Sized {
    fn work(&self) -> &Work<Self>;
}

#[macro_export]
macro_rules! impl_has_work {
    (impl HasWork<Self> for $type:ty { self.$field:ident }) => {
        impl $crate::workqueue::HasWork for $type {
            fn work(&self) -> &$crate::workqueue::Work<Self> {
                &self.$field
            }
        }
    };
}

#[derive(Default)]
struct State {
    pending: bool,
    running: bool,
}

pub struct Work<T>(Cell<State>, PhantomData<fn() -> T>);

impl<T> Work<T> {
    // As in the kernel, where it takes a name.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Work(Cell::default(), PhantomData)
    }
}

#[macro_export]
macro_rules! new_work {
    ($($name:literal)?) => {
        $crate::workqueue::Work::new()
    };
}

pub struct Queue;

pub fn system_long() -> Queue {
    Queue
}

impl Queue {
    /// Queues it, or gives it back if it is queued already.
    pub fn enqueue<T: WorkItem>(&self, item: Arc<T>) -> Result<(), Arc<T>> {
        thread::yield_now();
        {
            let mut state = item.work().0.lock().unwrap();
            if std::mem::replace(&mut state.pending, true) {
                drop(state);
                return Err(item);
            }
            if std::mem::replace(&mut state.running, true) {
                return Ok(());
            }
        }
        let worker = thread::spawn(move || {
            while begin(item.work()) {
                T::run(item.clone());
            }
        });
        WORKERS.with_borrow_mut(|workers| workers.push(worker));
        Ok(())
    }
}

/// Is there more to do?
fn begin<T>(work: &Work<T>) -> bool {
    let mut state = work.0.lock().unwrap();
    state.running = std::mem::take(&mut state.pending);
    state.running
}
