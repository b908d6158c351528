// SPDX-License-Identifier: GPL-2.0

//! As `rust/nfs4/nfsd.rs`: nfsd's state of a net namespace, rpc_pipefs in it, and what nfsd does with
//! its clients.

use crate::base::clock::uptime;
use crate::base::net::{Net, Nfsd};
use crate::base::private::nfsd4_client_tracking_ops;
use crate::nfs4::client_table::ClientTable;
use crate::nfs4::nfs4_client::{ClientRef, Nfs4Client};
use crate::tracking::channel::Channel;
use crate::tracking::pipe::Inode;
use crate::tracking::tracker::Tracker;
use core::ops::Deref;
use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use kernel::prelude::*;
use kernel::sync::{Arc, Mutex};
use shuttle::thread;
use std::collections::BTreeSet;

pub(crate) struct NfsdNet {
    /// `nfsd/cld`, as long as it is there.
    cld: Mutex<Option<Arc<Inode<Channel>>>>,
    ops: AtomicPtr<nfsd4_client_tracking_ops>,
    grace_ended: AtomicBool,
    /// nfsd has said that it is over.
    grace_done: AtomicBool,
    /// Are there grace periods: nfsd's, and lockd's?
    grace: [AtomicBool; 2],
    /// `NFSD_NET_TRACK_RECLAIM_COMPLETES`
    own_table: AtomicBool,
    /// When each request began that is being processed.
    requests: std::sync::Mutex<BTreeSet<i64>>,
    /// Clients that are in no table any more, and whose records are being removed.
    parting: std::sync::Mutex<Vec<Arc<Nfs4Client>>>,
    /// How many clients there were.
    ids: std::sync::atomic::AtomicU64,
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
#[derive(Clone, Copy)]
pub(crate) struct Tracked<'a>(&'a NfsdNet);

impl<'a> Tracked<'a> {
    /// # Safety
    ///
    /// As in the module.
    pub(crate) unsafe fn new(nfsd: Nfsd<'a>) -> Self {
        Tracked(NfsdNet::of(nfsd))
    }

    pub(crate) fn nn(&self) -> &'a NfsdNet {
        self.0
    }

    pub(crate) fn is_in_grace(self, opens: bool) -> bool {
        self.0.in_grace(opens)
    }

    pub(crate) fn works_since(self, moment: i64) -> bool {
        // Others go on before and after.
        thread::yield_now();
        let requests = self.0.requests.lock().unwrap();
        requests.first().is_some_and(|first| *first <= moment)
    }

    pub(crate) fn client_named(&self, name: &[u8]) -> Option<ClientRef> {
        let clients = self.nn().clients.lock();
        let client = clients.iter().find(|c| c.name() == name)?;
        Some(ClientRef::new(client))
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
            grace_done: AtomicBool::new(false),
            grace: Default::default(),
            own_table: AtomicBool::new(false),
            requests: Default::default(),
            parting: Default::default(),
            ids: Default::default(),
            clients: Mutex::new(Vec::new()),
        })
    }

    pub(crate) fn next_id(&self) -> u64 {
        1 + self.ids.fetch_add(1, Ordering::Relaxed)
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

    pub(crate) fn set_own_table(&self, own: bool) {
        self.own_table.store(own, Ordering::SeqCst);
    }

    /// Is there a grace period, for opens or for locks of NLM? Who opens does not wait for lockd's.
    pub(crate) fn in_grace(&self, opens: bool) -> bool {
        let [nfsd, lockd] = &self.grace;
        nfsd.load(Ordering::SeqCst) || !opens && lockd.load(Ordering::SeqCst)
    }

    /// lockd's is over.
    pub(crate) fn end_lockd_grace(&self) {
        self.grace[1].store(false, Ordering::SeqCst);
    }

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
        client.ask();
        let create = self.ops().create.expect("an operation");
        // SAFETY: The client is there.
        unsafe { create(Arc::as_ptr(client).cast_mut()) };
    }

    /// `nfsd4_client_record_check()`: may it reclaim?
    pub(crate) fn check(&self, client: &Arc<Nfs4Client>) -> bool {
        if client.minor_version() == 0 {
            client.ask();
        }
        let check = self.ops().check.expect("an operation");
        // SAFETY: The client is there.
        unsafe { check(Arc::as_ptr(client).cast_mut()) == 0 }
    }

    /// `expire_client()`.
    pub(crate) fn expire(&self, client: &Arc<Nfs4Client>) {
        let mut clients = self.clients.lock();
        clients.retain(|c| !Arc::ptr_eq(c, client));
        drop(clients);
        self.remove(client);
    }

    /// `nfsd4_end_grace()`, which does nothing the second time.
    pub(crate) fn grace_done(&self) {
        self.end_grace();
        if self.grace_done.swap(true, Ordering::SeqCst) {
            return;
        }
        let grace_done = self.ops().grace_done.expect("an operation");
        // SAFETY: We are there.
        unsafe { grace_done(self.as_raw()) };
        self.grace[0].store(false, Ordering::SeqCst);
    }

    /// `nfs4_state_start_net()`: its server starts. Without anybody to reclaim it has no grace period.
    pub(crate) fn start(&self) {
        self.grace_ended.store(false, Ordering::SeqCst);
        self.grace_done.store(false, Ordering::SeqCst);
        for grace in &self.grace {
            grace.store(true, Ordering::SeqCst);
        }
        Tracker::start(&self.changing()).unwrap();
        if self.own_table.load(Ordering::SeqCst) {
            self.grace_done();
        }
    }

    /// Processes a request, in one of nfsd's threads.
    pub(crate) fn process<R>(&self, f: impl FnOnce() -> R) -> R {
        let began = uptime();
        self.requests.lock().unwrap().insert(began);
        let result = f();
        self.requests.lock().unwrap().remove(&began);
        result
    }

    /// A client's request begins, if it is confirmed.
    pub(crate) fn begin(&self, name: &str) -> Option<Arc<Nfs4Client>> {
        let clients = self.clients.lock();
        let client = clients.iter().find(|c| c.name() == name.as_bytes())?;
        client.add_user();
        Some(client.clone())
    }

    /// Is one of this name gone whose record has yet to be removed?
    pub(crate) fn is_parting(&self, name: &str) -> bool {
        let parting = self.parting.lock().unwrap();
        let is = |client: &Arc<Nfs4Client>| client.is_named(name);
        parting.iter().any(is)
    }

    /// It ends.
    pub(crate) fn end(&self, client: &Nfs4Client) {
        let clients = self.clients.lock();
        client.drop_user();
        drop(clients);
    }

    /// Takes a client out of the table, unless a request of it goes on. Calls `gone` under the lock, and with what comes in
    /// its place.
    pub(crate) fn replace(
        &self,
        name: &str,
        new: Option<Arc<Nfs4Client>>,
        gone: impl FnOnce(Option<&Nfs4Client>),
    ) -> Result<Option<Arc<Nfs4Client>>> {
        let mut clients = self.clients.lock();
        let at = clients.iter().position(|c| c.name() == name.as_bytes());
        if at.is_some_and(|at| clients[at].users() > 0) {
            return Err(EBUSY);
        }
        let old = at.map(|at| clients.swap_remove(at));
        self.parting.lock().unwrap().extend(old.clone());
        gone(old.as_deref());
        clients.extend(new);
        Ok(old)
    }

    /// `nfsd4_client_record_remove()` of one that is in no table, which is freed then.
    pub(crate) fn remove(&self, client: &Arc<Nfs4Client>) {
        let remove = self.ops().remove.expect("an operation");
        // SAFETY: The client is there.
        unsafe { remove(Arc::as_ptr(client).cast_mut()) };
        let others = |other: &Arc<Nfs4Client>| !Arc::ptr_eq(other, client);
        self.parting.lock().unwrap().retain(others);
        client.free();
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
