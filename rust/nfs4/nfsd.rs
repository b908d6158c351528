// SPDX-License-Identifier: GPL-2.0

//! nfsd's own structures, as far as client tracking needs them.
//!
//! C source: `fs/nfsd/netns.h`, `fs/nfsd/state.h`. Their fields are at the places that the
//! headers of the kernel at hand say, and the build compares those with the BTF of its nfsd.ko
//! (`include/layout-types`).

use crate::base::net::{Net, Nfsd};
use crate::base::private;
use crate::base::transport::Service;
use core::ops::Deref;
use core::ptr::{addr_of, addr_of_mut, NonNull};
use core::sync::atomic::{AtomicI64, AtomicPtr, AtomicUsize, Ordering::Relaxed};
use kernel::types::Opaque;

/// A server that starts or stops.
///
/// # Invariants
///
/// For `'a`, `nfsd_mutex` is held, and no thread of nfsd runs in the namespace.
pub(crate) struct Changing<'a>(Nfsd<'a>);

impl<'a> Changing<'a> {
    /// The server of a namespace.
    ///
    /// # Safety
    ///
    /// nfsd starts or stops the server for `'a`: it holds `nfsd_mutex`, and no thread of it runs there.
    pub(crate) unsafe fn new(nfsd: Nfsd<'a>) -> Self {
        // INVARIANT: By this function's requirement.
        Changing(nfsd)
    }

    /// Its net namespace.
    pub(crate) fn net(&self) -> Net<'a> {
        self.0.net()
    }

    /// nfsd's state of the namespace.
    pub(crate) fn nn(&self) -> &'a NfsdNet {
        NfsdNet::of(self.0)
    }

    /// Makes the server's boot time one that no other server has.
    ///
    /// It is in NFSv4.0's client ids and stateids, and a server tells by it which ones are its own: of
    /// those that it does not know it says NFS4ERR_EXPIRED, whose client gives its locks up, and of others'
    /// NFS4ERR_STALE, whose client reclaims (`STALE_CLIENTID()` in `fs/nfsd/nfs4state.c`). Two servers that
    /// were started in the same second could not be told apart. As a time it is used in messages only.
    pub(crate) fn make_boot_time_unique(&self, random: u32) {
        let boot_time = self.nn().shared().boot_time;
        boot_time.fetch_xor(i64::from(random), Relaxed);
    }

    /// Sets the tracking operations.
    ///
    /// # Safety
    ///
    /// The operations, and the module that they are in, stay until nfsd has called their `exit`.
    pub(crate) unsafe fn set_tracking_ops(&self, ops: *const private::nfsd4_client_tracking_ops) {
        let slot = self.nn().shared().tracking_ops;
        slot.store(ops.cast_mut(), Relaxed);
    }

    /// Sets what nfsd's rpc_pipefs notifier sees of a pipe. It reads this pointer under
    /// sunrpc's `pipefs_sb_lock` at any time.
    ///
    /// # Safety
    ///
    /// What the pointer leads to, and the pipe, stay until another one has
    /// been set and the caller has had `pipefs_sb_lock` after that.
    pub(crate) unsafe fn set_cld_net(&self, cld_net: *mut private::cld_net) {
        self.nn().shared().cld_net.store(cld_net, Relaxed);
    }
}

/// nfsd's state of a namespace, whose server has begun its client tracking and not ended it.
///
/// # Invariants
///
/// That is so for `'a`: the server made its table of clients before, and frees them after it.
#[derive(Clone, Copy)]
pub(crate) struct Tracked<'a> {
    nn: &'a NfsdNet,
    nfsd: Nfsd<'a>,
}

impl<'a> Tracked<'a> {
    /// nfsd's state of such a namespace.
    ///
    /// # Safety
    ///
    /// nfsd has begun to start its tracking operations there, and does not return from their `exit` in `'a`.
    pub(crate) unsafe fn new(nfsd: Nfsd<'a>) -> Self {
        let nn = NfsdNet::of(nfsd);
        // INVARIANT: By this function's requirement.
        Tracked { nn, nfsd }
    }

    /// Is the server in a grace period: nfsd's, or lockd's unless it is asked for `opens`? Does not sleep.
    pub(crate) fn is_in_grace(self, opens: bool) -> bool {
        self.nfsd.is_in_grace(opens)
    }

    /// Does nfsd still work on a request of NFSv4 that had begun at a moment, as
    /// [`uptime()`](crate::base::clock::uptime) counts? Takes a step for each thread, and does not sleep.
    pub(crate) fn works_since(self, moment: i64) -> bool {
        NonNull::new(self.nn.server()).is_some_and(|server| {
            // SAFETY: nfsd is loaded, and frees the server after its tracking has ended, by the type's invariant.
            unsafe {
                let pools = private::nfsd_nrpools(self.nfsd.net().as_ptr());
                Service::from_raw(server).works_since(pools as usize, moment)
            }
        })
    }

    /// Ends the NFSv4 grace period soon, from nfsd's own worker. Does not sleep.
    pub(crate) fn end_grace(self) {
        // SAFETY: nfsd's state is there, so nfsd is loaded. nfsd has made the work that this queues before it began
        // the tracking, by the type's invariant, and refuses it once the server stops.
        unsafe { private::nfsd4_force_end_grace(self.nn.as_ptr()) };
    }
}

impl Deref for Tracked<'_> {
    type Target = NfsdNet;

    fn deref(&self) -> &NfsdNet {
        self.nn
    }
}

/// nfsd's state of one net namespace (`struct nfsd_net`).
#[repr(transparent)]
pub(crate) struct NfsdNet(Opaque<private::nfsd_net>);

/// What nfsd changes while others look at it, each in one go.
struct Shared<'a> {
    flags: &'a AtomicUsize,
    server: &'a AtomicPtr<private::svc_serv>,
    tracking_ops: &'a AtomicPtr<private::nfsd4_client_tracking_ops>,
    cld_net: &'a AtomicPtr<private::cld_net>,
    grace: &'a AtomicI64,
    lease: &'a AtomicI64,
    boot_time: &'a AtomicI64,
}

// SAFETY: What is read and written here is atomic, or text of which a copy is made.
unsafe impl Sync for NfsdNet {}

impl NfsdNet {
    /// nfsd's state of a namespace (`net_generic()`).
    pub(crate) fn of<'a>(nfsd: Nfsd<'a>) -> &'a Self {
        // SAFETY: nfsd keeps it for the namespace as long as both are there.
        unsafe { Self::from_raw(nfsd.nfsd_net()) }
    }

    /// nfsd's state, from a pointer that nfsd gave.
    ///
    /// # Safety
    ///
    /// `raw` is valid for `'a`.
    pub(crate) unsafe fn from_raw<'a>(raw: *mut private::nfsd_net) -> &'a Self {
        // SAFETY: The state is there for as long as the reference, and the type is transparent.
        unsafe { &*raw.cast() }
    }

    fn shared(&self) -> Shared<'_> {
        let raw = self.0.get();
        // SAFETY: Words of a valid structure, at which nfsd itself looks without a lock; the flags it changes
        // with `set_bit()` and the like only.
        unsafe {
            Shared {
                flags: AtomicUsize::from_ptr(addr_of_mut!((*raw).flags).cast()),
                server: AtomicPtr::from_ptr(addr_of_mut!((*raw).nfsd_info.serv)),
                tracking_ops: AtomicPtr::from_ptr(addr_of_mut!((*raw).client_tracking_ops).cast()),
                cld_net: AtomicPtr::from_ptr(addr_of_mut!((*raw).cld_net)),
                grace: AtomicI64::from_ptr(addr_of_mut!((*raw).nfsd4_grace)),
                lease: AtomicI64::from_ptr(addr_of_mut!((*raw).nfsd4_lease)),
                boot_time: AtomicI64::from_ptr(addr_of_mut!((*raw).boot_time)),
            }
        }
    }

    fn has_flag(&self, bit: u32) -> bool {
        self.shared().flags.load(Relaxed) >> bit & 1 != 0
    }

    /// The pointer.
    pub(crate) fn as_ptr(&self) -> *mut private::nfsd_net {
        self.0.get()
    }

    /// The server that runs here, or starts, or null.
    pub(crate) fn server(&self) -> *mut private::svc_serv {
        self.shared().server.load(Relaxed)
    }

    /// Does a server run here, or start?
    pub(crate) fn is_running(&self) -> bool {
        !self.server().is_null()
    }

    /// Is the server's state there? It comes and goes under `nfsd_mutex`.
    pub(crate) fn is_up(&self) -> bool {
        self.has_flag(private::nfsd_net_flag_NFSD_NET_UP)
    }

    /// Calls `f` with the server's name, which NFSv4.1 and later get as its scope and as its owner's
    /// major id (RFC 8881, 2.10.4 and 2.10.5). rpc.nfsd sets it.
    pub(crate) fn with_name<R>(&self, f: impl FnOnce(&[u8]) -> R) -> R {
        // SAFETY: The field of a valid structure, copied in one go. If it is being set, the copy may be of
        // both names; nothing but text depends on it.
        let name = unsafe { addr_of!((*self.0.get()).nfsd_name).read_volatile() };
        f(name.split(|c| *c == 0).next().unwrap_or_default())
    }

    /// The tracking operations in use, or null. They change when a server starts or stops.
    pub(crate) fn tracking_ops(&self) -> *const private::nfsd4_client_tracking_ops {
        self.shared().tracking_ops.load(Relaxed)
    }

    /// Says whether nfsd looks at its own table of records, which stays empty with us.
    ///
    /// Set when a server starts, it makes `nfs4_state_start_net()` skip the grace period. It
    /// must be clear when requests are served, as `inc_reclaim_complete()` walks the table, and when the laundromat runs, as
    /// that takes the table's lock: both are made by the tracking that we replace.
    pub(crate) fn set_own_table(&self, used: bool) {
        let bit = 1 << private::nfsd_net_flag_NFSD_NET_TRACK_RECLAIM_COMPLETES;
        if used {
            self.shared().flags.fetch_or(bit, Relaxed);
        } else {
            self.shared().flags.fetch_and(!bit, Relaxed);
        }
    }

    /// Is the NFSv4 grace period over?
    pub(crate) fn grace_ended(&self) -> bool {
        self.has_flag(private::nfsd_net_flag_NFSD_NET_GRACE_ENDED)
    }

    /// The length of a lease, in seconds.
    pub(crate) fn lease_seconds(&self) -> u32 {
        u32::try_from(self.shared().lease.load(Relaxed)).unwrap_or(0)
    }

    /// The length of the NFSv4 grace period, in seconds.
    pub(crate) fn grace_seconds(&self) -> u32 {
        u32::try_from(self.shared().grace.load(Relaxed)).unwrap_or(0)
    }
}
