// SPDX-License-Identifier: GPL-2.0

//! A request as it comes: from where, and to which address.
//!
//! C source: `include/linux/sunrpc/svc.h`.

use crate::base::net::Net;
use crate::base::private::{self, svc_rqst};
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

/// What does not change while a request is worked on; other fields of it do.
struct Fixed<'a> {
    program: u32,
    version: u32,
    received_at: i64,
    /// The address that it came to, and the one that it came from: zeros, if there is none.
    server: &'a private::__kernel_sockaddr_storage,
    client: &'a private::__kernel_sockaddr_storage,
    net: Net<'a>,
    transport: Option<Transport<'a>>,
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

    #[inline]
    fn fixed(&self) -> Fixed<'_> {
        let raw = self.as_ptr();
        // SAFETY: The request is the current thread's, by the type's invariant, and these fields stay as they are while it
        // is worked on. It has a transport, with a reference, or else a namespace.
        unsafe {
            let transport = NonNull::new((*raw).rq_xprt).map(|raw| Transport::from_raw(raw));
            Fixed {
                program: (*raw).rq_prog,
                version: (*raw).rq_vers,
                received_at: (*raw).rq_stime,
                server: &(*raw).rq_daddr,
                client: &(*raw).rq_addr,
                net: match &transport {
                    Some(transport) => transport.net(),
                    None => Net::from_raw((*raw).rq_bc_net),
                },
                transport,
            }
        }
    }

    /// The RPC program.
    pub(crate) fn program(&self) -> u32 {
        self.fixed().program
    }

    /// The program's version.
    pub(crate) fn version(&self) -> u32 {
        self.fixed().version
    }

    /// When it was received: no other one of its thread has been at that time.
    pub(crate) fn received_at(&self) -> i64 {
        self.fixed().received_at
    }

    /// The transport that it came by, unless it came on a connection to a server of ours.
    pub(crate) fn transport(&self) -> Option<Transport<'_>> {
        self.fixed().transport
    }

    /// The net namespace that it came to (`SVC_NET()`).
    pub(crate) fn net(&self) -> Net<'_> {
        self.fixed().net
    }

    /// The server's address that it came to. Does not sleep.
    pub(crate) fn server(&self) -> Option<IpAddr> {
        sockaddr::address(self.fixed().server)
    }

    /// The client's address that it came from. Does not sleep.
    pub(crate) fn client(&self) -> Option<IpAddr> {
        sockaddr::address(self.fixed().client)
    }
}
