// SPDX-License-Identifier: GPL-2.0

//! What clients hold, between them and the daemon: the law of `law.rs` holds at each moment.

use crate::base::clock::since_1970;
use crate::explore::{below, explore, one_in};
use crate::law::Truth;
use crate::recorder;
use crate::requests::{export, Server};
use crate::scene::Scene;
use crate::stores::{Names, Store};
use kernel::sync::set_stalls;
use kernel::time::{self, Clock};
use shuttle::thread::{self, JoinHandle};

impl Scene {
    fn server(&self) -> Server {
        Server {
            nn: self.nn.clone(),
            database: self.database.clone(),
            hasty: self.hasty,
            slow: self.slow,
        }
    }

    /// A thread of a client.
    fn client(&self, f: impl FnOnce(Server) + Send + 'static) -> JoinHandle<()> {
        let server = self.server();
        thread::spawn(move || f(server))
    }
}

/// Lets some time pass, by chance.
fn pause() {
    time::sleep(below(8_000) as u64);
}

/// A client comes and goes, opens and closes.
fn live(server: &Server, name: &str, steps: usize) {
    let mut parting = Vec::new();
    for _ in 0..steps {
        match below(10) {
            0 => {
                let minor_version = below(2) as u32;
                parting.extend(server.come(name, minor_version));
                if minor_version > 0 {
                    server.confirm(name);
                }
            }
            1 => parting.extend(server.expire(name)),
            2..=4 => {
                if server.open(name, export(below(2))) && one_in(2) {
                    server.confirm(name);
                }
            }
            5 | 6 => server.close(name),
            _ => pause(),
        }
    }
    join(parting);
}

/// Another of its threads: it opens and closes only.
fn help(server: &Server, name: &str, steps: usize) {
    for _ in 0..steps {
        match below(4) {
            0 | 1 => drop(server.open(name, export(below(2)))),
            2 => server.close(name),
            _ => pause(),
        }
    }
}

/// Clients of NLM.
fn lock(server: &Server, steps: usize) {
    let mut locked = Vec::new();
    for _ in 0..steps {
        let export = export(below(2));
        match below(3) {
            0 if server.lock(export, false) => locked.push(export),
            1 => locked.pop().into_iter().for_each(|e| server.unlock(e)),
            _ => pause(),
        }
    }
}

/// A client comes back, and reclaims what it held, or some of it. It says that this is all, or may not come so far.
fn come_back(server: &Server, name: &str, finishes: bool) {
    pause();
    let minor_version = below(2) as u32;
    let parting = server.come(name, minor_version);
    for export in server.before(name) {
        if !one_in(4) {
            server.reclaim(name, export);
        }
    }
    if minor_version > 0 && (finishes || one_in(2)) {
        server.confirm(name);
    }
    join(parting.into_iter().collect());
}

/// The same of clients of NLM.
fn lock_again(server: &Server) {
    pause();
    for export in server.before("") {
        if !one_in(4) {
            server.lock(export, true);
        }
    }
}

/// The grace periods end: lockd's, then nfsd's.
fn end_grace(server: &Server) {
    pause();
    server.end_lockd_grace();
    pause();
    server.end_grace();
}

/// In the end all is on record, and said to be.
fn settle(scene: &Scene) {
    let began = since_1970();
    // The watch looks again after 50 times as long as its last look has taken.
    time::set_patient(true);
    for _ in 0..500 {
        // What can fail fails now, and looks come by.
        time::sleep(5_000);
        scene.wait();
        let records = scene.database.lock().unwrap();
        let (store, truth) = (&records.store, &records.truth);
        let holds = store.holds();
        let is_on_record = truth.held().iter().all(|hold| holds.contains(hold));
        if store.epoch().is_none() || store.said() >= Some(began) && is_on_record {
            return time::set_patient(false);
        }
    }
    panic!("it does not come to rest");
}

/// A server whose grace period is over, with clients that hold something, and a daemon that has said that this is all.
fn settled() -> Scene {
    let scene = Scene::with(Store::epochs(Names::new()), 0, 0, 0);
    let server = scene.server();
    server.end_lockd_grace();
    server.end_grace();
    for (at, name) in ["a", "b", "c"].into_iter().enumerate() {
        server.come(name, 1);
        server.confirm(name);
        while !server.open(name, export(at % 2)) {
            pause();
        }
    }
    settle(&scene);
    scene
}

/// Clients, and the end of the grace period.
fn clients(scene: &Scene, with_nlm: bool) -> Vec<JoinHandle<()>> {
    let mut threads = vec![
        scene.client(|server| live(&server, "a", 8)),
        scene.client(|server| live(&server, "b", 8)),
        scene.client(|server| end_grace(&server)),
    ];
    if one_in(2) {
        threads.push(scene.client(|server| help(&server, "a", 5)));
    }
    if with_nlm {
        threads.push(scene.client(|server| lock(&server, 5)));
    }
    threads
}

fn join(threads: Vec<JoinHandle<()>>) {
    threads.into_iter().for_each(|t| t.join().unwrap());
}

/// Something happens to a server; in the end all is on record, and said to be.
fn tell(make: fn() -> Scene, story: fn(&mut Scene)) {
    explore(0, move || {
        let clock = Clock::start(20);
        let mut scene = make();
        story(&mut scene);
        set_stalls(0);
        settle(&scene);
        scene.end(false);
        clock.stop();
    });
}

/// A server without clients, and a daemon that dies and fails now and then.
fn begun() -> Scene {
    Scene::with(
        Store::epochs(Names::new()),
        below(2) as u32,
        below(2) as u32,
        0,
    )
}

#[test]
fn what_is_held_is_on_record_when_that_is_said() {
    let often = || {
        Scene::with(
            Store::epochs(Names::new()),
            below(3) as u32,
            below(3) as u32,
            0,
        )
    };
    tell(often, |scene| {
        set_stalls([0, 300][below(2)]);
        join(clients(scene, one_in(2)));
    });
}

#[test]
fn who_is_hasty_asks_before_its_predecessor_is_removed() {
    tell(begun, |scene| {
        scene.hasty = true;
        join(clients(scene, false));
    });
}

#[test]
fn no_hold_leaves_while_a_request_needs_it() {
    tell(settled, |scene| {
        scene.slow = true;
        set_stalls(100);
        join(vec![
            scene.client(|server| live(&server, "a", 6)),
            scene.client(|server| help(&server, "b", 6)),
            scene.client(|server| help(&server, "b", 6)),
        ]);
    });
}

#[test]
fn memory_is_short() {
    tell(begun, |scene| {
        let mut threads = clients(scene, one_in(2));
        threads.push(thread::spawn(|| {
            for _ in 0..3 {
                pause();
                kernel::fail_after(below(6));
                time::sleep(below(3_000) as u64);
                kernel::never_fail();
            }
        }));
        join(threads);
    });
}

#[test]
fn another_daemon_is_told_what_is_held() {
    let changing = || {
        let changes = 1 + below(2) as u32;
        Scene::with(
            Store::epochs(Names::new()),
            changes + 1,
            below(2) as u32,
            changes,
        )
    };
    tell(changing, |scene| {
        set_stalls([0, 300][below(2)]);
        join(clients(scene, one_in(2)));
    });
}

#[test]
fn another_daemon_comes_while_somebody_looks() {
    tell(settled, |scene| {
        set_stalls(100);
        let helper = scene.client(|server| help(&server, "a", 3));
        for _ in 0..2 {
            time::sleep(1_000 * below(12) as u64);
            recorder::replace(&scene.database, &scene.nn);
        }
        helper.join().unwrap();
    });
}

#[test]
fn another_daemon_comes_while_a_request_is_slow() {
    tell(settled, |scene| {
        scene.slow = true;
        let helper = scene.client(|server| help(&server, "a", 3));
        pause();
        recorder::replace(&scene.database, &scene.nn);
        helper.join().unwrap();
    });
}

#[test]
fn a_client_goes_while_another_daemon_comes() {
    tell(settled, |scene| {
        set_stalls(100);
        recorder::replace(&scene.database, &scene.nn);
        let client = scene.client(|server| {
            let mut parting = Vec::new();
            for _ in 0..8 {
                match below(5) {
                    0 => parting.extend(server.come("a", 1)),
                    1 => parting.extend(server.expire("a")),
                    2 => server.confirm("a"),
                    _ => drop(server.open("a", export(below(2)))),
                }
            }
            join(parting);
        });
        client.join().unwrap();
    });
}

/// What is different when a server restarts.
#[derive(Clone, Copy, Default)]
struct Restarts {
    /// There are clients of NLM.
    nlm: bool,
    /// A server may stop or crash before any daemon has heard of it.
    unheard: bool,
    /// The grace period may end while a client reclaims.
    early: bool,
    /// A client may be expired when it has reclaimed a part.
    lost: bool,
}

/// The server restarts, once or twice, and its clients come back.
fn restart(how: Restarts) {
    let clock = Clock::start(20);
    let store = Store::epochs(Names::new());
    let scene = Scene::with(store, below(3) as u32, below(3) as u32, 0);
    let truth = |f: &dyn Fn(&mut Truth) -> bool| f(&mut scene.database.lock().unwrap().truth);
    set_stalls([0, 300][below(2)]);
    join(clients(&scene, how.nlm));
    for _ in 0..1 + below(2) {
        while !how.unheard && truth(&|truth| truth.is_unheard()) {
            pause();
        }
        scene.server().restart();
        let end = |scene: &Scene| scene.client(|server| end_grace(&server));
        let ends = !one_in(3);
        let again = |name| scene.client(move |server| come_back(&server, name, !how.lost));
        let mut threads = vec![again("a"), again("b")];
        threads.extend((ends && how.early).then(|| end(&scene)));
        join(threads);
        let live = |name| scene.client(move |server| live(&server, name, 4));
        let mut threads = vec![live("a"), live("b")];
        threads.extend((ends && !how.early).then(|| end(&scene)));
        let nlm = || {
            scene.client(|server| {
                lock_again(&server);
                lock(&server, 4);
            })
        };
        threads.extend(how.nlm.then(nlm));
        join(threads);
    }
    end_grace(&scene.server());
    set_stalls(0);
    settle(&scene);
    scene.end(false);
    clock.stop();
}

#[test]
fn nobody_is_in_the_way_of_who_reclaims() {
    explore(0, || restart(Restarts::default()));
}

#[test]
fn clients_of_nlm_reclaim_as_long_as_lockd_lets_them() {
    explore(0, || {
        restart(Restarts {
            nlm: true,
            ..Restarts::default()
        });
    });
}

#[test]
fn no_daemon_has_heard_of_a_server() {
    explore(0, || {
        restart(Restarts {
            unheard: true,
            ..Restarts::default()
        });
    });
}

#[test]
fn the_grace_period_ends_while_somebody_reclaims() {
    explore(0, || {
        restart(Restarts {
            early: true,
            ..Restarts::default()
        });
    });
}

#[test]
fn who_is_expired_in_the_grace_period_may_reclaim_again() {
    explore(0, || {
        restart(Restarts {
            lost: true,
            ..Restarts::default()
        });
    });
}
