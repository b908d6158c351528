// SPDX-License-Identifier: GPL-2.0

//! A client as lockd knows it.
//!
//! C source: `struct nlm_host` in `fs/lockd/lockd.h`. What is read here is set when the host is
//! made, and never changed; other fields change all the time.

use crate::base::net::Net;
use crate::base::private::{__kernel_sockaddr_storage, nlm_host, nsm_handle};
use crate::base::sockaddr;
use core::ffi::CStr;
use core::marker::PhantomData;
use core::net::IpAddr;
use core::ptr::addr_of_mut;
use core::sync::atomic::{AtomicU32, AtomicU8, Ordering};
use kernel::prelude::*;

/// `sm_monitored`, the first bit of the NSM handle's bit field, and `sm_sticky`, the second.
const MONITORED: u8 = 1;
const STICKY: u8 = 2;

/// A client: its address, the server's address that it uses, the version and the transport.
///
/// # Invariants
///
/// The host is valid for the lifetime, and has its NSM handle.
#[derive(Clone, Copy)]
pub(crate) struct Host<'a>(*const nlm_host, PhantomData<&'a nlm_host>);

/// Fields of a host that never change.
struct Made<'a> {
    is_server: bool,
    net: Net<'a>,
    client: &'a __kernel_sockaddr_storage,
    server: &'a __kernel_sockaddr_storage,
    handle: *mut nsm_handle,
    version: u32,
    protocol: u16,
}

/// What changes while others look at it, each in one go.
struct Shared<'a> {
    restarts: &'a AtomicU32,
    flags: &'a AtomicU8,
}

impl<'a> Host<'a> {
    /// The host.
    ///
    /// # Safety
    ///
    /// `raw` is a host of lockd's, valid for the lifetime.
    pub(crate) unsafe fn new(raw: *const nlm_host) -> Self {
        // INVARIANT: By this function's requirement; a host has a handle from when it is made.
        Host(raw, PhantomData)
    }

    /// The host.
    pub(crate) fn as_ptr(self) -> *const nlm_host {
        self.0
    }

    /// What was set when it was made, and stays.
    #[inline]
    fn made(self) -> Made<'a> {
        // SAFETY: The host is valid, by the type's invariant. Nobody writes these fields any more, but for other bits
        // of the field that `h_server` is in. lockd frees a namespace's hosts before the namespace goes.
        unsafe {
            Made {
                is_server: nlm_host::h_server_raw(self.0) != 0,
                net: Net::from_raw((*self.0).net),
                client: &(*self.0).h_addr,
                server: &(*self.0).h_srcaddr,
                handle: (*self.0).h_nsmhandle,
                version: (*self.0).h_version,
                protocol: (*self.0).h_proto,
            }
        }
    }

    /// Is it one of lockd's server side?
    pub(crate) fn is_server(self) -> bool {
        self.made().is_server
    }

    /// Its net namespace.
    pub(crate) fn net(self) -> Net<'a> {
        self.made().net
    }

    /// The client's address.
    pub(crate) fn client(self) -> Option<IpAddr> {
        sockaddr::address(self.made().client)
    }

    /// The server's address that the client uses. It may have none, but zeros.
    pub(crate) fn server(self) -> Option<IpAddr> {
        sockaddr::address(self.made().server)
    }

    /// The NLM version.
    pub(crate) fn version(self) -> u32 {
        self.made().version
    }

    /// The transport: an IP protocol number.
    pub(crate) fn protocol(self) -> u16 {
        self.made().protocol
    }

    /// How often the client has restarted since lockd has known it. This one changes.
    pub(crate) fn restarts(self) -> u32 {
        self.shared().restarts.load(Ordering::Relaxed)
    }

    /// The name that the client gave itself.
    pub(crate) fn with_name<R>(self, f: impl FnOnce(&[u8]) -> R) -> R {
        // SAFETY: The host is valid, by the type's invariant. The name is that of its NSM handle, which it keeps, has
        // an end, and never changes.
        f(unsafe { CStr::from_char_ptr((*self.0).h_name) }.to_bytes())
    }

    /// Its NSM handle, which hosts of the same client share.
    pub(crate) fn handle(self) -> *mut nsm_handle {
        self.made().handle
    }

    /// How often it has restarted, and the bit field of its handle. lockd writes both without a lock.
    fn shared(self) -> Shared<'a> {
        // SAFETY: The host is valid, by the type's invariant, and keeps its handle. What lockd writes there is a byte,
        // too, so that an update may be lost, as between lockd's own, but no other field changes.
        unsafe {
            let restarts = addr_of_mut!((*self.0.cast_mut()).h_state);
            Shared {
                restarts: AtomicU32::from_ptr(restarts),
                flags: AtomicU8::from_ptr(addr_of_mut!((*self.handle())._bitfield_1).cast()),
            }
        }
    }

    /// Is the client monitored?
    pub(crate) fn is_monitored(self) -> bool {
        self.shared().flags.load(Ordering::Relaxed) & MONITORED != 0
    }

    /// The client is monitored from now on, or is not.
    pub(crate) fn set_monitored(self, monitored: bool) {
        if monitored {
            self.shared().flags.fetch_or(MONITORED, Ordering::Relaxed);
        } else {
            self.shared().flags.fetch_and(!MONITORED, Ordering::Relaxed);
        }
    }

    /// Keeps the client monitored when lockd forgets it, as somebody must still notify it
    /// (`nlmsvc_is_client()` does this when lockd stops). Does not sleep.
    pub(crate) fn keep_monitored(self) {
        self.shared().flags.fetch_or(STICKY, Ordering::Relaxed);
    }

    /// Is the client monitored, and need not be when lockd forgets it?
    pub(crate) fn may_be_unmonitored(self) -> bool {
        self.shared().flags.load(Ordering::Relaxed) & (MONITORED | STICKY) == MONITORED
    }
}
