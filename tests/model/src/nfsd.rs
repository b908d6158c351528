// SPDX-License-Identifier: GPL-2.0

//! As `rust/nfsd.rs`: nfsd's state of a net namespace, and rpc_pipefs in it.

use crate::channel::Channel;
use crate::pipe::Inode;
use std::sync::{Arc, Mutex};

/// A net namespace.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Net;

/// nfsd's state of it.
#[derive(Default)]
pub(crate) struct NfsdNet {
    /// `nfsd/cld`, as long as it is there.
    cld: Mutex<Option<Arc<Inode<Channel>>>>,
}

impl NfsdNet {
    pub(crate) fn show(&self, inode: Option<Arc<Inode<Channel>>>) {
        *self.cld.lock().unwrap() = inode;
    }

    /// What a daemon finds.
    pub(crate) fn cld(&self) -> Option<Arc<Inode<Channel>>> {
        self.cld.lock().unwrap().clone()
    }
}
