// SPDX-License-Identifier: GPL-2.0

//! As `rust/nfs4/nfs4_client.rs`, of clients whose use after they were freed is seen.

use crate::base::net::{Net, Nfsd};
use crate::nfs4::nfsd::NfsdNet;
use crate::nfs4::record::Client;
use crate::scopes::place::ExportId;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use kernel::prelude::*;
use kernel::sync::lock::{mutex::MutexBackend, Guard};
use kernel::sync::Mutex;
use std::collections::BTreeMap;

/// What a client holds: exports, by numbers that grow.
#[derive(Default)]
pub(crate) struct Stateids {
    pub(crate) all: BTreeMap<usize, ExportId>,
    next: usize,
}

impl Stateids {
    pub(crate) fn add(&mut self, export: ExportId) -> usize {
        self.next += 1;
        self.all.insert(self.next, export);
        self.next
    }
}

pub(crate) struct Nfs4Client {
    nn: *const NfsdNet,
    name: Vec<u8>,
    minor_version: u32,
    /// None has had it before.
    id: u64,
    /// It has sent RECLAIM_COMPLETE, or need not.
    complete: AtomicBool,
    /// It was asked that it is put on record.
    asked: AtomicBool,
    stable: AtomicBool,
    /// `cl_rpc_users`: its requests. It changes with `client_lock` held.
    users: AtomicU32,
    /// With `cl_lock`.
    stateids: Mutex<Stateids>,
    freed: std::sync::atomic::AtomicBool,
}

// SAFETY: The namespace may be shared.
unsafe impl Send for Nfs4Client {}
// SAFETY: As for `Send`.
unsafe impl Sync for Nfs4Client {}

impl Nfs4Client {
    pub(crate) fn make(nn: &NfsdNet, name: &str, minor_version: u32) -> Self {
        Nfs4Client {
            nn,
            name: name.into(),
            minor_version,
            id: nn.next_id(),
            complete: AtomicBool::new(minor_version == 0),
            asked: AtomicBool::new(false),
            stable: AtomicBool::new(false),
            users: AtomicU32::new(0),
            stateids: Mutex::default(),
            freed: false.into(),
        }
    }

    /// nfsd frees it. Its memory stays, for [`Nfs4Client::alive`] to say so.
    pub(crate) fn free(&self) {
        self.freed.store(true, Ordering::SeqCst);
    }

    fn alive(&self) -> &Self {
        assert!(
            !self.freed.load(Ordering::SeqCst),
            "a use after it is freed"
        );
        self
    }

    pub(crate) unsafe fn from_raw<'a>(raw: *mut Self) -> &'a Self {
        // SAFETY: As in the module.
        unsafe { &*raw }.alive()
    }

    pub(crate) fn nfsd(&self) -> Nfsd<'_> {
        // SAFETY: The namespace outlives the client.
        unsafe { Nfsd::new(Net::from_raw(self.alive().nn.cast_mut())) }
    }

    /// No floating address ever changes here.
    pub(crate) fn former_name<T>(&self, _: &T) -> Option<KVec<u8>> {
        None
    }

    pub(crate) fn name(&self) -> &[u8] {
        &self.alive().name
    }

    pub(crate) fn minor_version(&self) -> u32 {
        self.alive().minor_version
    }

    pub(crate) fn principal_hash(&self) -> Option<[u8; 32]> {
        None
    }

    pub(crate) fn with_record<R>(&self, f: impl FnOnce(Client<'_>) -> R) -> R {
        f(Client {
            name: self.name(),
            hash: &[],
        })
    }

    pub(crate) fn is_named(&self, name: &str) -> bool {
        self.name == name.as_bytes()
    }

    pub(crate) fn id(&self) -> u64 {
        self.alive().id
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.alive().complete.load(Ordering::SeqCst)
    }

    pub(crate) fn set_complete(&self) {
        self.alive().complete.store(true, Ordering::SeqCst);
    }

    /// May it be on record?
    pub(crate) fn was_asked(&self) -> bool {
        self.alive().asked.load(Ordering::SeqCst)
    }

    pub(crate) fn ask(&self) {
        self.alive().asked.store(true, Ordering::SeqCst);
    }

    pub(crate) fn users(&self) -> u32 {
        self.alive().users.load(Ordering::SeqCst)
    }

    /// A request of it begins.
    pub(crate) fn add_user(&self) {
        self.alive().users.fetch_add(1, Ordering::SeqCst);
    }

    /// It ends.
    pub(crate) fn drop_user(&self) {
        self.alive().users.fetch_sub(1, Ordering::SeqCst);
    }

    pub(crate) fn stateids(&self) -> Guard<'_, Stateids, MutexBackend> {
        self.alive().stateids.lock()
    }

    pub(crate) fn is_stable(&self) -> bool {
        self.alive().stable.load(Ordering::SeqCst)
    }

    pub(crate) fn set_stable(&self, stable: bool) {
        self.alive().stable.store(stable, Ordering::SeqCst);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClientRef(*const Nfs4Client);

// SAFETY: As in the module.
unsafe impl Send for ClientRef {}
// SAFETY: As in the module.
unsafe impl Sync for ClientRef {}

impl ClientRef {
    pub(crate) fn new(client: &Nfs4Client) -> Self {
        ClientRef(client.alive())
    }

    pub(crate) unsafe fn get<'a>(self) -> &'a Nfs4Client {
        // SAFETY: As in the module.
        unsafe { &*self.0 }.alive()
    }
}
