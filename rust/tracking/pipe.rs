// SPDX-License-Identifier: GPL-2.0

//! A pipe of rpc_pipefs: messages to a daemon, and its answers.
//!
//! C source: `net/sunrpc/rpc_pipe.c`. A message belongs to the pipe from [`Pipe::queue`] until
//! sunrpc's `destroy_msg` callback, which comes exactly once: when a reader has read all of it,
//! or when sunrpc gives it up (the last reader closed, nobody came, the file system went).
//!
//! All callbacks run in process context and may sleep. sunrpc holds the pipe's inode lock
//! around them, except for the time-out of messages that nobody reads.

use crate::base::private::{self, rpc_pipe, rpc_pipe_msg, rpc_pipe_ops};
use crate::nfs4::nfsd::Changing;
use core::cell::UnsafeCell;
use core::ptr::{self, addr_of_mut, NonNull};
use core::sync::atomic::{AtomicBool, Ordering};
use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::types::Opaque;
use kernel::uaccess::{UserPtr, UserSlice, UserSliceReader};
use kernel::{bindings, container_of, error::to_result};

/// Who reads and writes on the kernel's side of a pipe.
///
/// Every method may sleep, and none may wait for something that needs the pipe's inode lock
/// (a reader, a writer, an open or a close).
pub(crate) trait Handler: Sized + Send + Sync {
    /// What comes with each message.
    type Body: Send + Sync;

    /// The daemon wrote `data`; its write ends with the result.
    fn downcall(pipe: &Pipe<Self>, data: UserSliceReader) -> Result;
    /// The daemon has read `message` to its end.
    fn delivered(pipe: &Pipe<Self>, message: Arc<Message<Self::Body>>);
    /// The pipe gives up `message`, which was not read to its end; it may be queued again.
    fn returned(pipe: &Pipe<Self>, message: Arc<Message<Self::Body>>, why: Error);
    /// The first opener came.
    fn opened(pipe: &Pipe<Self>);
    /// The last opener has gone.
    fn closed(pipe: &Pipe<Self>);
}

/// A message for the daemon.
#[pin_data]
pub(crate) struct Message<T> {
    /// Linked into the pipe's lists while `queued`, by and for sunrpc.
    #[pin]
    raw: Opaque<rpc_pipe_msg>,
    queued: AtomicBool,
    /// Changed by who has set `queued`, before the message is in a list.
    bytes: UnsafeCell<KVec<u8>>,
    #[pin]
    pub(crate) body: T,
}

// SAFETY: `raw` is used by sunrpc under the pipe's lock, or by who has set `queued`, and `bytes` is
// only read while sunrpc has the message; the other fields are of types that may be shared.
unsafe impl<T: Sync> Sync for Message<T> {}
// SAFETY: The pipe's lists, and memory, may be changed by any thread; the body may be sent.
unsafe impl<T: Send> Send for Message<T> {}

impl<T> Message<T> {
    /// A message of `bytes`, which the reader sees followed by zeros up to `len` bytes.
    pub(crate) fn new<E>(
        bytes: KVec<u8>,
        len: usize,
        body: impl PinInit<T, E>,
    ) -> impl PinInit<Self, Error>
    where
        Error: From<E>,
    {
        try_pin_init!(Self {
            raw <- Opaque::ffi_init(|slot: *mut rpc_pipe_msg| {
                // SAFETY: `slot` is valid for writes and does not move any more. All zeros is a value
                // of this type.
                unsafe {
                    slot.write_bytes(0, 1);
                    init_list_head(addr_of_mut!((*slot).list));
                    (*slot).len = len;
                }
            }),
            queued: AtomicBool::new(false),
            bytes: UnsafeCell::new(bytes),
            body <- body,
        }? Error)
    }

    /// Is it on its way to a reader?
    pub(crate) fn is_queued(&self) -> bool {
        self.queued.load(Ordering::Acquire)
    }
}

/// Makes `head` an empty list.
///
/// # Safety
///
/// `head` is valid for writes.
unsafe fn init_list_head(head: *mut private::list_head) {
    // SAFETY: By this function's requirement.
    unsafe {
        (*head).next = head;
        (*head).prev = head;
    }
}

/// Takes `entry` out of its list and makes it an empty one (`list_del_init()`).
///
/// # Safety
///
/// `entry` is in a valid list that nobody else uses now.
unsafe fn list_del_init(entry: *mut private::list_head) {
    // SAFETY: By this function's requirement the neighbours are valid.
    unsafe {
        (*(*entry).prev).next = (*entry).next;
        (*(*entry).next).prev = (*entry).prev;
        init_list_head(entry);
    }
}

/// A pipe, and its handler.
#[pin_data(PinnedDrop)]
pub(crate) struct Pipe<H: Handler> {
    /// The callbacks: their address leads from sunrpc's structure to this one.
    ops: rpc_pipe_ops,
    raw: NonNull<rpc_pipe>,
    /// What nfsd's own rpc_pipefs notifier looks at, when the file system is mounted later.
    cld_net: private::cld_net,
    #[pin]
    pub(crate) handler: H,
}

// SAFETY: `raw` is used under sunrpc's own locks only, `ops` and `cld_net` are not written once
// they are initialised, and a `Handler` may be shared.
unsafe impl<H: Handler> Sync for Pipe<H> {}
// SAFETY: sunrpc's functions for a pipe may be called by any thread; a `Handler` may be sent.
unsafe impl<H: Handler> Send for Pipe<H> {}

impl<H: Handler> Pipe<H> {
    /// A pipe that is not yet seen in any file system. May sleep.
    pub(crate) fn new<E>(handler: impl PinInit<H, E>) -> impl PinInit<Self, Error>
    where
        Error: From<E>,
    {
        try_pin_init!(&this in Self {
            ops: rpc_pipe_ops {
                upcall: Some(upcall::<H>),
                downcall: Some(downcall::<H>),
                release_pipe: Some(release_pipe::<H>),
                open_pipe: Some(open_pipe::<H>),
                destroy_msg: Some(destroy_msg::<H>),
            },
            raw: {
                // SAFETY: `ops` is initialised, does not move, and is there until `drop()` has
                // destroyed the pipe. sunrpc does not write to it.
                let raw = unsafe {
                    private::rpc_mkpipe_data(
                        addr_of_mut!((*this.as_ptr()).ops),
                        private::RPC_PIPE_WAIT_FOR_OPEN as kernel::ffi::c_int,
                    )
                };
                NonNull::new(kernel::error::from_err_ptr(raw)?).ok_or(ENOMEM)?
            },
            cld_net: private::cld_net { cn_pipe: raw.as_ptr() },
            handler <- handler,
        }? Error)
    }

    /// Lets rpc_pipefs show the pipe as `nfsd/cld`, now if it is mounted and else when it is.
    /// May sleep; takes sunrpc's `pipefs_sb_lock`.
    ///
    /// # Safety
    ///
    /// [`Pipe::unpublish`] is called, for the same namespace, before the pipe is dropped, also if this fails.
    pub(crate) unsafe fn publish(&self, server: &Changing<'_>) -> Result {
        let net = server.net().as_ptr();
        // SAFETY: `cld_net` and the pipe do not move, and stay until `unpublish()` has taken the pointer back.
        unsafe { server.set_cld_net(addr_of_mut_const(&self.cld_net)) };
        // SAFETY: The namespace is alive. A superblock that is returned comes
        // with `pipefs_sb_lock` held, so it stays mounted, and no notifier runs, until the put. The
        // directory is our reference until `dput()`.
        unsafe {
            let sb = private::rpc_get_sb_net(net);
            if sb.is_null() {
                return Ok(());
            }
            let dir = private::rpc_d_lookup_sb(sb, c"nfsd".as_char_ptr());
            let result = if dir.is_null() {
                Err(ENOENT)
            } else if (*self.raw.as_ptr()).dentry.is_null() {
                to_result(private::rpc_mkpipe_dentry(
                    dir,
                    c"cld".as_char_ptr(),
                    ptr::null_mut(),
                    self.raw.as_ptr(),
                ))
            } else {
                // The notifier was quicker.
                Ok(())
            };
            bindings::dput(dir.cast());
            private::rpc_put_sb_net(net);
            result
        }
    }

    /// Takes the pipe out of rpc_pipefs, mounted now or later: after this no callback comes but
    /// [`Handler::returned`]. May sleep; takes `pipefs_sb_lock` and the pipe's inode lock.
    ///
    /// The handler queues nothing any more.
    ///
    /// # Safety
    ///
    /// It is the namespace that this pipe was published for.
    pub(crate) unsafe fn unpublish(&self, server: &Changing<'_>) {
        let net = server.net().as_ptr();
        self.cancel_timeout();
        // SAFETY: The namespace is alive, and it is this pipe that nfsd has there, as the caller says.
        // Its notifier runs with `pipefs_sb_lock` held: one that still saw `cld_net` has ended when
        // we get that lock. Where no file system is mounted nobody has the pipe open.
        unsafe {
            server.set_cld_net(ptr::null_mut());
            if !private::rpc_get_sb_net(net).is_null() {
                private::rpc_unlink(self.raw.as_ptr());
                private::rpc_put_sb_net(net);
            }
        }
    }

    /// Ends sunrpc's time-out of messages that nobody reads. May sleep.
    fn cancel_timeout(&self) {
        // SAFETY: The pipe is valid, and its work item was initialised with it.
        unsafe {
            bindings::cancel_delayed_work_sync(
                addr_of_mut!((*self.raw.as_ptr()).queue_timeout).cast(),
            )
        };
    }

    /// Queues a message for the daemon, completed by `stamp`; it is read in the order of queueing.
    ///
    /// Without a reader it waits for one for 30 s, then comes back with `ETIMEDOUT`. Fails with
    /// `EBUSY` if the message is queued already.
    pub(crate) fn queue(
        &self,
        message: Arc<Message<H::Body>>,
        stamp: impl FnOnce(&mut [u8]),
    ) -> Result {
        if message.queued.swap(true, Ordering::Acquire) {
            return Err(EBUSY);
        }
        // SAFETY: We have set `queued`, so nobody else touches `bytes` until it is in the queue.
        stamp(unsafe { &mut *message.bytes.get() });
        let raw = message.raw.get();
        // This reference is the pipe's, until `destroy_msg()`.
        let owned = message.into_raw();
        // SAFETY: We have set `queued`, so nobody else touches `raw` until it is in the queue.
        let result = unsafe {
            (*raw).data = ptr::from_ref(self).cast_mut().cast();
            (*raw).errno = 0;
            (*raw).copied = 0;
            to_result(private::rpc_queue_upcall(self.raw.as_ptr(), raw))
        };
        if result.is_err() {
            // SAFETY: The pipe has not taken the reference that `into_raw()` gave up.
            let message = unsafe { Arc::from_raw(owned) };
            message.queued.store(false, Ordering::Release);
        }
        result
    }

    /// Takes back a message that no reader has begun to read; otherwise does nothing. Returns
    /// whether it did.
    pub(crate) fn withdraw(&self, message: &Message<H::Body>) -> bool {
        let wanted = message.raw.get();
        let taken = self.take(|raw| raw == wanted).is_some();
        if taken {
            message.queued.store(false, Ordering::Release);
        }
        taken
    }

    /// Takes the first unread message for which `pick` says yes out of the queue.
    fn take(&self, pick: impl Fn(*mut rpc_pipe_msg) -> bool) -> Option<Arc<Message<H::Body>>> {
        let pipe = self.raw.as_ptr();
        // SAFETY: The pipe is valid, and its lock, which sunrpc takes in process context only, guards
        // the list of unread messages. Each of them was linked by `queue()` and has a reference to
        // its `Message`, which is ours when we have taken it out.
        unsafe {
            let lock = addr_of_mut!((*pipe).lock).cast();
            let head = addr_of_mut!((*pipe).pipe);
            bindings::spin_lock(lock);
            let mut entry = (*head).next;
            let mut found = None;
            while entry != head {
                let raw = container_of!(entry, rpc_pipe_msg, list);
                if pick(raw) {
                    list_del_init(entry);
                    (*pipe).pipelen -= (*raw).len as kernel::ffi::c_int;
                    found = Some(message_of(raw));
                    break;
                }
                entry = (*entry).next;
            }
            bindings::spin_unlock(lock);
            found.map(|message| Arc::from_raw(message))
        }
    }
}

/// A pointer that C takes without `const` but does not write through.
fn addr_of_mut_const<T>(value: &T) -> *mut T {
    ptr::from_ref(value).cast_mut()
}

#[pinned_drop]
impl<H: Handler> PinnedDrop for Pipe<H> {
    fn drop(self: Pin<&mut Self>) {
        let pipe = self.raw.as_ptr();
        // The pipe is out of the file system (`unpublish()`), so only its time-out can still run.
        // After it, nobody else knows the pipe.
        self.cancel_timeout();
        while self.take(|_| true).is_some() {}
        // SAFETY: `rpc_mkpipe_data()` made it, and no message and no inode refers to it.
        unsafe { private::rpc_destroy_pipe_data(pipe) };
    }
}

/// The message around `raw`.
///
/// # Safety
///
/// `raw` is the field of a `Message<T>`.
unsafe fn message_of<T>(raw: *mut rpc_pipe_msg) -> *const Message<T> {
    // SAFETY: By this function's requirement; `Opaque` is transparent.
    unsafe { container_of!(Opaque::cast_from(raw), Message<T>, raw) }
}

/// The pipe behind an inode of rpc_pipefs.
///
/// # Safety
///
/// sunrpc called us for this inode: it holds the inode's lock, and the inode has a pipe, one
/// that [`Pipe::new`] made with the same `H`.
unsafe fn pipe_of<'a, H: Handler>(inode: *mut private::inode) -> &'a Pipe<H> {
    // SAFETY: By this function's requirement. The inode lock keeps the pipe: to be dropped it
    // must be unlinked, and that takes the lock.
    unsafe {
        let rpci = container_of!(inode, private::rpc_inode, vfs_inode);
        let ops = (*(*rpci).pipe).ops.cast_mut();
        &*container_of!(ops, Pipe<H>, ops)
    }
}

/// The first opener comes.
///
/// # Safety
///
/// For sunrpc, as a callback of a pipe that [`Pipe::new`] made with this `H`.
unsafe extern "C" fn open_pipe<H: Handler>(inode: *mut private::inode) -> kernel::ffi::c_int {
    // SAFETY: sunrpc calls this as `pipe_of()` wants it.
    H::opened(unsafe { pipe_of::<H>(inode) });
    0
}

/// The last opener goes.
///
/// # Safety
///
/// For sunrpc, as a callback of a pipe that [`Pipe::new`] made with this `H`.
unsafe extern "C" fn release_pipe<H: Handler>(inode: *mut private::inode) {
    // SAFETY: sunrpc calls this as `pipe_of()` wants it.
    H::closed(unsafe { pipe_of::<H>(inode) });
}

/// A daemon writes.
///
/// # Safety
///
/// For sunrpc, as a callback of a pipe that [`Pipe::new`] made with this `H`.
unsafe extern "C" fn downcall<H: Handler>(
    file: *mut private::file,
    src: *const kernel::ffi::c_char,
    len: usize,
) -> isize {
    // SAFETY: sunrpc calls this with an open file, as `pipe_of()` wants it.
    let pipe = unsafe { pipe_of::<H>((*file).f_inode) };
    let user = UserSlice::new(UserPtr::from_ptr(src.cast_mut().cast()), len);
    match H::downcall(pipe, user.reader()) {
        Ok(()) => len as isize,
        Err(e) => e.to_errno() as isize,
    }
}

/// Copies the next part of a message to its reader.
///
/// # Safety
///
/// For sunrpc, as a callback of a pipe that [`Pipe::new`] made with this `H`.
unsafe extern "C" fn upcall<H: Handler>(
    _file: *mut private::file,
    raw: *mut rpc_pipe_msg,
    dst: *mut kernel::ffi::c_char,
    len: usize,
) -> isize {
    // As long as what may follow a client's name in a message of the cld pipe.
    static ZEROS: [u8; 1088] = [0; 1088];
    // SAFETY: sunrpc has taken the message out of the queue for this reader, so that it and the
    // reference to it stay until `destroy_msg()`, and nobody writes `bytes`. It holds the inode's lock,
    // under which alone messages that are being read are changed and linked.
    let (raw, bytes) = unsafe {
        let message = &*message_of::<H::Body>(raw);
        (&mut *raw, &*message.bytes.get())
    };
    let mut user = UserSlice::new(UserPtr::from_ptr(dst.cast()), len).writer();
    let mut copied = 0;
    while raw.copied < raw.len && !user.is_empty() {
        let rest = bytes.get(raw.copied..).unwrap_or_default();
        let part = if rest.is_empty() { &ZEROS[..] } else { rest };
        let part = &part[..part.len().min(raw.len - raw.copied).min(user.len())];
        if user.write_slice(part).is_err() {
            raw.errno = EFAULT.to_errno();
            return EFAULT.to_errno() as isize;
        }
        raw.copied += part.len();
        copied += part.len();
    }
    raw.errno = 0;
    copied as isize
}

/// A message leaves the pipe.
///
/// # Safety
///
/// For sunrpc, as a callback of a pipe that [`Pipe::new`] made with this `H`.
unsafe extern "C" fn destroy_msg<H: Handler>(raw: *mut rpc_pipe_msg) {
    // SAFETY: `raw` is in no list any more, and the reference that `queue()` gave to the pipe is
    // ours now. `data` is the pipe that it was queued on, which drops after its messages.
    let (pipe, errno, message) = unsafe {
        let pipe = &*(*raw).data.cast::<Pipe<H>>().cast_const();
        (
            pipe,
            (*raw).errno,
            Arc::from_raw(message_of::<H::Body>(raw)),
        )
    };
    message.queued.store(false, Ordering::Release);
    match to_result(errno) {
        Ok(()) => H::delivered(pipe, message),
        Err(why) => H::returned(pipe, message, why),
    }
}
