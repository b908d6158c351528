// SPDX-License-Identifier: GPL-2.0

//! Client tracking as a whole, between nfsd and its daemon.

use crate::base::params;
use crate::explore::{below, explore, one_in};
use crate::nfs4::nfs4_client::Nfs4Client;
use crate::nfs4::nfsd::NfsdNet;
use crate::recorder::{self, Database, Recorder, Records};
use crate::stores::{Names, Store};
use crate::tracking::tracker::Tracker;
use kernel::time::Clock;
use kernel::workqueue;
use shuttle::thread::{self, JoinHandle};
use std::sync::{Arc, Mutex};

/// A server and its daemon.
struct Scene {
    nn: Arc<NfsdNet>,
    database: Database,
    daemon: JoinHandle<()>,
}

impl Scene {
    /// With these clients on record from before, and a daemon that dies and fails so often: nfsdcld, or nfsd-had, in
    /// whose place others may come as often.
    fn start(on_record: &[&str], deaths: u32, failures: u32) -> Self {
        params::set_upcalls_in_flight(1 + below(3));
        let nn = NfsdNet::make();
        let names: Names = on_record.iter().map(|n| n.as_bytes().into()).collect();
        let store = match one_in(2) {
            true => Store::tables(names),
            false => Store::epochs(names),
        };
        let database = Arc::new(Mutex::new(Records::new(store)));
        let daemon = Recorder {
            nn: nn.clone(),
            database: database.clone(),
            deaths,
            failures,
            changes: below(1 + deaths as usize) as u32,
        };
        let daemon = daemon.spawn();
        Tracker::start(&nn.changing()).unwrap();
        Scene {
            nn,
            database,
            daemon,
        }
    }

    /// A thread of nfsd's.
    fn nfsd(&self, f: impl FnOnce(&Arc<NfsdNet>, &Database) + Send + 'static) -> JoinHandle<()> {
        let (nn, database) = (self.nn.clone(), self.database.clone());
        thread::spawn(move || f(&nn, &database))
    }

    /// When all is done, the daemon has what nfsd has, and the grace period is over.
    fn check(&self) {
        // One that goes comes back, and may have to be told all.
        let (clients, records) = loop {
            let present = self.database.lock().unwrap().present;
            workqueue::flush_one(0);
            // Before: the database must not stay locked while others run.
            let clients = self.nn.clients();
            let records = self.database.lock().unwrap();
            if present.is_some() && records.present == present {
                break (clients, records);
            }
            drop(records);
            thread::yield_now();
        };
        assert!(clients.iter().all(|(_, stable)| *stable), "{clients:?}");
        let names: Names = clients.into_iter().map(|(name, _)| name).collect();
        assert_eq!(records.store.names(), names);
        assert!(records.store.is_settled(), "a grace period goes on");
    }

    /// The server stops, if it has not.
    fn end(self, stopped: bool) {
        if !stopped {
            self.nn.stop();
        }
        workqueue::flush();
        recorder::end(&self.database, &self.nn);
        self.daemon.join().unwrap();
    }
}

/// A client is to be put on record. If it is told that it is, it is.
fn create(nn: &NfsdNet, database: &Database, client: &Arc<Nfs4Client>) {
    let starts = database.lock().unwrap().starts;
    nn.create(client);
    // The database must not stay locked while others run.
    let stable = client.is_stable();
    let records = database.lock().unwrap();
    let is_there = records.store.names().contains(client.name());
    assert!(!stable || is_there || records.changed || records.starts > starts);
}

/// A client comes, and then may go, or come back under its name.
fn come_and_go(nn: &Arc<NfsdNet>, database: &Database, name: &str) {
    let (client, _) = nn.confirm(name, below(2) as u32);
    create(nn, database, &client);
    match below(3) {
        0 => nn.expire(&client),
        1 => {
            let (again, old) = nn.confirm(name, 1);
            let expire = nn.clone();
            let expire = thread::spawn(move || expire.expire(&old.expect("it was there")));
            create(nn, database, &again);
            expire.join().unwrap();
        }
        _ => {}
    }
}

/// A client that was there before wants to reclaim. Returns whether it may.
fn reclaim(nn: &NfsdNet, database: &Database, name: &str, minor_version: u32) -> bool {
    let (client, _) = nn.confirm(name, minor_version);
    let may = nn.check(&client);
    create(nn, database, &client);
    may
}

#[test]
fn in_the_end_the_daemon_has_the_clients_that_are_there() {
    explore(0, || {
        let clock = Clock::start(30);
        let scene = Scene::start(&["a", "gone"], 2, 2);
        let threads = ["a", "b", "c"]
            .map(|name| scene.nfsd(move |nn, database| come_and_go(nn, database, name)));
        let grace = scene.nfsd(|nn, _| nn.grace_done());
        threads.into_iter().for_each(|t| t.join().unwrap());
        grace.join().unwrap();
        scene.check();
        scene.end(false);
        clock.stop();
    });
}

#[test]
fn who_is_on_record_may_reclaim_and_nobody_else() {
    explore(4, || {
        let clock = Clock::start(30);
        let scene = Scene::start(&["a", "b", "gone"], 1, 1);
        let threads = [
            scene.nfsd(|nn, database| _ = reclaim(nn, database, "a", 0)),
            scene.nfsd(|nn, database| _ = reclaim(nn, database, "b", 1)),
            scene.nfsd(|nn, database| assert!(!reclaim(nn, database, "x", below(2) as u32))),
        ];
        let grace = one_in(2).then(|| scene.nfsd(|nn, _| nn.grace_done()));
        let early = grace.is_some();
        threads
            .into_iter()
            .chain(grace)
            .for_each(|t| t.join().unwrap());
        if !early {
            scene.nn.grace_done();
            assert!(!reclaim(&scene.nn, &scene.database, "gone", 1));
        }
        scene.check();
        scene.end(false);
        clock.stop();
    });
}

#[test]
fn with_a_good_daemon_nobody_waits_for_a_time_limit() {
    explore(0, || {
        let scene = Scene::start(&["a", "b"], 0, 0);
        let threads = [
            scene.nfsd(|nn, database| assert!(reclaim(nn, database, "a", 0))),
            scene.nfsd(|nn, database| assert!(reclaim(nn, database, "b", 1))),
            scene.nfsd(|nn, database| come_and_go(nn, database, "c")),
        ];
        threads.into_iter().for_each(|t| t.join().unwrap());
        scene.nn.grace_done();
        scene.check();
        scene.end(false);
    });
}

#[test]
fn the_server_stops_while_clients_are_expired() {
    explore(4, || {
        let clock = Clock::start(20);
        let scene = Scene::start(&["a"], 1, 1);
        let (nn, database) = (&scene.nn, &scene.database);
        let clients = ["a", "b", "c"].map(|name| nn.confirm(name, 1).0);
        clients.iter().for_each(|c| create(nn, database, c));
        if one_in(2) {
            nn.grace_done();
        }
        // From a client's `ctl` file: nfsd's threads have ended.
        let [a, b, _] = clients;
        let expire = [a, b].map(|client| scene.nfsd(move |nn, _| nn.expire(&client)));
        scene.nn.stop();
        expire.into_iter().for_each(|t| t.join().unwrap());
        scene.end(true);
        clock.stop();
    });
}
