// SPDX-License-Identifier: GPL-2.0

//! Net namespaces, and nfsd in one of them.
//!
//! C source: `include/net/net_namespace.h`, `include/net/netns/generic.h`.

use crate::base::private;
use core::marker::PhantomData;
use core::ptr::{self, addr_of_mut};
use core::sync::atomic::{AtomicPtr, Ordering};
use kernel::ffi::c_void;
use kernel::sync::rcu;

/// A net namespace that is alive.
///
/// # Invariants
///
/// The namespace stays for `'a`.
#[derive(Clone, Copy)]
pub(crate) struct Net<'a>(*mut private::net, PhantomData<&'a private::net>);

impl PartialEq<Net<'_>> for Net<'_> {
    fn eq(&self, other: &Net<'_>) -> bool {
        ptr::eq(self.0, other.0)
    }
}

impl Net<'_> {
    /// The namespace.
    ///
    /// # Safety
    ///
    /// `net` is valid, and the namespace stays for the lifetime.
    pub(crate) unsafe fn from_raw(net: *mut private::net) -> Self {
        // INVARIANT: By this function's requirement.
        Net(net, PhantomData)
    }

    /// The pointer.
    pub(crate) fn as_ptr(self) -> *mut private::net {
        self.0
    }

    /// The number of the namespace, as in `/proc/PID/ns/net` and nfsd's own messages.
    pub(crate) fn inum(self) -> u32 {
        self.numbers().0
    }

    /// A number that no other namespace ever has.
    pub(crate) fn cookie(self) -> u64 {
        self.numbers().1
    }

    fn numbers(self) -> (u32, u64) {
        // SAFETY: The namespace is there, by the type's invariant; its numbers never change.
        unsafe { ((*self.0).ns.inum, (*self.0).net_cookie) }
    }
}

/// Who keeps something for each namespace.
enum Owner {
    Nfsd,
    Lockd,
}

/// nfsd, and a net namespace that it may have a server in.
///
/// # Invariants
///
/// For `'a`, nfsd stays loaded, and so do the modules that it needs: lockd, sunrpc and grace. The
/// namespace has what each of them keeps for it.
#[derive(Clone, Copy)]
pub(crate) struct Nfsd<'a>(Net<'a>);

impl<'a> Nfsd<'a> {
    /// nfsd in a namespace.
    ///
    /// # Safety
    ///
    /// nfsd stays loaded for `'a`, and the namespace is known to it: it was alive when nfsd was loaded, or
    /// has come since.
    pub(crate) unsafe fn new(net: Net<'a>) -> Self {
        // INVARIANT: By this function's requirement.
        Nfsd(net)
    }

    /// The namespace.
    pub(crate) fn net(self) -> Net<'a> {
        self.0
    }

    /// Is its server in a grace period: nfsd's, or lockd's unless it is asked for `opens`? Does not sleep.
    pub(crate) fn is_in_grace(self, opens: bool) -> bool {
        // SAFETY: The namespace is alive, and `grace` is loaded, by the type's invariant.
        unsafe { private::__state_in_grace(self.net().as_ptr(), opens) }
    }

    /// nfsd's state of the namespace, which stays for `'a`.
    pub(crate) fn nfsd_net(self) -> *mut private::nfsd_net {
        self.generic(Owner::Nfsd).cast()
    }

    /// lockd's, which stays for `'a`.
    pub(crate) fn lockd_net(self) -> *mut private::lockd_net {
        self.generic(Owner::Lockd).cast()
    }

    /// What a module keeps for the namespace (`net_generic()`).
    fn generic(self, owner: Owner) -> *mut c_void {
        let _guard = rcu::read_lock();
        // SAFETY: The modules are loaded, with their numbers, by the type's invariant, and have their entries. The array of
        // a live namespace is replaced under RCU, and never without the entries that it had.
        unsafe {
            let id = match owner {
                Owner::Nfsd => private::nfsd_net_id,
                Owner::Lockd => private::lockd_net_id,
            };
            let slot =
                addr_of_mut!((*self.0.as_ptr()).gen).cast::<AtomicPtr<private::net_generic>>();
            let generic = (*slot).load(Ordering::Acquire);
            *generic.cast::<*mut c_void>().add(id as usize)
        }
    }
}
