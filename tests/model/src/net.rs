// SPDX-License-Identifier: GPL-2.0

//! As `rust/base/net.rs`: there is one net namespace.

use crate::nfs4::nfsd::NfsdNet;

/// A net namespace, which is nfsd's state of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Net(pub(crate) *const NfsdNet);

// SAFETY: As in the module.
unsafe impl Send for Net {}
// SAFETY: As in the module.
unsafe impl Sync for Net {}

/// What a pipe knows of a net namespace.
#[derive(Clone, Copy)]
pub(crate) struct Place;

/// In the kernel's `try_pin_init!` a field that is initialised is a reference, here it is none.
impl core::ops::Deref for Net {
    type Target = Place;

    fn deref(&self) -> &Place {
        &Place
    }
}

impl Net {
    pub(crate) fn new(net: *mut NfsdNet) -> Self {
        Net(net)
    }

    pub(crate) unsafe fn inum(self) -> u32 {
        0
    }
}
