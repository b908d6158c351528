// SPDX-License-Identifier: GPL-2.0

//! Client tracking as a whole, between nfsd and its daemon.

use crate::explore::{below, explore, one_in};
use crate::nfs4::nfs4_client::Nfs4Client;
use crate::nfs4::nfsd::NfsdNet;
use crate::recorder::Database;
use crate::scene::Scene;
use kernel::time::Clock;
use shuttle::thread;
use std::sync::Arc;

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
