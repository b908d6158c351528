// SPDX-License-Identifier: GPL-2.0

//! As `rust/tracking/pipe.rs` and `message.rs`, with sunrpc in it (`net/sunrpc/rpc_pipe.c`), function by function:
//! who holds which lock, and the order of what is done, are those of the C code.

use crate::nfs4::nfsd::Changing;
use core::sync::atomic::{AtomicBool, Ordering};
use kernel::prelude::*;
use kernel::sync::{new_condvar, new_mutex, Arc, CondVar, Mutex};
use kernel::uaccess::UserSliceReader;
use std::collections::VecDeque;

pub(crate) trait Handler: Sized + Send + Sync {
    type Body: Send + Sync;

    fn downcall(pipe: &Pipe<Self>, data: UserSliceReader) -> Result;
    fn delivered(pipe: &Pipe<Self>, message: Arc<Message<Self::Body>>);
    fn returned(pipe: &Pipe<Self>, message: Arc<Message<Self::Body>>, why: Error);
    fn opened(pipe: &Pipe<Self>);
    fn closed(pipe: &Pipe<Self>);
}

#[pin_data]
pub(crate) struct Message<T> {
    len: usize,
    queued: AtomicBool,
    /// Nobody ever waits for it: that would be a use by two at a time.
    bytes: std::sync::Mutex<KVec<u8>>,
    #[pin]
    pub(crate) body: T,
}

impl<T> Message<T> {
    pub(crate) fn new<E>(
        bytes: KVec<u8>,
        len: usize,
        body: impl PinInit<T, E>,
    ) -> impl PinInit<Self, Error>
    where
        Error: From<E>,
    {
        try_pin_init!(Self {
            len,
            queued: AtomicBool::new(false),
            bytes: std::sync::Mutex::new(bytes),
            body <- body,
        }? Error)
    }

    pub(crate) fn is_queued(&self) -> bool {
        self.queued.load(Ordering::Acquire)
    }
}

/// sunrpc's `struct rpc_pipe`, but for its lists' messages in the hands of a reader.
struct Lists<T> {
    unread: VecDeque<Arc<Message<T>>>,
    readers: usize,
    /// How often the last reader has gone.
    epoch: u32,
    /// Has `rpc_unlink()` been called?
    unlinked: bool,
}

/// The lists, their spinlock, and who waits for a message.
pub(crate) struct Queue<T> {
    lists: Mutex<Lists<T>>,
    news: CondVar,
}

#[pin_data(PinnedDrop)]
pub(crate) struct Pipe<H: Handler> {
    queue: Arc<Queue<H::Body>>,
    /// `queue_timeout` is to run.
    timeout_due: Mutex<bool>,
    /// Locked while it runs.
    timeout_runs: Mutex<()>,
    inode: Arc<Inode<H>>,
    #[pin]
    pub(crate) handler: H,
}

/// A pipe's inode.
pub(crate) struct Inode<H: Handler> {
    /// The inode lock, and the pipe behind it.
    pipe: Mutex<Option<Behind<H>>>,
    queue: Arc<Queue<H::Body>>,
}

struct Behind<H: Handler>(*const Pipe<H>);

impl<H: Handler> Clone for Behind<H> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<H: Handler> Copy for Behind<H> {}

// SAFETY: A pipe may be shared.
unsafe impl<H: Handler> Send for Behind<H> {}

impl<H: Handler> Pipe<H> {
    pub(crate) fn new<E>(handler: impl PinInit<H, E>) -> impl PinInit<Self, Error>
    where
        Error: From<E>,
    {
        let queue = Arc::new(Queue {
            lists: new_mutex!(
                Lists {
                    unread: VecDeque::new(),
                    readers: 0,
                    epoch: 0,
                    unlinked: false,
                },
                "rpc_pipe::lock"
            ),
            news: new_condvar!("rpc_inode::waitq"),
        });
        let inode = Arc::new(Inode {
            pipe: new_mutex!(None, "inode"),
            queue: queue.clone(),
        });
        try_pin_init!(Self {
            queue,
            timeout_due: new_mutex!(false, "queue_timeout"),
            timeout_runs: new_mutex!((), "queue_timeout runs"),
            inode,
            handler <- handler,
        }? Error)
    }
}

impl Pipe<crate::tracking::channel::Channel> {
    /// # Safety
    ///
    /// As in the module.
    pub(crate) unsafe fn publish(&self, server: &Changing<'_>) -> Result {
        *self.inode.pipe.lock() = Some(Behind(self));
        server.nn().show(Some(self.inode.clone()));
        Ok(())
    }

    /// # Safety
    ///
    /// As in the module.
    pub(crate) unsafe fn unpublish(&self, server: &Changing<'_>) {
        self.cancel_timeout();
        server.nn().show(None);
        self.unlink();
    }
}

impl<H: Handler> Pipe<H> {
    /// `rpc_close_pipes()`.
    fn unlink(&self) {
        let mut behind = self.inode.pipe.lock();
        let mut lists = self.queue.lists.lock();
        let need_release = lists.readers != 0;
        lists.readers = 0;
        lists.unlinked = true;
        let unread = core::mem::take(&mut lists.unread);
        drop(lists);
        self.purge(unread, EPIPE);
        self.queue.news.notify_all();
        if need_release {
            H::closed(self);
        }
        self.cancel_timeout();
        *behind = None;
    }

    /// `cancel_delayed_work_sync()`.
    fn cancel_timeout(&self) {
        *self.timeout_due.lock() = false;
        drop(self.timeout_runs.lock());
    }

    /// `rpc_timeout_upcall_queue()`: nobody has read for a while.
    pub(crate) fn time_out(&self) {
        let runs = self.timeout_runs.lock();
        if !core::mem::take(&mut *self.timeout_due.lock()) {
            return;
        }
        let mut lists = self.queue.lists.lock();
        let unread = match lists.readers {
            0 => core::mem::take(&mut lists.unread),
            _ => VecDeque::new(),
        };
        drop(lists);
        self.purge(unread, ETIMEDOUT);
        drop(runs);
    }

    fn purge(&self, messages: VecDeque<Arc<Message<H::Body>>>, why: Error) {
        for message in messages {
            self.destroy(message, Err(why));
        }
    }

    /// Our own `destroy_msg()`.
    fn destroy(&self, message: Arc<Message<H::Body>>, result: Result) {
        message.queued.store(false, Ordering::Release);
        match result {
            Ok(()) => H::delivered(self, message),
            Err(why) => H::returned(self, message, why),
        }
    }

    pub(crate) fn queue(
        &self,
        message: Arc<Message<H::Body>>,
        stamp: impl FnOnce(&mut [u8]),
    ) -> Result {
        if message.queued.swap(true, Ordering::Acquire) {
            return Err(EBUSY);
        }
        stamp(&mut message.bytes.try_lock().expect("a message is being read"));
        // `rpc_queue_upcall()`.
        let mut lists = self.queue.lists.lock();
        let due = lists.readers == 0 && lists.unread.is_empty();
        lists.unread.push_back(message);
        drop(lists);
        if due {
            *self.timeout_due.lock() = true;
        }
        self.queue.news.notify_all();
        Ok(())
    }

    pub(crate) fn withdraw(&self, message: &Message<H::Body>) -> bool {
        let mut lists = self.queue.lists.lock();
        let at = lists
            .unread
            .iter()
            .position(|m| core::ptr::eq(&**m, message));
        let taken = at.and_then(|at| lists.unread.remove(at));
        drop(lists);
        if taken.is_some() {
            message.queued.store(false, Ordering::Release);
        }
        taken.is_some()
    }

    /// How many messages nobody has begun to read.
    pub(crate) fn unread(&self) -> usize {
        self.queue.lists.lock().unread.len()
    }
}

#[pinned_drop]
impl<H: Handler> PinnedDrop for Pipe<H> {
    fn drop(self: Pin<&mut Self>) {
        // The end of a schedule that failed is no further failure.
        if !std::thread::panicking() {
            assert!(self.inode.pipe.lock().is_none(), "the pipe is in use");
        }
    }
}

/// An open file of the pipe, for reading and writing.
pub(crate) struct File<H: Handler> {
    inode: Arc<Inode<H>>,
    reading: Option<(Arc<Message<H::Body>>, usize)>,
    /// How often the last reader had gone when it was opened: not again before it is closed.
    pub(crate) epoch: u32,
}

impl<H: Handler> File<H> {
    /// `rpc_pipe_open()`.
    pub(crate) fn open(inode: Arc<Inode<H>>) -> Result<Self> {
        let behind = inode.pipe.lock();
        let Behind(pipe) = behind.ok_or(ENOENT)?;
        // SAFETY: The inode lock keeps the pipe.
        let pipe = unsafe { &*pipe };
        if pipe.queue.lists.lock().readers == 0 {
            H::opened(pipe);
        }
        let mut lists = pipe.queue.lists.lock();
        lists.readers += 1;
        let epoch = lists.epoch;
        drop(lists);
        drop(behind);
        Ok(File {
            inode,
            reading: None,
            epoch,
        })
    }

    /// `poll()`: waits for a message, until `quit`. Returns whether there is one.
    pub(crate) fn poll(&self, quit: impl Fn() -> bool) -> bool {
        let queue = &self.inode.queue;
        let mut lists = queue.lists.lock();
        loop {
            if lists.unlinked || quit() {
                return false;
            }
            if !lists.unread.is_empty() || self.reading.is_some() {
                return true;
            }
            queue.news.wait(&mut lists);
        }
    }

    /// `rpc_pipe_read()`: adds the next bytes of a message, `most` of them at most, to `into`.
    /// Returns whether it is at its end; nothing if there is no message.
    pub(crate) fn read(&mut self, most: usize, into: &mut Vec<u8>) -> Result<Option<bool>> {
        let behind = self.inode.pipe.lock();
        let Behind(pipe) = behind.ok_or(EPIPE)?;
        // SAFETY: The inode lock keeps the pipe.
        let pipe = unsafe { &*pipe };
        if self.reading.is_none() {
            self.reading = pipe.queue.lists.lock().unread.pop_front().map(|m| (m, 0));
        }
        let Some((message, copied)) = &mut self.reading else {
            return Ok(None);
        };
        let bytes = message.bytes.try_lock().expect("a message is being queued");
        let part = most.min(message.len - *copied);
        into.extend((*copied..*copied + part).map(|at| bytes.get(at).copied().unwrap_or(0)));
        drop(bytes);
        *copied += part;
        let end = *copied == message.len;
        if let Some((message, _)) = self.reading.take_if(|_| end) {
            pipe.destroy(message, Ok(()));
        }
        Ok(Some(end))
    }

    /// `rpc_pipe_write()`.
    pub(crate) fn write(&self, data: &[u8]) -> Result {
        let behind = self.inode.pipe.lock();
        let Behind(pipe) = behind.ok_or(EPIPE)?;
        // SAFETY: The inode lock keeps the pipe.
        H::downcall(unsafe { &*pipe }, UserSliceReader::new(data))
    }

    /// `rpc_pipe_release()`.
    pub(crate) fn close(mut self) {
        let behind = self.inode.pipe.lock();
        let Some(Behind(pipe)) = *behind else {
            return;
        };
        // SAFETY: The inode lock keeps the pipe.
        let pipe = unsafe { &*pipe };
        if let Some((message, _)) = self.reading.take() {
            pipe.destroy(message, Err(EAGAIN));
        }
        let mut lists = pipe.queue.lists.lock();
        lists.readers -= 1;
        if lists.readers == 0 {
            lists.epoch += 1;
            let unread = core::mem::take(&mut lists.unread);
            drop(lists);
            pipe.purge(unread, EAGAIN);
            H::closed(pipe);
        }
    }

    /// Wakes all who wait in [`File::poll`].
    pub(crate) fn wake(inode: &Inode<H>) {
        let lists = inode.queue.lists.lock();
        inode.queue.news.notify_all();
        drop(lists);
    }
}
