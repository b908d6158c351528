// SPDX-License-Identifier: GPL-2.0

//! As `rust/base/net.rs`: a net namespace is nfsd's state of it.

use crate::nfs4::nfsd::NfsdNet;

/// A net namespace.
#[derive(Clone, Copy)]
pub(crate) struct Net<'a>(&'a NfsdNet);

impl<'a> Net<'a> {
    /// # Safety
    ///
    /// As in the module.
    pub(crate) unsafe fn from_raw(net: *mut NfsdNet) -> Self {
        // SAFETY: As in the module.
        Net(unsafe { &*net })
    }

    pub(crate) fn as_ptr(self) -> *mut NfsdNet {
        self.0.as_raw()
    }

    pub(crate) fn inum(self) -> u32 {
        0
    }

    pub(crate) fn cookie(self) -> u64 {
        std::ptr::from_ref(self.0).addr() as u64
    }

    pub(crate) fn state(self) -> &'a NfsdNet {
        self.0
    }
}

/// nfsd in a net namespace.
#[derive(Clone, Copy)]
pub(crate) struct Nfsd<'a>(Net<'a>);

impl<'a> Nfsd<'a> {
    /// # Safety
    ///
    /// As in the module.
    pub(crate) unsafe fn new(net: Net<'a>) -> Self {
        Nfsd(net)
    }

    pub(crate) fn net(self) -> Net<'a> {
        self.0
    }
}
