// SPDX-License-Identifier: GPL-2.0

//! A client as lockd knows it.
//!
//! C source: `struct nlm_host` in `fs/lockd/lockd.h`. What is read here is set when the host is
//! made, and never changed; other fields change all the time.

use crate::base::net::Net;
use crate::base::private::{nlm_host, nsm_handle};
use crate::base::sockaddr;
use core::ffi::CStr;
use core::marker::PhantomData;
use core::net::IpAddr;
use core::ptr::addr_of_mut;
use core::sync::atomic::{AtomicU8, Ordering};
use kernel::prelude::*;

/// `sm_monitored`, the first bit of the handle's bit field, and `sm_sticky`, the second.
pub(crate) const MONITORED: u8 = 1;
pub(crate) const STICKY: u8 = 2;

/// A client: its address, the server's address that it uses, the version and the transport.
#[derive(Clone, Copy)]
pub(crate) struct Host<'a>(*const nlm_host, PhantomData<&'a nlm_host>);

impl<'a> Host<'a> {
    /// The host.
    ///
    /// # Safety
    ///
    /// `raw` is a host of lockd's, valid for the lifetime. (lockd frees the hosts of a net namespace before the
    /// namespace goes.)
    pub(crate) unsafe fn new(raw: *const nlm_host) -> Self {
        Host(raw, PhantomData)
    }

    /// Its net namespace.
    pub(crate) fn net(self) -> Net<'a> {
        // SAFETY: The host is valid, by `new()`. Set when it was made, and there for longer.
        unsafe { Net::from_raw((*self.0).net) }
    }

    /// The client's address.
    pub(crate) fn client(self) -> Option<IpAddr> {
        // SAFETY: The host is valid, by `new()`. The address was set when it was made.
        unsafe { sockaddr::address(&raw const (*self.0).h_addr) }
    }

    /// The server's address that the client uses.
    pub(crate) fn server(self) -> Option<IpAddr> {
        // SAFETY: The host is valid, by `new()`. The address, or zeros, was set when it was made.
        unsafe { sockaddr::address(&raw const (*self.0).h_srcaddr) }
    }

    /// The NLM version.
    pub(crate) fn version(self) -> u32 {
        // SAFETY: The host is valid, by `new()`. Set when it was made.
        unsafe { (*self.0).h_version }
    }

    /// The transport: an IP protocol number.
    pub(crate) fn protocol(self) -> u16 {
        // SAFETY: The host is valid, by `new()`. Set when it was made.
        unsafe { (*self.0).h_proto }
    }

    /// How often the client has restarted since lockd has known it. This one changes.
    pub(crate) fn restarts(self) -> u32 {
        // SAFETY: The host is valid, by `new()`. A word, read in one go.
        unsafe { (&raw const (*self.0).h_state).read_volatile() }
    }

    /// The name that the client gave itself.
    pub(crate) fn with_name<R>(self, f: impl FnOnce(&[u8]) -> R) -> R {
        // SAFETY: The host is valid, by `new()`. The name is that of its NSM handle, which it keeps, has
        // an end, and never changes.
        f(unsafe { CStr::from_char_ptr((*self.0).h_name) }.to_bytes())
    }

    /// The pointer.
    pub(crate) fn as_ptr(self) -> *const nlm_host {
        self.0
    }

    /// Is it one of lockd's server side?
    pub(crate) fn is_server(self) -> bool {
        // SAFETY: The host is valid, by `new()`. Set when it was made.
        unsafe { (*self.0).h_server() != 0 }
    }

    /// What rpc.statd knows the client by.
    pub(crate) fn nsm_handle(self) -> *mut nsm_handle {
        // SAFETY: The host is valid, by `new()`, and keeps its handle.
        unsafe { (*self.0).h_nsmhandle }
    }

    /// The bit field of its handle. lockd writes it without a lock.
    pub(crate) fn nsm_flags(self) -> &'a AtomicU8 {
        // SAFETY: The host keeps its handle. What lockd writes is a byte, too, so that an update may be lost, as
        // between lockd's own, but no other field changes.
        unsafe { AtomicU8::from_ptr(addr_of_mut!((*self.nsm_handle())._bitfield_1).cast()) }
    }

    /// Keeps the client monitored when lockd forgets the host, as somebody must still notify it
    /// (`nlmsvc_is_client()` does this when lockd stops). Does not sleep.
    pub(crate) fn keep_monitored(self) {
        self.nsm_flags().fetch_or(STICKY, Ordering::Relaxed);
    }
}
