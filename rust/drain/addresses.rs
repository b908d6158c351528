// SPDX-License-Identifier: GPL-2.0

//! The addresses that drain, as each request and each new connection asks for them.
//!
//! They are a list that changes under RCU, as who asks may be in a softirq. While nothing drains the answer costs a load
//! and a comparison.

use crate::base::tasks;
use core::net::IpAddr;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};
use kernel::prelude::*;
use kernel::sync::{rcu, Arc};

/// An address that drains; or that did, until the connections are closed that were told so.
pub(crate) struct Address {
    /// The cookie of its net namespace.
    net: u64,
    address: IpAddr,
    /// New connections and requests are refused.
    refuses: AtomicBool,
    /// How many connections were.
    refused: AtomicU64,
}

impl Address {
    /// An address that drains, from when it is published.
    pub(crate) fn new(net: u64, address: IpAddr) -> Self {
        Address {
            net,
            address,
            refuses: AtomicBool::new(true),
            refused: AtomicU64::new(0),
        }
    }

    /// The cookie of its net namespace.
    pub(crate) fn net(&self) -> u64 {
        self.net
    }

    /// The address.
    pub(crate) fn address(&self) -> IpAddr {
        self.address
    }

    /// Is it this one?
    pub(crate) fn is(&self, net: u64, address: IpAddr) -> bool {
        (self.net, self.address) == (net, address)
    }

    /// Are new connections and requests refused?
    pub(crate) fn refuses(&self) -> bool {
        self.refuses.load(Ordering::Relaxed)
    }

    /// Says whether they are.
    pub(crate) fn set_refuses(&self, refuses: bool) {
        self.refuses.store(refuses, Ordering::Relaxed);
    }

    /// How many connections were refused.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// A connection was refused.
    pub(crate) fn count_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Drains once more, from the beginning.
    pub(crate) fn renew(&self) {
        self.refused.store(0, Ordering::Relaxed);
        self.set_refuses(true);
    }
}

/// The addresses of all namespaces.
pub(crate) type List = KVVec<Arc<Address>>;

/// What was published, or null if it is empty.
static LIST: AtomicPtr<List> = AtomicPtr::new(ptr::null_mut());

/// Are there any? May be called anywhere.
pub(crate) fn any() -> bool {
    !LIST.load(Ordering::Relaxed).is_null()
}

/// What `f` says of an address, if it is one of them. Does not sleep, nor does `f`; may be called in softirqs.
pub(crate) fn with<R>(net: u64, address: IpAddr, f: impl FnOnce(&Address) -> R) -> Option<R> {
    let _guard = rcu::read_lock();
    // SAFETY: It is null, or a list that is not freed before a grace period of RCU has passed since it was replaced.
    let list = unsafe { LIST.load(Ordering::Acquire).as_ref() }?;
    list.iter()
        .find(|one| one.is(net, address))
        .map(|one| f(one))
}

/// The list as it is to be published.
pub(crate) struct Prepared(Option<KBox<List>>);

impl Prepared {
    /// No addresses.
    pub(crate) const EMPTY: Self = Prepared(None);

    /// Prepares a list that is not empty. Fails with `ENOMEM`. May sleep.
    pub(crate) fn new(list: List) -> Result<Self> {
        Ok(Prepared(Some(KBox::new(list, GFP_KERNEL_ACCOUNT)?)))
    }
}

/// Publishes a list. When this returns, all who ask see it: a request that had asked before was counted by its
/// transport before. May sleep, for a grace period of RCU.
pub(crate) fn publish(list: Prepared) {
    let new = list.0.map_or(ptr::null_mut(), KBox::into_raw);
    let old = LIST.swap(new, Ordering::AcqRel);
    tasks::synchronize_rcu();
    if !old.is_null() {
        // SAFETY: What was published came from a box, and since the grace period nobody sees it.
        drop(unsafe { KBox::from_raw(old) });
    }
}
