// SPDX-License-Identifier: GPL-2.0

//! A pipe of rpc_pipefs: messages (`message.rs`) to a daemon, and its answers.
//!
//! C source: `net/sunrpc/rpc_pipe.c`. A message belongs to the pipe from [`Pipe::queue`] until
//! sunrpc's `destroy_msg` callback, which comes exactly once: when a reader has read all of it,
//! or when sunrpc gives it up (the last reader closed, nobody came, the file system went).
//!
//! All callbacks run in process context and may sleep. sunrpc holds the pipe's inode lock
//! around them, except for the time-out of messages that nobody reads.

use crate::base::private::{self, rpc_pipe, rpc_pipe_msg, rpc_pipe_ops};
use crate::base::raw::{list_entries, unlink, SpinGuard};
use crate::nfs4::nfsd::Changing;
use crate::tracking::message::{self, Claimed};
use core::ptr::{self, addr_of_mut, NonNull};
use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::uaccess::{UserPtr, UserSlice, UserSliceReader};
use kernel::{bindings, container_of, error::to_result};

pub(crate) use crate::tracking::message::Message;

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
                upcall: Some(message::upcall::<H::Body>),
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
        // SAFETY: The namespace is alive; `cld_net` and the pipe do not move, and stay until `unpublish()` has set
        // another. A superblock that is returned comes with `pipefs_sb_lock` held, so it stays mounted, and no
        // notifier runs, until the put. The directory is our reference until `dput()`.
        unsafe {
            server.set_cld_net(addr_of_mut_const(&self.cld_net));
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
        // SAFETY: The namespace is alive, and it is this pipe that nfsd has there, since `publish()`.
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
        let mut message = Claimed::new(message)?;
        stamp(message.bytes());
        let raw = message.hand_over(addr_of_mut_const(self).cast());
        // SAFETY: The pipe is valid, and has the message from now on, until `destroy_msg()`; or it does not
        // take it, and does not use it any more.
        unsafe {
            to_result(private::rpc_queue_upcall(self.raw.as_ptr(), raw))
                .inspect_err(|_| drop(Claimed::<H::Body>::take_back(raw)))
        }
    }

    /// Takes back a message that no reader has begun to read; otherwise does nothing. Returns
    /// whether it did.
    pub(crate) fn withdraw(&self, message: &Message<H::Body>) -> bool {
        let wanted = message.as_raw();
        self.take(|raw| raw == wanted).is_some()
    }

    /// Takes the first unread message for which `pick` says yes out of the queue.
    fn take(&self, pick: impl Fn(*mut rpc_pipe_msg) -> bool) -> Option<Claimed<H::Body>> {
        let pipe = self.raw.as_ptr();
        // SAFETY: The pipe is valid, and its lock, which sunrpc takes in process context only, guards
        // the list of unread messages. Each of them was linked by `queue()`; one that we have taken out the
        // pipe does not have any more.
        unsafe {
            let _guard = SpinGuard::new(addr_of_mut!((*pipe).lock));
            for entry in list_entries(addr_of_mut!((*pipe).pipe)) {
                let raw = container_of!(entry, rpc_pipe_msg, list);
                if pick(raw) {
                    unlink(entry);
                    (*pipe).pipelen -= (*raw).len as kernel::ffi::c_int;
                    return Some(Claimed::take_back(raw));
                }
            }
        }
        None
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

/// The pipe behind an inode of rpc_pipefs.
///
/// # Safety
///
/// sunrpc called us for this inode: it holds the inode's lock, and the inode has a pipe, one
/// that [`Pipe::new`] made with the same `H`.
unsafe fn pipe_of<'a, H: Handler>(inode: *mut private::inode) -> &'a Pipe<H> {
    // SAFETY: The inode's pipe has the `ops` of a `Pipe<H>`. The inode lock keeps that: to be dropped it must
    // be unlinked, and that takes the lock.
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

/// A message leaves the pipe.
///
/// # Safety
///
/// For sunrpc, as a callback of a pipe that [`Pipe::new`] made with this `H`.
unsafe extern "C" fn destroy_msg<H: Handler>(raw: *mut rpc_pipe_msg) {
    // SAFETY: `raw` is in no list any more, and the pipe, which gets its messages from `queue()`, is done with
    // it. `data` is the pipe that it was queued on, which drops after its messages.
    let (pipe, errno, message) = unsafe {
        let pipe = &*(*raw).data.cast::<Pipe<H>>().cast_const();
        (pipe, (*raw).errno, Claimed::take_back(raw).release())
    };
    match to_result(errno) {
        Ok(()) => H::delivered(pipe, message),
        Err(why) => H::returned(pipe, message, why),
    }
}
