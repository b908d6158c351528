// SPDX-License-Identifier: GPL-2.0

//! The connections of a server of sunrpc, and how one is closed in order.
//!
//! C source: `net/sunrpc/svc_xprt.c`, `net/sunrpc/svcsock.c`, `include/linux/sunrpc/svc_xprt.h`.
//!
//! A connection that drains has a mark in its flags, in a bit that sunrpc has no use for. What is received from it is
//! thrown away. The mark stays for good: a client that has sent a request may wait for the answer as long as there is
//! the connection.

use crate::base::net::Net;
use crate::base::private::{self, svc_serv, svc_sock, svc_xprt};
use crate::base::raw::list_entries;
use crate::base::sockaddr;
use crate::nfs4::server::Server;
use crate::nlm::lockd::Lockd;
use core::marker::PhantomData;
use core::net::IpAddr;
use core::ptr::{self, addr_of, addr_of_mut, NonNull};
use core::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use kernel::bindings;
use kernel::container_of;

/// The mark of a connection that drains: a bit of `xpt_flags` beyond those of sunrpc (`XPT_*`).
const DRAINS: usize = 1 << 40;
const _: () = assert!(private::XPT_RPCB_UNREG < 40);

const CLOSE: usize = 1 << private::XPT_CLOSE;
const DEAD: usize = 1 << private::XPT_DEAD;
const KILL: usize = 1 << private::XPT_KILL_TEMP;
const TEMP: usize = 1 << private::XPT_TEMP;

/// `XPRT_TRANSPORT_TCP` (`include/linux/sunrpc/xprt.h`).
const TCP: i32 = 6;
/// `TCP_CLOSE` (`include/net/tcp_states.h`).
const TCP_CLOSE: u8 = 7;
/// `SEND_SHUTDOWN` (`include/net/sock.h`).
const SEND_SHUTDOWN: u8 = 2;

/// A server of sunrpc: nfsd's of a namespace, or lockd's.
///
/// # Invariants
///
/// It does not go for `'a`.
pub(crate) struct Service<'a>(*mut svc_serv, PhantomData<&'a svc_serv>);

impl<'a> Service<'a> {
    /// That of nfsd in a namespace.
    pub(crate) fn of_nfsd(server: &'a Server<'_>) -> Self {
        // INVARIANT: It stays as long as it is borrowed.
        Service(server.as_ptr(), PhantomData)
    }

    /// That of lockd, which serves all namespaces.
    pub(crate) fn of_lockd(_: &'a Lockd) -> Self {
        // INVARIANT: lockd does not stop as long as it is borrowed.
        // SAFETY: lockd runs, so its pointer is there, and does not change.
        Service(unsafe { private::nlmsvc_serv }, PhantomData)
    }

    /// Calls `f` with each connection until it returns `false`. Does not sleep; takes `sv_lock`, which `f` does not.
    pub(crate) fn each(&self, mut f: impl FnMut(&Transport<'_>) -> bool) {
        // SAFETY: The server is there, by the type's invariant. Its list has valid transports while its lock is held,
        // which softirqs take, too.
        unsafe {
            let lock = addr_of_mut!((*self.0).sv_lock);
            private::_raw_spin_lock_bh(lock.cast());
            for node in list_entries(addr_of_mut!((*self.0).sv_tempsocks)) {
                let raw = container_of!(node, svc_xprt, xpt_list);
                if !f(&Transport::from_raw(NonNull::new_unchecked(raw))) {
                    break;
                }
            }
            private::_raw_spin_unlock_bh(lock.cast());
        }
    }
}

/// A transport.
///
/// # Invariants
///
/// It is valid for `'a`, and so is its socket, if it is one of TCP.
pub(crate) struct Transport<'a>(NonNull<svc_xprt>, PhantomData<&'a svc_xprt>);

impl<'a> Transport<'a> {
    /// The transport.
    ///
    /// # Safety
    ///
    /// It is valid for the lifetime: it is in its server's list, whose lock is held, or there is a reference to it.
    pub(crate) unsafe fn from_raw(raw: NonNull<svc_xprt>) -> Self {
        // INVARIANT: By this function's requirement; a transport has its socket until it is freed.
        Transport(raw, PhantomData)
    }

    fn raw(&self) -> *mut svc_xprt {
        self.0.as_ptr()
    }

    fn flags(&self) -> &AtomicUsize {
        // SAFETY: A word of a valid transport, that is changed with `set_bit()` and the like only.
        unsafe { AtomicUsize::from_ptr(addr_of_mut!((*self.raw()).xpt_flags).cast()) }
    }

    /// Is it a connection, and not a socket that serves anybody?
    pub(crate) fn is_connection(&self) -> bool {
        self.flags().load(Ordering::Relaxed) & TEMP != 0
    }

    /// Is it closed, or about to be?
    pub(crate) fn is_closing(&self) -> bool {
        self.flags().load(Ordering::Relaxed) & (CLOSE | DEAD) != 0
    }

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

    /// Is it one of this namespace's?
    pub(crate) fn is_in(&self, net: Net<'_>) -> bool {
        // SAFETY: A transport has its namespace from its beginning to its end.
        ptr::eq(unsafe { (*self.raw()).xpt_net }, net.as_ptr())
    }

    /// The server's address.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        // SAFETY: A transport has its addresses before others see it, and does not change them.
        sockaddr::address(unsafe { &(*self.raw()).xpt_local })
    }

    /// How many of its requests are being read, worked on or answered.
    pub(crate) fn requests(&self) -> u32 {
        // SAFETY: A counter of a valid transport.
        let count =
            unsafe { AtomicI32::from_ptr(addr_of_mut!((*self.raw()).xpt_nr_rqsts.counter).cast()) };
        u32::try_from(count.load(Ordering::SeqCst)).unwrap_or(0)
    }

    /// Is a callback under way on it?
    pub(crate) fn has_callbacks(&self) -> bool {
        // SAFETY: The other direction, if there is one, is there as long as the transport. Two words are read.
        unsafe {
            let back = addr_of!((*self.raw()).xpt_bc_xprt).read_volatile();
            if back.is_null() {
                return false;
            }
            let to_send = addr_of!((*back).xmit_queue);
            !addr_of!((*back).recv_queue.rb_node)
                .read_volatile()
                .is_null()
                || !ptr::eq(addr_of!((*to_send).next).read_volatile(), to_send)
        }
    }

    /// Its socket, if it is one of TCP.
    pub(crate) fn socket(&self) -> Option<Socket<'a>> {
        // SAFETY: Transports have a class. Those of TCP are in a `svc_sock`.
        unsafe {
            if (*(*self.raw()).xpt_class).xcl_ident != TCP {
                return None;
            }
            let own = container_of!(self.raw(), svc_sock, sk_xprt);
            // INVARIANT: By our own invariant.
            Some(Socket(own, PhantomData))
        }
    }

    /// A reference to it.
    pub(crate) fn pin(&self) -> Pinned {
        // SAFETY: It is valid, and not freed now, so the count is not zero.
        unsafe {
            let count = addr_of_mut!((*self.raw()).xpt_ref.refcount);
            bindings::refcount_inc(count.cast());
        }
        // INVARIANT: The reference was taken just now.
        Pinned(self.0)
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
        // SAFETY: We have a reference.
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
