// SPDX-License-Identifier: GPL-2.0

//! Transports of sunrpc: each is the server's end of a connection, or a socket that serves anybody.
//!
//! C source: `include/linux/sunrpc/svc_xprt.h`, `net/sunrpc/svc_xprt.c`.

use crate::base::net::Net;
use crate::base::private::{self, __kernel_sockaddr_storage, svc_serv, svc_xprt};
use crate::base::raw::list_entries;
use crate::base::sockaddr;
use core::marker::PhantomData;
use core::net::IpAddr;
use core::ptr::{addr_of_mut, NonNull};
use core::sync::atomic::{AtomicUsize, Ordering};
use kernel::container_of;

const CLOSE: usize = 1 << private::XPT_CLOSE;
const DEAD: usize = 1 << private::XPT_DEAD;
const TEMP: usize = 1 << private::XPT_TEMP;

/// A transport of sunrpc (`struct svc_xprt`).
///
/// # Invariants
///
/// For `'a` it is valid, with its socket and its namespace. Others see it, so it has its addresses.
pub(crate) struct Transport<'a>(NonNull<svc_xprt>, PhantomData<&'a svc_xprt>);

impl<'a> Transport<'a> {
    /// The transport.
    ///
    /// # Safety
    ///
    /// It stays for the lifetime, as somebody has a reference to it, or it is in a list whose lock is held, and others may
    /// see it: so it has its addresses.
    pub(crate) unsafe fn from_raw(raw: NonNull<svc_xprt>) -> Self {
        // INVARIANT: By this function's requirement; a transport has its socket and its namespace until it is freed.
        Transport(raw, PhantomData)
    }

    /// The pointer.
    pub(crate) fn as_non_null(&self) -> NonNull<svc_xprt> {
        self.0
    }

    /// Its flags (`XPT_*`).
    pub(crate) fn flags(&self) -> &AtomicUsize {
        // SAFETY: A word of a valid transport, that is changed with `set_bit()` and the like only.
        unsafe { AtomicUsize::from_ptr(addr_of_mut!((*self.0.as_ptr()).xpt_flags).cast()) }
    }

    fn has_any(&self, flags: usize) -> bool {
        self.flags().load(Ordering::Relaxed) & flags != 0
    }

    /// Is it a connection, and not a socket that serves anybody?
    pub(crate) fn is_connection(&self) -> bool {
        self.has_any(TEMP)
    }

    /// Is it neither closed nor about to be? When an address is removed, nfsd has its transports closed
    /// (`nfsd_inetaddr_event()`).
    pub(crate) fn is_open(&self) -> bool {
        !self.has_any(CLOSE | DEAD)
    }

    /// What does not change: its net namespace, and the addresses of the server and of the client.
    #[inline]
    fn fixed(&self) -> (Net<'a>, [&'a __kernel_sockaddr_storage; 2]) {
        // SAFETY: By the type's invariant.
        unsafe {
            let raw = self.0.as_ptr();
            let ends = [&(*raw).xpt_local, &(*raw).xpt_remote];
            (Net::from_raw((*raw).xpt_net), ends)
        }
    }

    /// Its net namespace.
    pub(crate) fn net(&self) -> Net<'a> {
        self.fixed().0
    }

    /// The server's address, and the client's.
    pub(crate) fn ends(&self) -> [Option<IpAddr>; 2] {
        self.fixed().1.map(sockaddr::address)
    }
}

/// A server of sunrpc: nfsd's of a namespace, or lockd's, which serves all.
///
/// # Invariants
///
/// It does not go for `'a`.
pub(crate) struct Service<'a>(NonNull<svc_serv>, PhantomData<&'a svc_serv>);

impl Service<'_> {
    /// The server.
    ///
    /// # Safety
    ///
    /// It stays for the lifetime.
    pub(crate) unsafe fn from_raw(raw: NonNull<svc_serv>) -> Self {
        // INVARIANT: By this function's requirement.
        Service(raw, PhantomData)
    }

    /// The pointer.
    pub(crate) fn as_ptr(&self) -> *mut svc_serv {
        self.0.as_ptr()
    }

    /// What `f` finds in the server's connections. Does not sleep; takes `sv_lock`, which `f` does not.
    pub(crate) fn find<R>(&self, mut f: impl FnMut(&Transport<'_>) -> Option<R>) -> Option<R> {
        // SAFETY: The server is there, by the type's invariant. Its list has valid transports while its lock is held,
        // which softirqs take, too; `f` cannot keep one.
        unsafe {
            let server = self.0.as_ptr();
            let lock = addr_of_mut!((*server).sv_lock);
            private::_raw_spin_lock_bh(lock.cast());
            let found = list_entries(addr_of_mut!((*server).sv_tempsocks)).find_map(|node| {
                let raw = container_of!(node, svc_xprt, xpt_list);
                f(&Transport::from_raw(NonNull::new_unchecked(raw)))
            });
            private::_raw_spin_unlock_bh(lock.cast());
            found
        }
    }
}
