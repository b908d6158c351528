// SPDX-License-Identifier: GPL-2.0

//! A server and its daemon.

use crate::base::params;
use crate::explore::{below, one_in};
use crate::nfs4::nfsd::NfsdNet;
use crate::recorder::{self, Database, Recorder, Records};
use crate::stores::{Names, Store};
use crate::tracking::state::Stage;
use crate::tracking::tracker::Tracker;
use kernel::workqueue;
use shuttle::thread::{self, JoinHandle};
use std::sync::{Arc, Mutex};

/// A server and its daemon.
pub(crate) struct Scene {
    pub(crate) nn: Arc<NfsdNet>,
    pub(crate) database: Database,
    daemon: JoinHandle<()>,
    /// See [`crate::requests::Server`].
    pub(crate) hasty: bool,
    pub(crate) slow: bool,
}

impl Scene {
    /// With these clients on record from before, and a daemon that dies and fails so often: nfsdcld, or nfsd-had, in
    /// whose place others may come as often.
    pub(crate) fn start(on_record: &[&str], deaths: u32, failures: u32) -> Self {
        let names: Names = on_record.iter().map(|n| n.as_bytes().into()).collect();
        let store = match one_in(2) {
            true => Store::tables(names),
            false => Store::epochs(names),
        };
        let changes = below(1 + deaths as usize) as u32;
        Self::with(store, deaths, failures, changes)
    }

    /// With these records. Another daemon may come in the place of nfsd-had so often.
    pub(crate) fn with(store: Store, deaths: u32, failures: u32, changes: u32) -> Self {
        params::set_upcalls_in_flight(1 + below(3));
        let nn = NfsdNet::make();
        let database = Arc::new(Mutex::new(Records::new(store)));
        let daemon = Recorder {
            nn: nn.clone(),
            database: database.clone(),
            deaths,
            failures,
            changes,
        };
        let scene = Scene {
            daemon: daemon.spawn(),
            nn,
            database,
            hasty: false,
            slow: false,
        };
        scene.nn.start();
        scene
    }

    /// A thread of nfsd's.
    pub(crate) fn nfsd(
        &self,
        f: impl FnOnce(&Arc<NfsdNet>, &Database) + Send + 'static,
    ) -> JoinHandle<()> {
        let (nn, database) = (self.nn.clone(), self.database.clone());
        thread::spawn(move || f(&nn, &database))
    }

    /// Waits until nothing is left to do, and the daemon is there: for this time.
    pub(crate) fn wait(&self) -> Option<u32> {
        loop {
            // One that goes comes back, and may have to be told all.
            let present = self.database.lock().unwrap().present;
            workqueue::flush_one(0);
            let is_ready = Tracker::with(self.nn.changing().net(), |tracker| {
                tracker.pipe.handler.state().stage == Stage::Ready
            });
            let now = self.database.lock().unwrap().present;
            if present.is_some() && now == present && is_ready == Some(true) {
                return now;
            }
            thread::yield_now();
        }
    }

    /// When all is done, the daemon has what nfsd has, and the grace period is over.
    pub(crate) fn check(&self) {
        let (clients, records) = loop {
            let present = self.wait();
            // Before: the database must not stay locked while others run.
            let clients = self.nn.clients();
            let records = self.database.lock().unwrap();
            if records.present == present {
                break (clients, records);
            }
            drop(records);
        };
        assert!(clients.iter().all(|(_, stable)| *stable), "{clients:?}");
        let names: Names = clients.into_iter().map(|(name, _)| name).collect();
        assert_eq!(records.store.names(), names);
        assert!(records.store.is_settled(), "a grace period goes on");
    }

    /// The server stops, if it has not.
    pub(crate) fn end(self, stopped: bool) {
        if !stopped {
            self.nn.stop();
        }
        workqueue::flush();
        recorder::end(&self.database, &self.nn);
        self.daemon.join().unwrap();
    }
}
