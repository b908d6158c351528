// SPDX-License-Identifier: GPL-2.0

//! Client tracking of one NFS server: nfsd's tracking operations, over a [`Channel`].
//!
//! C source: `fs/nfsd/nfs4recover.c` for what nfsd expects of the operations, and
//! `fs/nfsd/nfs4state.c` for when it calls them: `init` and `exit` under `nfsd_mutex` while no
//! nfsd thread runs, the others in between, from nfsd threads and nfsd's worker, all of them
//! in process context without spinlocks.

use crate::channel::Channel;
use crate::cld::{Client, Command};
use crate::module_ref::ModuleRef;
use crate::nfsd::{Net, Nfs4Client, NfsdNet};
use crate::pipe::Pipe;
use crate::private;
use kernel::container_of;
use kernel::ffi::c_int;
use kernel::prelude::*;

/// How long a server that starts waits for a daemon to open the pipe, in milliseconds; the
/// same as `nfsd4_cld_tracking_init()`.
const DAEMON_TIMEOUT: u32 = 1_000;

kernel::sync::global_lock! {
    // SAFETY: Initialised by `init_module()` before anything can use it.
    unsafe(uninit) static TRACKERS: Mutex<KVec<Pin<KBox<Tracker>>>> = KVec::new();
}

/// Prepares this file's lock.
///
/// # Safety
///
/// Called once, before the module attaches to nfsd.
pub(crate) unsafe fn init_module() {
    // SAFETY: By this function's requirement.
    unsafe { TRACKERS.init() };
}

/// Client tracking of the server in one net namespace.
#[pin_data]
pub(crate) struct Tracker {
    /// nfsd's pointer to this leads an operation to its tracker.
    ops: private::nfsd4_client_tracking_ops,
    net: Net,
    inum: u32,
    /// The connection with the daemon.
    #[pin]
    pub(crate) pipe: Pipe<Channel>,
    /// The operations are this module's text.
    _module: ModuleRef,
}

// SAFETY: `ops` is not written after it was made; the rest may be sent and shared.
unsafe impl Send for Tracker {}
// SAFETY: As above.
unsafe impl Sync for Tracker {}

impl Tracker {
    fn new(net: Net, inum: u32) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            ops: private::nfsd4_client_tracking_ops {
                init: None,
                exit: Some(exit),
                create: Some(create),
                remove: Some(remove),
                check: Some(check),
                grace_done: Some(grace_done),
                version: 0,
                msglen: 0,
            },
            net,
            inum,
            pipe <- Pipe::new(*net, Channel::new()),
            _module: ModuleRef::get().ok_or(ENODEV)?,
        }? Error)
    }

    /// Starts tracking for a server that starts in `net`; nfsd calls [`exit`] in the end.
    ///
    /// Fails with `ETIMEDOUT` if there is no daemon, or with what [`Channel::handshake`] says:
    /// then nothing is changed. May sleep.
    ///
    /// # Safety
    ///
    /// Called where nfsd calls `nfsd4_client_tracking_init()`.
    pub(crate) unsafe fn start(net: Net) -> Result {
        // SAFETY: nfsd, which calls, is loaded, and the namespace is alive.
        let (nn, inum) = unsafe { (NfsdNet::of(net), net.inum()) };
        let tracker = KBox::pin_init(Tracker::new(net, inum), GFP_KERNEL)?;
        let raw: *const Tracker = &*tracker;
        TRACKERS.lock().push(tracker, GFP_KERNEL)?;
        // SAFETY: The tracker stays in the list until `stop()`, which only this function and
        // `exit()` call, and nfsd calls neither while the other runs.
        let tracker = unsafe { &*raw };
        tracker.begin(nn).inspect_err(|_| Self::stop(net, nn))
    }

    fn begin(&self, nn: &NfsdNet) -> Result {
        self.pipe.publish(nn)?;
        if !self.pipe.handler.wait_for_daemon(DAEMON_TIMEOUT) {
            return Err(ETIMEDOUT);
        }
        Channel::handshake(&self.pipe)?;
        let state = self.pipe.handler.state();
        let known = state.records.counts().known;
        pr_info!(
            "client tracking with protocol version {}, {known} clients may reclaim (net {:x})\n",
            state.version as u8,
            self.inum
        );
        // With nobody to reclaim there is no grace period.
        nn.set_own_table(known == 0);
        nn.set_tracking_ops(&self.ops);
        Ok(())
    }

    /// Ends tracking, while nobody uses it but the readers of [`Tracker::with`].
    fn stop(net: Net, nn: &NfsdNet) {
        let mut trackers = TRACKERS.lock();
        let tracker = match trackers.iter().position(|t| t.net == net) {
            Some(at) => trackers.remove(at).ok(),
            None => None,
        };
        drop(trackers);
        if let Some(tracker) = tracker {
            tracker.pipe.handler.close();
            tracker.pipe.unpublish(nn);
        }
    }

    /// Calls `f` with the tracker of `net`, if it has one; its server does not stop meanwhile.
    /// May sleep.
    pub(crate) fn with<R>(net: Net, f: impl FnOnce(&Tracker) -> R) -> Option<R> {
        let trackers = TRACKERS.lock();
        trackers.iter().find(|t| t.net == net).map(|t| f(t))
    }

    /// Has the server begun to use the tracker?
    pub(crate) fn is_ready(&self, nn: &NfsdNet) -> bool {
        core::ptr::eq(nn.tracking_ops(), &self.ops)
    }

    /// The tracker of a server that uses our operations.
    ///
    /// # Safety
    ///
    /// Called in one of these operations, and not used after it.
    unsafe fn of(nn: &NfsdNet) -> &Self {
        let ops = nn.tracking_ops().cast_mut();
        // SAFETY: nfsd calls an operation by this pointer, so it is that of a `Tracker`, and it
        // changes in `exit()` only, when no other operation runs.
        unsafe { &*container_of!(ops, Tracker, ops) }
    }

    /// Stores a record of a client, unless that was done.
    fn store(&self, client: &Nfs4Client) {
        if client.is_stable() {
            return;
        }
        let hash = client.principal_hash();
        let record = Client {
            name: client.name(),
            hash: hash.as_ref().map_or(&[], |h| &h[..]),
        };
        let result = Channel::call(&self.pipe, Command::Create, Some(record));
        client.set_stable(result.is_ok());
        self.report(Command::Create, result.map(|_| ()));
    }

    /// A client says that it has reclaimed all (RECLAIM_COMPLETE, RFC 8881 section 18.51), or one
    /// of NFSv4.0, which has no such request, has confirmed its first OPEN.
    fn create(&self, nn: &NfsdNet, client: &Nfs4Client) {
        self.store(client);
        if client.minor_version() > 0
            && self.pipe.handler.state().records.complete(client.name())
            && !nn.grace_ended()
        {
            pr_info!(
                "all clients have reclaimed, ending the grace period (net {:x})\n",
                self.inum
            );
            nn.end_grace();
        }
    }

    /// Removes the record of a client that has one.
    fn remove(&self, client: &Nfs4Client) {
        if !client.is_stable() {
            return;
        }
        let record = Client {
            name: client.name(),
            hash: &[],
        };
        let result = Channel::call(&self.pipe, Command::Remove, Some(record));
        client.set_stable(result.is_err());
        self.report(Command::Remove, result.map(|_| ()));
    }

    /// May this client reclaim?
    fn check(&self, client: &Nfs4Client) -> Result {
        if client.is_stable() {
            return Ok(());
        }
        let hash = client.principal_hash();
        let mut state = self.pipe.handler.state();
        if !state
            .records
            .claim(client.name(), hash.as_ref().map(|h| &h[..]))
        {
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
    fn grace_done(&self, nn: &NfsdNet) {
        let result = Channel::call(&self.pipe, Command::GraceDone, None);
        self.report(Command::GraceDone, result.map(|_| ()));
        self.pipe.handler.state().records.clear();
        nn.set_own_table(false);
    }

    /// Logs the first of a row of failures, and the end of the row.
    fn report(&self, command: Command, result: Result) {
        let outage = result.is_err();
        let before = core::mem::replace(&mut self.pipe.handler.state().outage, outage);
        match result {
            Err(e) if !before => pr_err!(
                "{} failed with {}: is nfsdcld running, and its disk not full? (net {:x})\n",
                command.name(),
                e.to_errno(),
                self.inum
            ),
            Ok(()) if before => pr_info!("the daemon answers again (net {:x})\n", self.inum),
            _ => {}
        }
    }
}

/// The server stops.
///
/// # Safety
///
/// For nfsd, as an operation of a [`Tracker`] that a server uses.
unsafe extern "C" fn exit(net: *mut private::net) {
    let net = Net::new(net);
    // SAFETY: nfsd, which calls, is loaded, and the namespace is alive.
    let nn = unsafe { NfsdNet::of(net) };
    Tracker::stop(net, nn);
}

/// A client has reclaimed all, or has its first state.
///
/// # Safety
///
/// For nfsd, as an operation of a [`Tracker`] that a server uses.
unsafe extern "C" fn create(client: *mut private::nfs4_client) {
    // SAFETY: nfsd calls this as an operation, with a client that stays until we return.
    unsafe {
        let client = Nfs4Client::from_raw(client);
        let nn = NfsdNet::of(client.net());
        Tracker::of(nn).create(nn, client);
    }
}

/// A client is gone.
///
/// # Safety
///
/// For nfsd, as an operation of a [`Tracker`] that a server uses.
unsafe extern "C" fn remove(client: *mut private::nfs4_client) {
    // SAFETY: As for `create()`.
    unsafe {
        let client = Nfs4Client::from_raw(client);
        Tracker::of(NfsdNet::of(client.net())).remove(client);
    }
}

/// A client wants to reclaim.
///
/// # Safety
///
/// For nfsd, as an operation of a [`Tracker`] that a server uses.
unsafe extern "C" fn check(client: *mut private::nfs4_client) -> c_int {
    // SAFETY: As for `create()`.
    let result = unsafe {
        let client = Nfs4Client::from_raw(client);
        Tracker::of(NfsdNet::of(client.net())).check(client)
    };
    result.map_or_else(|e| e.to_errno(), |()| 0)
}

/// The grace period is over.
///
/// # Safety
///
/// For nfsd, as an operation of a [`Tracker`] that a server uses.
unsafe extern "C" fn grace_done(nn: *mut private::nfsd_net) {
    // SAFETY: nfsd calls this as an operation, with the state of the namespace.
    unsafe {
        let nn = NfsdNet::from_raw(nn);
        Tracker::of(nn).grace_done(nn);
    }
}
