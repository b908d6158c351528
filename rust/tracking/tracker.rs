// SPDX-License-Identifier: GPL-2.0

//! Client tracking of one NFS server: nfsd's tracking operations, over a [`Channel`].
//!
//! C source: `fs/nfsd/nfs4recover.c` for what nfsd expects of the operations, and
//! `fs/nfsd/nfs4state.c` for when it calls them: `init` and `exit` under `nfsd_mutex` while no
//! nfsd thread runs, the others in between, from nfsd threads and nfsd's worker, all of them
//! in process context without spinlocks. `remove` may also come from a task that writes to a
//! client's `ctl` file and meet `exit`: each operation has its own references to its tracker
//! and to this module.

use crate::base::clock::Moment;
use crate::base::global::Global;
use crate::base::module_ref::ModuleRef;
use crate::base::net::{Net, Nfsd};
use crate::base::params;
use crate::base::private;
use crate::base::setup::Setup;
use crate::base::siphash::SipHash;
use crate::nfs4::clientids;
use crate::nfs4::nfs4_client::{ClientRef, Nfs4Client};
use crate::nfs4::nfsd::{Changing, NfsdNet, Tracked};
use crate::scopes::exempt;
use crate::scopes::exported;
use crate::scopes::in_grace::{self, Reason};
use crate::scopes::request::Request;
use crate::tracking::channel::Channel;
use crate::tracking::cld::Details;
use crate::tracking::holds::Row;
use crate::tracking::pipe::Pipe;
use crate::tracking::state::{Stage, State};
use kernel::ffi::c_int;
use kernel::prelude::*;
use kernel::sync::{new_condvar, new_mutex, Arc, CondVar, Mutex};
use kernel::time::{delay::fsleep, Delta};
use kernel::workqueue::{new_work, Work};

/// How long a server that starts waits for a daemon to open the pipe, in milliseconds; the
/// same as `nfsd4_cld_tracking_init()`.
const DAEMON_TIMEOUT: u32 = 1_000;
/// How long to wait before memory is asked for again.
const MEMORY_PAUSE: Delta = Delta::from_millis(100);

/// The number of the work item that watches over holds.
pub(crate) const WATCH: u64 = 1;

static TRACKERS: Global<Mutex<KVec<Arc<Tracker>>>> = Global::new();

/// Prepares this file's lock.
pub(crate) fn init_module(setup: &Setup) {
    TRACKERS.init(setup, new_mutex!(KVec::new(), "nfsd_ha::TRACKERS"));
}

/// Frees what this file keeps. For this module's exit, when there is no tracker.
pub(crate) fn exit_module() {
    *TRACKERS.lock() = KVec::new();
}

/// The operations that nfsd calls.
struct Operations(private::nfsd4_client_tracking_ops);

// SAFETY: They are constant.
unsafe impl Sync for Operations {}

static OPERATIONS: Operations = Operations(private::nfsd4_client_tracking_ops {
    init: None,
    exit: Some(exit),
    create: Some(create),
    remove: Some(remove),
    check: Some(check),
    grace_done: Some(grace_done),
    version: 0,
    msglen: 0,
});

/// Client tracking of the server in one net namespace.
#[pin_data]
pub(crate) struct Tracker {
    /// The cookie of that namespace.
    pub(crate) net: u64,
    /// The namespace, and nfsd's state of it.
    namespace: *mut private::net,
    nn: *const NfsdNet,
    pub(crate) inum: u32,
    /// The connection with the daemon.
    #[pin]
    pub(crate) pipe: Pipe<Channel>,
    /// Signalled when a change is settled, and when the daemon's records are there.
    #[pin]
    pub(crate) settled: CondVar,
    #[pin]
    pub(crate) keeper: Work<Tracker>,
    #[pin]
    pub(crate) watch: Work<Tracker, WATCH>,
    /// The operations are this module's text.
    _module: ModuleRef,
}

// SAFETY: `namespace`, a pointer to what may be shared, is dereferenced in `Tracker::nn()` only, which says why it is
// valid; `nn` never is. All other fields are of types that may be sent.
unsafe impl Send for Tracker {}
// SAFETY: As for `Send`; all other fields are of types that may be shared.
unsafe impl Sync for Tracker {}

impl Tracker {
    fn new(net: Net<'_>, nn: &NfsdNet) -> impl PinInit<Self, Error> {
        let nn: *const NfsdNet = nn;
        let (namespace, cookie, inum) = (net.as_ptr(), net.cookie(), net.inum());
        try_pin_init!(Self {
            net: cookie,
            namespace,
            nn,
            inum,
            pipe <- Pipe::new(Channel::new(Self::followed)),
            settled <- new_condvar!("nfsd_ha::Tracker::settled"),
            keeper <- new_work!("nfsd_ha::Tracker"),
            watch <- new_work!("nfsd_ha::Tracker::watch"),
            _module: ModuleRef::get().ok_or(ENODEV)?,
        }? Error)
    }

    /// Starts tracking for a server that starts; nfsd calls [`exit`] in the end.
    ///
    /// Without a daemon that sends its records, tracking waits for one (`keeper.rs`). Fails with
    /// `ENOMEM`, or if the pipe cannot be made: then nothing is changed. May sleep: a second for a
    /// daemon to come, and two time limits for one that is there but does not answer.
    pub(crate) fn start(server: &Changing<'_>) -> Result {
        let tracker = Arc::pin_init(Tracker::new(server.net(), server.nn()), GFP_KERNEL)?;
        TRACKERS.lock().push(tracker.clone(), GFP_KERNEL)?;
        // SAFETY: `stop()` takes the pipe back, whether now or when nfsd calls `exit`.
        let published = unsafe { tracker.pipe.publish(server) };
        published.inspect_err(|_| Self::stop(server))?;
        tracker.begin(server);
        Ok(())
    }

    /// A daemon has come in the place of one of version 3: it is asked for its version, and told all if it is another
    /// one, even if nothing else happens. Called with the pipe's inode lock held.
    fn followed(pipe: &Pipe<Channel>) {
        let trackers = TRACKERS.lock();
        if let Some(tracker) = trackers.iter().find(|t| core::ptr::eq(&t.pipe, pipe)) {
            tracker.wake_keeper();
        }
    }

    /// The livepatch is switched off, or on: whoever watches over holds looks at once. May sleep, a moment.
    pub(crate) fn switched() {
        for tracker in TRACKERS.lock().iter() {
            // Who has looked before holds the lock until it waits.
            drop(tracker.pipe.handler.state());
            tracker.pipe.handler.came.notify_all();
        }
    }

    /// Waits for a daemon and its records, and has nfsd use the tracker.
    fn begin(self: &Arc<Self>, server: &Changing<'_>) {
        let channel = &self.pipe.handler;
        let (state, there) =
            channel.wait_until(channel.state(), &channel.came, DAEMON_TIMEOUT, |s| s.daemon);
        let (mut state, connected) = if there {
            self.connect(state)
        } else {
            pr_warn!(
                "no client tracking daemon: clients are recorded when one comes (net {:x})\n",
                self.inum
            );
            (state, false)
        };
        if !connected {
            // Nobody has waited for it yet.
            state.silent = Some(Moment::now());
        }
        // With nobody to reclaim there is no grace period.
        server
            .nn()
            .set_own_table(connected && state.records.awaited() == 0);
        server.make_boot_time_unique(SipHash::random().word());
        // SAFETY: The operations are there as long as this module, to which the tracker has a reference until
        // `exit`.
        unsafe { server.set_tracking_ops(&OPERATIONS.0) };
        let watches = state.all_held.is_on;
        drop(state);
        if !connected {
            self.wake_keeper();
        }
        if watches {
            self.watch();
        }
    }

    /// Ends tracking. Who still waits for the daemon is told that it ends.
    fn stop(server: &Changing<'_>) {
        let net = server.net().cookie();
        if let Some(tracker) = Self::in_net(server.net()) {
            tracker.last_word();
        }
        let mut trackers = TRACKERS.lock();
        let tracker = match trackers.iter().position(|t| t.net == net) {
            Some(at) => trackers.remove(at).ok(),
            None => None,
        };
        let Some(tracker) = tracker else {
            return;
        };
        let state = Channel::close(&tracker.pipe);
        if trackers.is_empty() {
            in_grace::ask_for(Reason::Holds, false);
        }
        // Not before: an operation that finds no tracker does nothing, and its client is freed.
        drop(trackers);
        let counts = state.changes.counts();
        if counts.stored + counts.removed > 0 || state.grace_done_due {
            pr_warn!(
                "the server stops: {} clients are not on record, {} records are not removed{} (net {:x})\n",
                counts.stored,
                counts.removed,
                if state.grace_done_due { ", the end of the grace period is not recorded" } else { "" },
                tracker.inum
            );
        }
        drop(state);
        tracker.settled.notify_all();
        exempt::end(net);
        // SAFETY: The tracker is that of the server's namespace, and the closed channel queues nothing.
        unsafe { tracker.pipe.unpublish(server) };
    }

    /// Calls `f` with the tracker of `net`, if it has one; its server does not stop meanwhile.
    /// May sleep.
    pub(crate) fn with<R>(net: Net<'_>, f: impl FnOnce(&Tracker) -> R) -> Option<R> {
        let trackers = TRACKERS.lock();
        trackers
            .iter()
            .find(|t| t.net == net.cookie())
            .map(|t| f(t))
    }

    /// Has the server begun to use the tracker?
    pub(crate) fn is_in_use(&self, nn: &NfsdNet) -> bool {
        core::ptr::eq(nn.tracking_ops(), &OPERATIONS.0)
    }

    /// nfsd's state, as long as the channel is not closed.
    pub(crate) fn nn<'a>(&self, state: &'a State) -> Option<Tracked<'a>> {
        (state.stage != Stage::Closed).then(|| {
            // SAFETY: nfsd and the namespace are there until the server has stopped, and the tracker from when it starts its
            // tracking. `exit` closes the channel before, for which it needs the lock that guards `state`, so not in `'a`.
            unsafe { Tracked::new(Nfsd::new(Net::from_raw(self.namespace))) }
        })
    }

    /// The tracker of a namespace. May sleep.
    pub(crate) fn in_net(net: Net<'_>) -> Option<Arc<Self>> {
        let trackers = TRACKERS.lock();
        trackers.iter().find(|t| t.net == net.cookie()).cloned()
    }

    /// The tracker of a server. May sleep.
    fn of(nn: &NfsdNet) -> Option<Arc<Self>> {
        let trackers = TRACKERS.lock();
        trackers.iter().find(|t| core::ptr::eq(t.nn, nn)).cloned()
    }

    /// Stores a record of a client, unless that was done.
    ///
    /// Waits for it, but not longer than an outage may take; then it is done later.
    fn store(self: &Arc<Self>, client: &Nfs4Client) {
        // One of 4.1 or later comes once; what it has from its former self does not say where it is now.
        if client.is_stable() && client.minor_version() == 0 {
            return;
        }
        // SAFETY: nfsd has a client recorded, and asks whether it may reclaim, in an operation of its compound.
        let request = unsafe { Request::current() };
        let details = Details {
            minor: Some(client.minor_version()),
            server: request.and_then(|request| request.server()),
        };
        client.with_record(|record| {
            self.change(record.name, |state, key| {
                let owner = ClientRef::new(client);
                state.changes.store(key, record, details, owner)?;
                Ok(true)
            });
        });
    }

    /// Removes the record of a client that has one, or may have.
    fn remove(self: &Arc<Self>, client: &Nfs4Client) {
        let name = client.name();
        self.change(name, |state, key| {
            // It may have come back under the same name by now.
            let next = self.nn(state).and_then(|nn| nn.client_named(name));
            // SAFETY: It was among the confirmed clients when we had the channel's lock already. To free it, nfsd calls `remove`
            // first, which needs that lock, and the channel is not closed.
            let next = next.map(|next| (next, unsafe { next.get() }));
            let on_record = client.is_stable() && !next.is_some_and(|(_, next)| next.is_stable());
            let owner = ClientRef::new(client);
            let heir = next.filter(|(next, _)| state.holds.is_holder(name, *next));
            let changes = &mut state.changes;
            let is_wanted = match heir {
                // To remove the record takes all holds of that name, and the next one has some: it gets the record.
                Some((next, client)) => {
                    let details = Details {
                        minor: Some(client.minor_version()),
                        ..Details::default()
                    };
                    let both = [owner, next];
                    client.with_record(|record| {
                        changes.pass_on(key, record, details, both, on_record)
                    })?
                }
                None => changes.remove(key, name, owner, on_record)?,
            };
            self.drop_holds(state, name, owner, is_wanted && heir.is_none())?;
            Ok(is_wanted)
        });
    }

    /// Notes a change that is wanted of the record of `name`, and sees to it.
    fn change(self: &Arc<Self>, name: &[u8], note: impl Fn(&mut State, u64) -> Result<bool>) {
        let began = Moment::now();
        let channel = &self.pipe.handler;
        let mut state = channel.state();
        let row = Row { name, export: None };
        let key = state.changes.key(row);
        while state.stage != Stage::Closed {
            match note(&mut state, key) {
                Ok(true) => return self.settle(state, key, row, params::upcall_timeout()),
                Ok(false) => return self.changed(&mut state),
                Err(e) if began.left(params::upcall_timeout()) == 0 => {
                    state.stats.lost += 1;
                    pr_err!(
                        "a client's record is not changed: {e:?} (net {:x})\n",
                        self.inum
                    );
                    return;
                }
                // Memory is short. It would be forgotten that there is something to do.
                Err(_) => {
                    drop(state);
                    fsleep(MEMORY_PAUSE);
                    state = channel.state();
                }
            }
        }
    }

    /// May this client reclaim?
    fn check(self: &Arc<Self>, client: &Nfs4Client) -> Result {
        // One of 4.1 or later that reclaims has not been put on record by itself, but its former self may have been.
        if client.is_stable() && client.minor_version() == 0 {
            return Ok(());
        }
        let hash = client.principal_hash();
        let channel = &self.pipe.handler;
        let state = channel.state();
        // To refuse it now would lose its locks for good. Who waits for records waits for the last.
        let mut patience = state.patience();
        let mut state = state;
        while patience > 0 {
            (state, _) = channel.wait_until(state, &self.settled, patience, |s| {
                s.stage != Stage::Waiting
            });
            patience = match (state.stage, state.loading) {
                (Stage::Waiting, true) => state.heard.left(params::upcall_timeout()),
                _ => 0,
            };
        }
        let hash = hash.as_ref().map(|h| &h[..]);
        let mut claimed = state.records.claim(client.name(), hash);
        if !claimed {
            let former = client.former_name(&state.records);
            claimed = former.is_some_and(|name| state.records.claim(&name, hash));
        }
        if !claimed {
            state.stats.refused += 1;
            return Err(ENOENT);
        }
        drop(state);
        if client.minor_version() == 0 {
            // It counts as back after its first reclaim (`nfsd4_end_grace()`), and need never
            // confirm an OPEN again: the end of the grace period would drop its record.
            self.store(client);
        }
        Ok(())
    }

    /// The grace period is over: who has not reclaimed may not any more.
    ///
    /// The keeper tells the daemon when all who did are on record. New locks are only granted when
    /// this returns: it waits for an answer that may come, but not for a daemon that was never there.
    fn grace_done(self: &Arc<Self>, nn: &NfsdNet) {
        // Now, as the laundromat may run while the daemon is waited for: it takes the lock of nfsd's own table, which nobody
        // has initialised here.
        nn.set_own_table(false);
        let channel = &self.pipe.handler;
        let mut state = channel.state();
        state.changes.owe();
        state.grace_over = true;
        state.grace_done_due = true;
        let patience = match state.stage {
            Stage::Ready | Stage::Parted => state.patience(),
            Stage::Waiting | Stage::Closed => 0,
        };
        self.wake_keeper();
        let (mut state, _) = channel.wait_until(state, &self.settled, patience, |s| {
            !s.grace_done_due || !s.has_records() || s.outage
        });
        state.records.clear();
    }
}

/// The server stops.
///
/// # Safety
///
/// For nfsd, as an operation of a [`Tracker`] that a server uses.
unsafe extern "C" fn exit(net: *mut private::net) {
    // SAFETY: nfsd, which calls with `nfsd_mutex` held when its threads have ended, is loaded, and the namespace is
    // alive.
    let server = unsafe { Changing::new(Nfsd::new(Net::from_raw(net))) };
    Tracker::stop(&server);
    exported::forget(server.net());
    clientids::forget(server.net());
}

/// Calls `f` with the tracker of a client's server, if that has not stopped.
fn with_tracker<R>(client: &Nfs4Client, f: impl FnOnce(&Arc<Tracker>) -> R) -> Option<R> {
    // Before the tracker, so that it goes after it.
    let _module = ModuleRef::get()?;
    let tracker = Tracker::of(NfsdNet::of(client.nfsd()))?;
    Some(f(&tracker))
}

/// A client has reclaimed all, or has its first state.
///
/// # Safety
///
/// For nfsd, as an operation of a [`Tracker`] that a server uses.
unsafe extern "C" fn create(client: *mut private::nfs4_client) {
    // SAFETY: nfsd calls this for a client that is confirmed, so it has a name, and that stays until it returns.
    let client = unsafe { Nfs4Client::from_raw(client) };
    with_tracker(client, |tracker| tracker.store(client));
}

/// A client is gone.
///
/// # Safety
///
/// For nfsd, as an operation of a [`Tracker`] that a server uses.
unsafe extern "C" fn remove(client: *mut private::nfs4_client) {
    // SAFETY: nfsd calls this for a client that was confirmed, so it has a name, and frees it afterwards.
    let client = unsafe { Nfs4Client::from_raw(client) };
    with_tracker(client, |tracker| {
        clientids::gone(client);
        tracker.remove(client);
    });
}

/// A client wants to reclaim.
///
/// # Safety
///
/// For nfsd, as an operation of a [`Tracker`] that a server uses.
unsafe extern "C" fn check(client: *mut private::nfs4_client) -> c_int {
    // SAFETY: nfsd calls this for a client that is confirmed, so it has a name, and whose request is being processed.
    let client = unsafe { Nfs4Client::from_raw(client) };
    with_tracker(client, |tracker| tracker.check(client))
        .unwrap_or(Err(ENOENT))
        .map_or_else(|e| e.to_errno(), |()| 0)
}

/// The grace period is over.
///
/// # Safety
///
/// For nfsd, as an operation of a [`Tracker`] that a server uses.
unsafe extern "C" fn grace_done(nn: *mut private::nfsd_net) {
    let Some(_module) = ModuleRef::get() else {
        return;
    };
    // SAFETY: nfsd calls this as an operation, with its state of the namespace, which is there until
    // `exit` has been called.
    let nn = unsafe { NfsdNet::from_raw(nn) };
    if let Some(tracker) = Tracker::of(nn) {
        tracker.grace_done(nn);
    }
}
