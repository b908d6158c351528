// SPDX-License-Identifier: GPL-2.0

//! `kernel::workqueue`: a work item runs once for all times that it was queued meanwhile, and never
//! twice at a time.

use shuttle::thread;
use std::cell::RefCell;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex as Cell};

pub use crate::{impl_has_work, new_work};

thread_local! {
    /// Each with the number of its work item.
    static WORKERS: RefCell<Vec<(u64, thread::JoinHandle<()>)>> = RefCell::default();
}

/// Waits until all work is done, and what it has queued.
pub fn flush() {
    while let Some((_, worker)) = WORKERS.with_borrow_mut(Vec::pop) {
        worker.join().unwrap();
    }
}

/// The same, of one work item.
pub fn flush_one(id: u64) {
    let one = |workers: &mut Vec<(u64, _)>| {
        let at = workers.iter().position(|worker| worker.0 == id)?;
        Some(workers.swap_remove(at).1)
    };
    while let Some(worker) = WORKERS.with_borrow_mut(one) {
        worker.join().unwrap();
    }
}

/// Forgets the workers of a schedule that failed. To begin a schedule with.
pub fn reset() {
    WORKERS.take();
}

pub trait WorkItem<const ID: u64 = 0>: HasWork<Self, ID> + Send + Sync + Sized + 'static {
    type Pointer;

    fn run(this: Arc<Self>);
}

pub trait HasWork<T, const ID: u64 = 0> {
    fn work(&self) -> &Work<T, ID>;
}

/// What can be queued.
pub trait RawWorkItem<const ID: u64>: Sized {
    type Item: WorkItem<ID>;

    fn item(self) -> Arc<Self::Item>;
}

impl<T: WorkItem<ID>, const ID: u64> RawWorkItem<ID> for Arc<T> {
    type Item = T;

    fn item(self) -> Arc<T> {
        self
    }
}

#[macro_export]
macro_rules! impl_has_work {
    (impl HasWork<Self $(, $id:tt)?> for $type:ty { self.$field:ident }) => {
        impl $crate::workqueue::HasWork<$type $(, $id)?> for $type {
            fn work(&self) -> &$crate::workqueue::Work<Self $(, $id)?> {
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

pub struct Work<T, const ID: u64 = 0>(Cell<State>, PhantomData<fn() -> T>);

impl<T, const ID: u64> Work<T, ID> {
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
    /// Queues it, or says that it is queued already.
    pub fn enqueue<P: RawWorkItem<ID>, const ID: u64>(&self, item: P) -> Result<(), Arc<P::Item>> {
        thread::yield_now();
        let item = item.item();
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
                P::Item::run(item.clone());
            }
        });
        WORKERS.with_borrow_mut(|workers| workers.push((ID, worker)));
        Ok(())
    }
}

/// Is there more to do?
fn begin<T, const ID: u64>(work: &Work<T, ID>) -> bool {
    let mut state = work.0.lock().unwrap();
    state.running = std::mem::take(&mut state.pending);
    state.running
}
