// SPDX-License-Identifier: GPL-2.0

//! A client as lockd knows it.
//!
//! C source: `struct nlm_host` in `fs/lockd/lockd.h`. What is read here is set when the host is
//! made, and never changed; other fields change all the time.

use crate::base::net::Net;
use crate::base::private::{self, __kernel_sockaddr_storage, nlm_host, nsm_handle};
use crate::base::sockaddr;
use core::ffi::CStr;
use core::marker::PhantomData;
use core::net::IpAddr;
use core::ptr::addr_of_mut;
use core::sync::atomic::{AtomicU32, AtomicU8, Ordering};
use kernel::bindings;
use kernel::ffi::c_char;
use kernel::prelude::*;

/// The room for what this machine calls itself.
pub(crate) const NODENAME: usize = private::UNX_MAXNODENAME as usize + 1;

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
    nodename: &'a [c_char; NODENAME],
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
                nodename: &(*self.0).nodename,
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
        // SAFETY: The host is valid, by the type's invariant. lockd writes this without a lock, a word in one go.
        unsafe { AtomicU32::from_ptr(addr_of_mut!((*self.0.cast_mut()).h_state)) }
            .load(Ordering::Relaxed)
    }

    /// The name that the client gave itself.
    pub(crate) fn with_name<R>(self, f: impl FnOnce(&[u8]) -> R) -> R {
        self.handle().with_name(f)
    }

    /// What this machine calls itself to rpc.statd.
    pub(crate) fn nodename(self) -> &'a [c_char; NODENAME] {
        self.made().nodename
    }

    /// Its NSM handle, which hosts of the same client share.
    pub(crate) fn handle(self) -> Handle<'a> {
        // INVARIANT: A host keeps its handle.
        Handle(self.made().handle, PhantomData)
    }
}

/// A reference to a client's handle.
///
/// # Invariants
///
/// The reference is ours; its net namespace and lockd stay.
pub(crate) struct HeldHandle(*mut nsm_handle);

impl HeldHandle {
    /// The handle.
    pub(crate) fn get(&self) -> Handle<'_> {
        // INVARIANT: It is valid as long as the reference.
        Handle(self.0, PhantomData)
    }
}

impl Drop for HeldHandle {
    /// Does not sleep.
    fn drop(&mut self) {
        // SAFETY: The reference is ours, by the type's invariant, and goes. lockd is loaded, and has its list
        // of handles.
        unsafe { private::nsm_release(self.0) };
    }
}

/// What lockd and rpc.statd know a client by, whatever addresses of the server it uses.
///
/// # Invariants
///
/// The handle is valid for the lifetime.
#[derive(Clone, Copy)]
pub(crate) struct Handle<'a>(*mut nsm_handle, PhantomData<&'a nsm_handle>);

impl Handle<'_> {
    /// The handle.
    ///
    /// # Safety
    ///
    /// `raw` is a handle of lockd's, valid for the lifetime.
    pub(crate) unsafe fn from_raw(raw: *mut nsm_handle) -> Self {
        // INVARIANT: By this function's requirement.
        Handle(raw, PhantomData)
    }

    /// The pointer.
    pub(crate) fn as_ptr(self) -> *mut nsm_handle {
        self.0
    }

    /// The name that the client gave itself.
    pub(crate) fn with_name<R>(self, f: impl FnOnce(&[u8]) -> R) -> R {
        // SAFETY: The handle is valid, by the type's invariant. The name has an end, and never changes.
        f(unsafe { CStr::from_char_ptr((*self.0).sm_name) }.to_bytes())
    }

    /// A reference to it.
    ///
    /// # Safety
    ///
    /// The net namespace stays, and lockd stays loaded, until that goes.
    pub(crate) unsafe fn hold(self) -> HeldHandle {
        // SAFETY: The handle is valid, by the type's invariant, so that its count is not zero.
        unsafe { bindings::refcount_inc(addr_of_mut!((*self.0).sm_count).cast()) };
        // INVARIANT: The reference is new.
        HeldHandle(self.0)
    }

    /// How many know the client by it: hosts, and who has a reference of its own.
    pub(crate) fn users(self) -> u32 {
        // SAFETY: The handle is valid, by the type's invariant; a word, read in one go.
        let users = unsafe { addr_of_mut!((*self.0).sm_count.refs.counter).read_volatile() };
        users.unsigned_abs()
    }

    /// The bit field. lockd writes it without a lock.
    fn flags(&self) -> &AtomicU8 {
        // SAFETY: The handle is valid, by the type's invariant. What lockd writes there is a byte, too, so that an
        // update may be lost, as between lockd's own, but no other field changes.
        unsafe { AtomicU8::from_ptr(addr_of_mut!((*self.0)._bitfield_1).cast()) }
    }

    /// Is the client monitored?
    pub(crate) fn is_monitored(self) -> bool {
        self.flags().load(Ordering::Relaxed) & MONITORED != 0
    }

    /// The client is monitored from now on, or is not.
    pub(crate) fn set_monitored(self, monitored: bool) {
        if monitored {
            self.flags().fetch_or(MONITORED, Ordering::Relaxed);
        } else {
            self.flags().fetch_and(!MONITORED, Ordering::Relaxed);
        }
    }

    /// Keeps the client monitored when lockd forgets it, as somebody must still notify it
    /// (`nlmsvc_is_client()` does this when lockd stops). Does not sleep.
    pub(crate) fn keep_monitored(self) {
        self.flags().fetch_or(STICKY, Ordering::Relaxed);
    }

    /// Must the client stay monitored when lockd forgets it?
    pub(crate) fn stays_monitored(self) -> bool {
        self.flags().load(Ordering::Relaxed) & STICKY != 0
    }

    /// The name that rpc.statd knows the client by: chosen before each call, as `nsm_use_hostnames` may change.
    pub(crate) fn choose_name(self) -> *mut c_char {
        // SAFETY: The handle is valid, by the type's invariant, and lockd, whose it is, is loaded. The handle's
        // name may be written by several tasks of the client side at a time, the same one each time.
        unsafe {
            (*self.0).sm_mon_name = if (&raw const private::nsm_use_hostnames).read_volatile() {
                (*self.0).sm_name
            } else {
                addr_of_mut!((*self.0).sm_addrbuf).cast()
            };
            (*self.0).sm_mon_name
        }
    }
}
