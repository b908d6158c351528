// SPDX-License-Identifier: GPL-2.0

//! A connection that drains, and how it is closed in order.
//!
//! C source: `net/sunrpc/svc_xprt.c`, `net/sunrpc/svcsock.c`, `include/linux/sunrpc/svc_xprt.h`.
//!
//! It has a mark in its flags, in a bit that sunrpc has no use for. What is received from it is thrown away. The mark
//! stays for good: a client that has sent a request may wait for the answer as long as there is the connection.

use crate::base::private::{self, svc_sock, svc_xprt};
use crate::base::transport::Transport;
use core::marker::PhantomData;
use core::ptr::{self, addr_of, addr_of_mut, NonNull};
use core::sync::atomic::{AtomicI32, Ordering};
use kernel::bindings;
use kernel::container_of;

/// The mark of a connection that drains: a bit of `xpt_flags` beyond those of sunrpc (`XPT_*`).
const DRAINS: usize = 1 << 40;
const _: () = assert!(private::XPT_RPCB_UNREG < 40);

const KILL: usize = 1 << private::XPT_KILL_TEMP;

/// `XPRT_TRANSPORT_TCP` (`include/linux/sunrpc/xprt.h`).
const TCP: i32 = 6;
/// `TCP_CLOSE` (`include/net/tcp_states.h`).
const TCP_CLOSE: u8 = 7;
/// `SEND_SHUTDOWN` (`include/net/sock.h`).
const SEND_SHUTDOWN: u8 = 2;

/// What is under way on a connection.
#[derive(Clone, Copy)]
pub(crate) struct UnderWay {
    /// Requests that are being read, worked on or answered.
    pub(crate) requests: u32,
    /// Callbacks.
    pub(crate) callbacks: bool,
}

impl<'a> Transport<'a> {
    /// Does it drain?
    pub(crate) fn drains(&self) -> bool {
        self.flags().load(Ordering::Relaxed) & DRAINS != 0
    }

    /// From now on, it does.
    pub(crate) fn set_drains(&self) {
        // As a full barrier: who counts the requests that are under way has said this before.
        if !self.drains() {
            self.flags().fetch_or(DRAINS, Ordering::SeqCst);
        }
    }

    /// What is under way on it. Does not sleep.
    pub(crate) fn under_way(&self) -> UnderWay {
        // SAFETY: A counter of a valid transport, and two words of the other direction, which is there as long as the
        // transport if there is one.
        unsafe {
            let raw = self.as_non_null().as_ptr();
            let requests = AtomicI32::from_ptr(addr_of_mut!((*raw).xpt_nr_rqsts.counter).cast());
            let requests = u32::try_from(requests.load(Ordering::SeqCst)).unwrap_or(0);
            let back = addr_of!((*raw).xpt_bc_xprt).read_volatile();
            let callbacks = !back.is_null() && {
                let to_send = addr_of!((*back).xmit_queue);
                let sent = addr_of!((*back).recv_queue.rb_node).read_volatile();
                !sent.is_null() || !ptr::eq(addr_of!((*to_send).next).read_volatile(), to_send)
            };
            UnderWay {
                requests,
                callbacks,
            }
        }
    }

    /// Its socket, if it is one of TCP.
    pub(crate) fn socket(&self) -> Option<Socket<'a>> {
        let raw = self.as_non_null().as_ptr();
        // SAFETY: Transports have a class. Those of TCP are in a `svc_sock`.
        unsafe {
            if (*(*raw).xpt_class).xcl_ident != TCP {
                return None;
            }
            // INVARIANT: The transport has its socket for `'a`.
            Some(Socket(container_of!(raw, svc_sock, sk_xprt), PhantomData))
        }
    }

    /// A reference to it.
    pub(crate) fn pin(&self) -> Pinned {
        let raw = self.as_non_null();
        // SAFETY: It is valid, and not freed now, so the count is not zero.
        unsafe {
            bindings::refcount_inc(addr_of_mut!((*raw.as_ptr()).xpt_ref.refcount).cast());
        }
        // INVARIANT: The reference was taken just now.
        Pinned(raw)
    }
}

/// The socket of a connection over TCP.
///
/// # Invariants
///
/// It is valid for `'a`.
pub(crate) struct Socket<'a>(*mut svc_sock, PhantomData<&'a svc_sock>);

/// How far a connection is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Something is on its way to the client.
    Sending,
    /// The client's TCP has acknowledged all that was sent.
    Acknowledged,
    /// We have sent our FIN.
    Shut,
    /// Both sides have closed it, or it was reset.
    Closed,
}

impl Socket<'_> {
    /// How far it is. Does not sleep.
    pub(crate) fn progress(&self) -> Progress {
        // SAFETY: The socket is valid, and one of TCP. Words of it are read, each in one go.
        let (state, shutdown, sent, acknowledged) = unsafe {
            let sk = (*self.0).sk_sk;
            let tcp: *mut private::tcp_sock = sk.cast();
            (
                addr_of!((*sk).__sk_common.skc_state).read_volatile(),
                addr_of!((*sk).sk_shutdown).read_volatile(),
                addr_of!((*tcp).write_seq).read_volatile(),
                addr_of!((*tcp).snd_una).read_volatile(),
            )
        };
        if state == TCP_CLOSE {
            Progress::Closed
        } else if shutdown & SEND_SHUTDOWN != 0 {
            Progress::Shut
        } else if sent == acknowledged {
            Progress::Acknowledged
        } else {
            Progress::Sending
        }
    }

    /// Sends our FIN, and goes on to receive. May sleep.
    ///
    /// sunrpc closes a connection at once that is not established any more (`svc_tcp_state_change()`), so it is not told
    /// any more; who calls this has to look when the client has closed, too.
    fn shut(&self) {
        // SAFETY: The socket is valid. What it calls when its state changes is changed under its lock; it gets back
        // what it had before it was sunrpc's, unless it is that already.
        unsafe {
            let own = self.0;
            private::lock_sock_nested((*own).sk_sk, 0);
            if ptr::eq((*(*own).sk_sk).sk_user_data, own.cast()) {
                (*(*own).sk_sk).sk_state_change = (*own).sk_ostate;
            }
            private::release_sock((*own).sk_sk);
            private::kernel_sock_shutdown((*own).sk_sock, private::sock_shutdown_cmd_SHUT_WR);
        }
    }

    /// Ends both directions, so that nobody waits who sends. May sleep.
    fn end(&self) {
        // SAFETY: The socket is valid.
        unsafe {
            private::kernel_sock_shutdown((*self.0).sk_sock, private::sock_shutdown_cmd_SHUT_RDWR);
        }
    }
}

/// A reference to a transport. Dropping it may sleep.
///
/// # Invariants
///
/// The reference is this one's.
pub(crate) struct Pinned(NonNull<svc_xprt>);

impl Pinned {
    fn transport(&self) -> Transport<'_> {
        // SAFETY: We have a reference, which we got of a transport.
        unsafe { Transport::from_raw(self.0) }
    }

    /// Sends our FIN. May sleep.
    pub(crate) fn finish(&self) {
        if let Some(socket) = self.transport().socket() {
            socket.shut();
        }
    }

    /// Has one of the server's threads close it. Does not sleep.
    pub(crate) fn close(&self) {
        // SAFETY: We have a reference.
        unsafe { private::svc_xprt_deferred_close(self.0.as_ptr()) };
    }

    /// The same, but a client that has not closed is reset. May sleep.
    pub(crate) fn reset(&self) {
        let transport = self.transport();
        transport.flags().fetch_or(KILL, Ordering::Relaxed);
        self.close();
        // The threads may all wait for clients that do not read.
        if let Some(socket) = transport.socket() {
            socket.end();
        }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // SAFETY: The reference is ours, and goes.
        unsafe { private::svc_xprt_put(self.0.as_ptr()) };
    }
}
