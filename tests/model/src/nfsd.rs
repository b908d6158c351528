// SPDX-License-Identifier: GPL-2.0

//! As `rust/nfs4/nfsd.rs`: nfsd's state of a net namespace, rpc_pipefs in it, and what nfsd does with
//! its clients.

use crate::base::net::{Net, Nfsd};
use crate::base::private::nfsd4_client_tracking_ops;
use crate::nfs4::client_table::ClientTable;
use crate::nfs4::nfs4_client::{ClientRef, Nfs4Client};
use crate::tracking::channel::Channel;
use crate::tracking::pipe::Inode;
use core::ops::Deref;
use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use kernel::prelude::*;
use kernel::sync::{Arc, Mutex};

pub(crate) struct NfsdNet {
    /// `nfsd/cld`, as long as it is there.
    cld: Mutex<Option<Arc<Inode<Channel>>>>,
    ops: AtomicPtr<nfsd4_client_tracking_ops>,
    grace_ended: AtomicBool,
    /// `client_lock`, and the confirmed clients.
    clients: Mutex<Vec<Arc<Nfs4Client>>>,
}

/// A server that starts or stops.
pub(crate) struct Changing<'a>(Nfsd<'a>);

impl<'a> Changing<'a> {
    /// # Safety
    ///
    /// As in the module.
    pub(crate) unsafe fn new(nfsd: Nfsd<'a>) -> Self {
        Changing(nfsd)
    }

    pub(crate) fn net(&self) -> Net<'a> {
        self.0.net()
    }

    pub(crate) fn nn(&self) -> &'a NfsdNet {
        NfsdNet::of(self.0)
    }

    /// # Safety
    ///
    /// As in the module.
    pub(crate) unsafe fn set_tracking_ops(&self, ops: *const nfsd4_client_tracking_ops) {
        self.nn().ops.store(ops.cast_mut(), Ordering::SeqCst);
    }

    pub(crate) fn make_boot_time_unique(&self, _: u32) {}
}

/// nfsd's state, while its server uses the tracking operations.
pub(crate) struct Tracked<'a>(&'a NfsdNet);

impl<'a> Tracked<'a> {
    /// # Safety
    ///
    /// As in the module.
    pub(crate) unsafe fn new(nn: &'a NfsdNet) -> Self {
        Tracked(nn)
    }

    pub(crate) fn nn(&self) -> &'a NfsdNet {
        self.0
    }

    pub(crate) fn has_stable_namesake(&self, client: &Nfs4Client) -> bool {
        let clients = self.nn().clients.lock();
        let namesake = clients.iter().find(|c| c.name() == client.name());
        namesake.is_some_and(|c| c.is_stable())
    }

    pub(crate) fn stable_clients(&self) -> Result<KVVec<ClientRef>> {
        let mut stable = KVVec::new();
        for client in self.nn().clients.lock().iter().filter(|c| c.is_stable()) {
            stable.push(ClientRef::new(client), GFP_KERNEL)?;
        }
        Ok(stable)
    }
}

impl Deref for Tracked<'_> {
    type Target = NfsdNet;

    fn deref(&self) -> &NfsdNet {
        self.0
    }
}

impl NfsdNet {
    pub(crate) fn make() -> Arc<Self> {
        Arc::new(NfsdNet {
            cld: Mutex::new(None),
            ops: AtomicPtr::default(),
            grace_ended: AtomicBool::new(false),
            clients: Mutex::new(Vec::new()),
        })
    }

    pub(crate) fn client_table(&self) -> ClientTable<'_> {
        ClientTable(self.clients.lock())
    }

    pub(crate) fn show(&self, inode: Option<Arc<Inode<Channel>>>) {
        *self.cld.lock() = inode;
    }

    /// What a daemon finds.
    pub(crate) fn cld(&self) -> Option<Arc<Inode<Channel>>> {
        self.cld.lock().clone()
    }

    pub(crate) fn of<'a>(nfsd: Nfsd<'a>) -> &'a Self {
        nfsd.net().state()
    }

    /// Its server starts or stops.
    pub(crate) fn changing(&self) -> Changing<'_> {
        // SAFETY: As in the module.
        unsafe { Changing::new(Nfsd::new(Net::from_raw(self.as_raw()))) }
    }

    pub(crate) unsafe fn from_raw<'a>(raw: *mut Self) -> &'a Self {
        // SAFETY: As in the module.
        unsafe { &*raw }
    }

    pub(crate) fn as_raw(&self) -> *mut Self {
        core::ptr::from_ref(self).cast_mut()
    }

    pub(crate) fn tracking_ops(&self) -> *const nfsd4_client_tracking_ops {
        self.ops.load(Ordering::SeqCst)
    }

    pub(crate) fn set_own_table(&self, _: bool) {}

    pub(crate) fn grace_ended(&self) -> bool {
        self.grace_ended.load(Ordering::SeqCst)
    }

    /// nfsd's worker is to end it. Returns whether somebody has been told before.
    pub(crate) fn end_grace(&self) -> bool {
        self.grace_ended.swap(true, Ordering::SeqCst)
    }

    fn ops(&self) -> &'static nfsd4_client_tracking_ops {
        // SAFETY: The module's are static.
        unsafe { self.tracking_ops().as_ref() }.expect("a server")
    }

    /// A client is confirmed. Returns it with the one of that name that it takes the place of.
    pub(crate) fn confirm(
        &self,
        name: &str,
        minor_version: u32,
    ) -> (Arc<Nfs4Client>, Option<Arc<Nfs4Client>>) {
        let client = Arc::new(Nfs4Client::make(self, name, minor_version));
        let old = self.unhash(name);
        self.clients.lock().push(client.clone());
        (client, old)
    }

    fn unhash(&self, name: &str) -> Option<Arc<Nfs4Client>> {
        let mut clients = self.clients.lock();
        let at = clients.iter().position(|c| c.name() == name.as_bytes())?;
        Some(clients.swap_remove(at))
    }

    /// `nfsd4_client_record_create()`.
    pub(crate) fn create(&self, client: &Arc<Nfs4Client>) {
        let create = self.ops().create.expect("an operation");
        // SAFETY: The client is there.
        unsafe { create(Arc::as_ptr(client).cast_mut()) };
    }

    /// `nfsd4_client_record_check()`: may it reclaim?
    pub(crate) fn check(&self, client: &Arc<Nfs4Client>) -> bool {
        let check = self.ops().check.expect("an operation");
        // SAFETY: The client is there.
        unsafe { check(Arc::as_ptr(client).cast_mut()) == 0 }
    }

    /// `expire_client()`.
    pub(crate) fn expire(&self, client: &Arc<Nfs4Client>) {
        let mut clients = self.clients.lock();
        clients.retain(|c| !Arc::ptr_eq(c, client));
        drop(clients);
        let remove = self.ops().remove.expect("an operation");
        // SAFETY: The client is there.
        unsafe { remove(Arc::as_ptr(client).cast_mut()) };
        client.free();
    }

    /// `nfsd4_record_grace_done()`.
    pub(crate) fn grace_done(&self) {
        self.end_grace();
        let grace_done = self.ops().grace_done.expect("an operation");
        // SAFETY: We are there.
        unsafe { grace_done(self.as_raw()) };
    }

    /// `nfsd4_client_tracking_exit()`, then all clients are freed.
    pub(crate) fn stop(&self) {
        let exit = self.ops().exit.expect("an operation");
        // SAFETY: We are there.
        unsafe { exit(self.as_raw()) };
        for client in std::mem::take(&mut *self.clients.lock()) {
            client.free();
        }
    }

    /// The names of the clients, and whether each is on record.
    pub(crate) fn clients(&self) -> Vec<(Vec<u8>, bool)> {
        let clients = self.clients.lock();
        let mut all: Vec<_> = clients
            .iter()
            .map(|c| (c.name().to_vec(), c.is_stable()))
            .collect();
        all.sort();
        all
    }
}
