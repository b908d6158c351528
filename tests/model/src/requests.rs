// SPDX-License-Identifier: GPL-2.0

//! What clients ask for.

use crate::base::params::LIMIT;
use crate::explore::{below, one_in};
use crate::law::Truth;
use crate::nfs4::nfs4_client::Nfs4Client;
use crate::nfs4::nfsd::NfsdNet;
use crate::nlm::clients;
use crate::recorder::Database;
use crate::scopes::exempt;
use crate::scopes::place::ExportId;
use crate::scopes::scope::Fsid;
use crate::stores::{NFS4, NLM};
use crate::tracking::grants::Grant;
use kernel::time;
use shuttle::thread::{self, JoinHandle};
use std::sync::Arc;

/// One of the server's exports.
pub(crate) fn export(number: usize) -> ExportId {
    ExportId {
        fsid: Fsid::Num(1 + number as u32),
        file_system: [1 + number as u8; 16],
    }
}

/// A server as its clients see it.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) nn: Arc<NfsdNet>,
    pub(crate) database: Database,
    /// Clients ask for something before who had their name has gone.
    pub(crate) hasty: bool,
    /// What is asked for may be granted late: when somebody has looked twice.
    pub(crate) slow: bool,
}

impl Server {
    fn cookie(&self) -> u64 {
        self.nn.changing().net().cookie()
    }

    /// A client comes; one of its name that was there has gone. Does nothing while that has a request.
    pub(crate) fn come(&self, name: &str, minor_version: u32) -> Option<JoinHandle<()>> {
        let new = Arc::new(Nfs4Client::make(&self.nn, name, minor_version));
        self.part(name, Some(new))
    }

    /// A client's lease is over, or an admin expires it.
    pub(crate) fn expire(&self, name: &str) -> Option<JoinHandle<()>> {
        self.part(name, None)
    }

    /// Another one comes in the place of a client, or none. Returns who removes its record, if that goes on meanwhile.
    fn part(&self, name: &str, new: Option<Arc<Nfs4Client>>) -> Option<JoinHandle<()>> {
        let gone = |old: Option<&Nfs4Client>| {
            let was_asked = old.is_some_and(Nfs4Client::was_asked);
            let mut records = self.database.lock().unwrap();
            records.hold(|truth| truth.lose(name.as_bytes(), was_asked));
        };
        let old = self.nn.replace(name, new, gone).ok()??;
        let nn = self.nn.clone();
        let remove = move || nn.remove(&old);
        if one_in(2) {
            return Some(thread::spawn(remove));
        }
        remove();
        None
    }

    /// A client's request.
    fn request<R>(&self, name: &str, f: impl FnOnce(&Arc<Nfs4Client>) -> R) -> Option<R> {
        let request = || {
            let client = self.nn.begin(name)?;
            let waits = !self.hasty && self.nn.is_parting(name);
            let result = (!waits).then(|| f(&client));
            self.nn.end(&client);
            result
        };
        self.nn.process(|| match self.slow {
            true => request(),
            false => time::quickly(request),
        })
    }

    /// RECLAIM_COMPLETE, or OPEN_CONFIRM: it is to be on record.
    pub(crate) fn confirm(&self, name: &str) {
        self.request(name, |client| {
            client.set_complete();
            self.nn.create(client);
        });
    }

    /// Is there a grace period where a request goes? For who reclaims, there had better be.
    fn is_in_grace(&self, export: ExportId, opens: bool) -> bool {
        if !self.nn.in_grace(opens) {
            return false;
        }
        let kinds = if opens { NFS4 } else { NFS4 | NLM };
        let is_exempt = exempt::is_exempt(self.cookie(), export, kinds);
        let records = self.database.lock().unwrap();
        assert!(
            !is_exempt || !records.truth.is_wanted(export, kinds),
            "somebody may reclaim what is held on {}",
            export.fsid
        );
        !is_exempt
    }

    /// OPEN. Returns whether it is granted.
    pub(crate) fn open(&self, name: &str, export: ExportId) -> bool {
        let open = |client: &Arc<Nfs4Client>| {
            let may = client.is_complete()
                && !self.is_in_grace(export, true)
                && self.hold(Some(client), export, false);
            if may {
                self.grant(client, export);
            }
            may
        };
        self.request(name, open).unwrap_or(false)
    }

    /// The same, as it has it from before.
    pub(crate) fn reclaim(&self, name: &str, export: ExportId) -> bool {
        let reclaim = |client: &Arc<Nfs4Client>| {
            // nfsd asks twice.
            let asks = || self.is_in_grace(export, true) && self.hold(Some(client), export, true);
            let may = asks() && asks() && self.nn.check(client);
            if may {
                self.grant(client, export);
            }
            may
        };
        self.request(name, reclaim).unwrap_or(false)
    }

    /// lockd or nfsd asks whether there is a grace period.
    fn hold(&self, client: Option<&Arc<Nfs4Client>>, export: ExportId, reclaims: bool) -> bool {
        let grant = Grant::new(client.map(|client| &**client), export, reclaims);
        grant.hold(self.nn.changing().net(), grant.patience())
    }

    fn grant(&self, client: &Nfs4Client, export: ExportId) {
        if self.slow {
            time::sleep(below(30_000) as u64);
        }
        let mut stateids = client.stateids();
        stateids.add(export);
        self.note(client.name(), export);
    }

    /// Something is granted.
    fn note(&self, name: &[u8], export: ExportId) {
        let mut records = self.database.lock().unwrap();
        records.hold(|truth| truth.grant(name, export));
    }

    /// What it has from before and has not reclaimed; clients of NLM have no name.
    pub(crate) fn before(&self, name: &str) -> Vec<ExportId> {
        let records = self.database.lock().unwrap();
        let before = records.truth.before(name.as_bytes()).into_iter();
        before
            .map(|(_, file_system)| export(usize::from(file_system[0]) - 1))
            .collect()
    }

    /// The server stops, and starts again.
    pub(crate) fn restart(&self) {
        let mut records = self.database.lock().unwrap();
        records.hold(Truth::stop);
        drop(records);
        self.nn.stop();
        clients::forget_all();
        self.nn.start();
        if !self.nn.in_grace(true) {
            let records = self.database.lock().unwrap();
            assert!(
                !records.truth.any_before(NFS4),
                "somebody may reclaim, and there is no grace period"
            );
        }
    }

    /// lockd's grace period ends.
    pub(crate) fn end_lockd_grace(&self) {
        self.nn.end_lockd_grace();
        let mut records = self.database.lock().unwrap();
        records.hold(|truth| truth.end_grace(NLM));
    }

    /// nfsd's does. If it is not on record that it has, who may reclaim after a crash may be in the way of others.
    pub(crate) fn end_grace(&self) {
        let mut records = self.database.lock().unwrap();
        records.hold(|truth| truth.end_grace(NFS4));
        drop(records);
        self.nn.grace_done();
    }

    /// CLOSE of the first that it has opened.
    pub(crate) fn close(&self, name: &str) {
        self.request(name, |client| {
            let mut stateids = client.stateids();
            if let Some((_, export)) = stateids.all.pop_first() {
                let mut records = self.database.lock().unwrap();
                records.hold(|truth| truth.close(client.name(), export));
            }
        });
    }

    /// A lock of NLM. Returns whether it is granted.
    pub(crate) fn lock(&self, export: ExportId, reclaims: bool) -> bool {
        clients::remember(export);
        Grant::new(None, export, reclaims).hold(self.nn.changing().net(), LIMIT);
        let may = if reclaims {
            self.is_in_grace(export, false) && self.hold(None, export, true)
        } else {
            !self.is_in_grace(export, false) && self.hold(None, export, false)
        };
        if may {
            self.note(b"", export);
        } else {
            clients::forget(export);
        }
        may
    }

    /// Its client unlocks it, and lockd forgets that.
    pub(crate) fn unlock(&self, export: ExportId) {
        let mut records = self.database.lock().unwrap();
        records.hold(|truth| truth.close(b"", export));
        drop(records);
        clients::forget(export);
    }
}
