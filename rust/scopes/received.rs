// SPDX-License-Identifier: GPL-2.0

//! A request as it comes: from where, and to which address.
//!
//! C source: `include/linux/sunrpc/svc.h`.

use crate::base::net::Net;
use crate::base::private::svc_rqst;
use crate::base::sockaddr;
use crate::base::transport::Transport;
use core::marker::PhantomData;
use core::net::IpAddr;
use core::ptr::NonNull;

/// A request that the current thread of a server of sunrpc has received; it need not be decoded yet.
///
/// # Invariants
///
/// For `'a`, the thread works on it. So it has its addresses, program and version, and a transport, to which it has a
/// reference; or it came on a connection to a server of ours, and has that one's namespace.
pub(crate) struct Received<'a> {
    // A pointer, so that it stays with its thread.
    raw: NonNull<svc_rqst>,
    lifetime: PhantomData<&'a svc_rqst>,
}

impl<'a> Received<'a> {
    /// The request.
    ///
    /// # Safety
    ///
    /// It is the current thread's, which has received it and works on it for the lifetime.
    pub(crate) unsafe fn from_raw(raw: NonNull<svc_rqst>) -> Self {
        // INVARIANT: By this function's requirement.
        Received {
            raw,
            lifetime: PhantomData,
        }
    }

    /// The pointer.
    pub(crate) fn as_ptr(&self) -> *mut svc_rqst {
        self.raw.as_ptr()
    }

    /// The request itself.
    pub(crate) fn get(&self) -> &svc_rqst {
        // SAFETY: The request is the current thread's, by the type's invariant, and stays as long as it.
        unsafe { self.raw.as_ref() }
    }

    /// The transport that it came by, unless it came on a connection to a server of ours.
    pub(crate) fn transport(&self) -> Option<Transport<'_>> {
        let raw = NonNull::new(self.get().rq_xprt)?;
        // SAFETY: The request has a reference to it.
        Some(unsafe { Transport::from_raw(raw) })
    }

    /// The net namespace that it came to (`SVC_NET()`).
    pub(crate) fn net(&self) -> Net<'_> {
        match self.transport() {
            Some(transport) => transport.net(),
            // SAFETY: By the type's invariant.
            None => unsafe { Net::from_raw(self.get().rq_bc_net) },
        }
    }

    /// The server's address that it came to. Does not sleep.
    pub(crate) fn server(&self) -> Option<IpAddr> {
        // It has always an address in it, or zeros.
        sockaddr::address(&self.get().rq_daddr)
    }

    /// The client's address that it came from. Does not sleep.
    pub(crate) fn client(&self) -> Option<IpAddr> {
        // The transport has set it, as above.
        sockaddr::address(&self.get().rq_addr)
    }
}
