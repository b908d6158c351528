// SPDX-License-Identifier: GPL-2.0

//! Client tracking of one NFS server: nfsd's tracking operations, over a [`Channel`].
//!
//! C source: `fs/nfsd/nfs4recover.c` for what nfsd expects of the operations, and
//! `fs/nfsd/nfs4state.c` for when it calls them: `init` and `exit` under `nfsd_mutex` while no
//! nfsd thread runs, the others in between, from nfsd threads and nfsd's worker, all of them
//! in process context without spinlocks. `remove` may also come from a task that writes to a
//! client's `ctl` file and meet `exit`: each operation has its own references to its tracker
//! and to this module.

use crate::channel::Channel;
use crate::cld::{Client, Command};
use crate::module_ref::ModuleRef;
use crate::nfsd::{Net, Nfs4Client, NfsdNet};
use crate::pipe::Pipe;
use crate::private;
use kernel::ffi::c_int;
use kernel::prelude::*;
use kernel::sync::Arc;

/// How long a server that starts waits for a daemon to open the pipe, in milliseconds; the
/// same as `nfsd4_cld_tracking_init()`.
const DAEMON_TIMEOUT: u32 = 1_000;

kernel::sync::global_lock! {
    // SAFETY: Initialised by `init_module()` before anything can use it.
    unsafe(uninit) static TRACKERS: Mutex<KVec<Arc<Tracker>>> = KVec::new();
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
    net: Net,
    /// nfsd's state of that namespace, to compare.
    nn: *const NfsdNet,
    inum: u32,
    /// The connection with the daemon.
    #[pin]
    pub(crate) pipe: Pipe<Channel>,
    /// The operations are this module's text.
    _module: ModuleRef,
}

// SAFETY: `nn` is only compared; the rest may be sent and shared.
unsafe impl Send for Tracker {}
// SAFETY: As above.
unsafe impl Sync for Tracker {}

impl Tracker {
    fn new(net: Net, nn: &NfsdNet, inum: u32) -> impl PinInit<Self, Error> {
        let nn: *const NfsdNet = nn;
        try_pin_init!(Self {
            net,
            nn,
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
        let tracker = Arc::pin_init(Tracker::new(net, nn, inum), GFP_KERNEL)?;
        TRACKERS.lock().push(tracker.clone(), GFP_KERNEL)?;
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
        nn.set_tracking_ops(&OPERATIONS.0);
        Ok(())
    }

    /// Ends tracking. Who still waits for the daemon is told that it ends.
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
        core::ptr::eq(nn.tracking_ops(), &OPERATIONS.0)
    }

    /// The tracker of a server. May sleep.
    fn of(nn: &NfsdNet) -> Option<Arc<Self>> {
        let trackers = TRACKERS.lock();
        trackers.iter().find(|t| core::ptr::eq(t.nn, nn)).cloned()
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
        // One whose record could not be stored is waited for: the old record is all it has.
        if client.minor_version() > 0
            && client.is_stable()
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

/// Calls `f` with a client, nfsd's state and the tracker of its server, if that has not stopped.
///
/// # Safety
///
/// As for an operation: nfsd is loaded, and the client stays until we return.
unsafe fn with_client<R>(
    client: *mut private::nfs4_client,
    f: impl FnOnce(&Tracker, &NfsdNet, &Nfs4Client) -> R,
) -> Option<R> {
    // Before the tracker, so that it goes after it.
    let _module = ModuleRef::get()?;
    // SAFETY: By this function's requirement.
    let (client, nn) = unsafe {
        let client = Nfs4Client::from_raw(client);
        (client, NfsdNet::of(client.net()))
    };
    let tracker = Tracker::of(nn)?;
    Some(f(&tracker, nn, client))
}

/// A client has reclaimed all, or has its first state.
///
/// # Safety
///
/// For nfsd, as an operation of a [`Tracker`] that a server uses.
unsafe extern "C" fn create(client: *mut private::nfs4_client) {
    // SAFETY: nfsd calls this as an operation.
    unsafe { with_client(client, |tracker, nn, client| tracker.create(nn, client)) };
}

/// A client is gone.
///
/// # Safety
///
/// For nfsd, as an operation of a [`Tracker`] that a server uses.
unsafe extern "C" fn remove(client: *mut private::nfs4_client) {
    // SAFETY: nfsd calls this as an operation.
    unsafe { with_client(client, |tracker, _, client| tracker.remove(client)) };
}

/// A client wants to reclaim.
///
/// # Safety
///
/// For nfsd, as an operation of a [`Tracker`] that a server uses.
unsafe extern "C" fn check(client: *mut private::nfs4_client) -> c_int {
    // SAFETY: nfsd calls this as an operation.
    let result = unsafe { with_client(client, |tracker, _, client| tracker.check(client)) };
    result
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
    // SAFETY: nfsd calls this as an operation, with the state of the namespace.
    let nn = unsafe { NfsdNet::from_raw(nn) };
    if let Some(tracker) = Tracker::of(nn) {
        tracker.grace_done(nn);
    }
}
