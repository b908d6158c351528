// SPDX-License-Identifier: GPL-2.0

//! A message to a daemon, which sunrpc's pipe has from time to time.
//!
//! C source: `struct rpc_pipe_msg` in `net/sunrpc/rpc_pipe.c`. While a pipe has a message, it has a reference
//! to it, and nobody else changes it; otherwise it can be claimed ([`Claimed`]).

use crate::base::private::{file, rpc_pipe_msg};
use core::cell::UnsafeCell;
use core::ptr::addr_of_mut;
use core::sync::atomic::{AtomicBool, Ordering};
use kernel::container_of;
use kernel::ffi::{c_char, c_void};
use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::types::Opaque;
use kernel::uaccess::{UserPtr, UserSlice};

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
                    let list = addr_of_mut!((*slot).list);
                    (*list).next = list;
                    (*list).prev = list;
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

    /// What sunrpc knows it by: a pointer to compare.
    pub(crate) fn as_raw(&self) -> *mut rpc_pipe_msg {
        self.raw.get()
    }
}

/// A message that no pipe has, and that nobody else queues. It can be queued again when this is dropped.
///
/// # Invariants
///
/// Its `queued` is set, for this alone. Thus nobody else uses its `raw` and its `bytes`.
pub(crate) struct Claimed<T>(Arc<Message<T>>);

impl<T> Claimed<T> {
    /// Claims a message. Fails with `EBUSY` if a pipe has it, or somebody else.
    pub(crate) fn new(message: Arc<Message<T>>) -> Result<Self> {
        if message.queued.swap(true, Ordering::Acquire) {
            return Err(EBUSY);
        }
        // INVARIANT: It was not set before.
        Ok(Claimed(message))
    }

    /// What the daemon will read.
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: Nobody else uses `bytes`.
        unsafe { &mut *self.0.bytes.get() }
    }

    /// Prepares it for a pipe, to which `data` leads, and gives the reference to that: it lasts until
    /// [`Claimed::take_back`].
    pub(crate) fn hand_over(self, data: *mut c_void) -> *mut rpc_pipe_msg {
        let raw = self.0.raw.get();
        // SAFETY: Nobody else uses `raw`.
        unsafe {
            (*raw).data = data;
            (*raw).errno = 0;
            (*raw).copied = 0;
        }
        core::mem::forget(self);
        raw
    }

    /// The message that a pipe had, or was to have.
    ///
    /// # Safety
    ///
    /// [`Claimed::hand_over`] of this type returned `raw`. The pipe does not have it any more, and nobody has
    /// taken it back since.
    pub(crate) unsafe fn take_back(raw: *mut rpc_pipe_msg) -> Self {
        // SAFETY: It is the field of a message, the reference to which was given up.
        let message = unsafe {
            let message = container_of!(Opaque::cast_from(raw), Message<T>, raw);
            Arc::from_raw(message)
        };
        // INVARIANT: As when it was handed over.
        Claimed(message)
    }

    /// The message, which can be queued again.
    pub(crate) fn release(self) -> Arc<Message<T>> {
        self.0.clone()
    }
}

impl<T> Drop for Claimed<T> {
    fn drop(&mut self) {
        self.0.queued.store(false, Ordering::Release);
    }
}

/// Copies the next part of a message to its reader.
///
/// # Safety
///
/// For sunrpc, as a callback of a pipe whose messages are of this type.
pub(crate) unsafe extern "C" fn upcall<T>(
    _file: *mut file,
    raw: *mut rpc_pipe_msg,
    dst: *mut c_char,
    len: usize,
) -> isize {
    // As long as what may follow a client's name in a message of the cld pipe.
    static ZEROS: [u8; 1088] = [0; 1088];
    // SAFETY: sunrpc has taken the message out of the queue for this reader, so that it and the
    // reference to it stay until `destroy_msg()`, and nobody writes `bytes`. It holds the inode's lock,
    // under which alone messages that are being read are changed and linked.
    let (raw, bytes) = unsafe {
        let message = container_of!(Opaque::cast_from(raw), Message<T>, raw);
        (&mut *raw, &*(*message).bytes.get())
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
