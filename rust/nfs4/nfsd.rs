// SPDX-License-Identifier: GPL-2.0

//! nfsd's own structures, as far as client tracking needs them.
//!
//! C source: `fs/nfsd/netns.h`, `fs/nfsd/state.h`. Their fields are at the places that the
//! headers of the kernel at hand say, and the build compares those with the BTF of its nfsd.ko
//! (`include/layout-types`).

use crate::base::net::{Net, Nfsd};
use crate::base::private;
use crate::base::raw::assign_bit;
use crate::nfs4::nfs4_client::{find, ClientRef, Nfs4Client, Node};
use core::ptr::{addr_of, addr_of_mut};
use kernel::bindings;
use kernel::prelude::*;
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
        // SAFETY: The field of a valid structure, which nobody else uses while no thread of nfsd runs.
        unsafe { *addr_of_mut!((*self.nn().as_ptr()).boot_time) ^= i64::from(random) };
    }

    /// Sets the tracking operations.
    ///
    /// # Safety
    ///
    /// The operations, and the module that they are in, stay until nfsd has called their `exit`.
    pub(crate) unsafe fn set_tracking_ops(&self, ops: *const private::nfsd4_client_tracking_ops) {
        // SAFETY: The field of a valid structure, which changes under `nfsd_mutex` only.
        unsafe { addr_of_mut!((*self.nn().as_ptr()).client_tracking_ops).write_volatile(ops) }
    }

    /// Sets what nfsd's rpc_pipefs notifier sees of a pipe. It reads this pointer under
    /// sunrpc's `pipefs_sb_lock` at any time.
    ///
    /// # Safety
    ///
    /// What the pointer leads to, and the pipe, stay until another one has
    /// been set and the caller has had `pipefs_sb_lock` after that.
    pub(crate) unsafe fn set_cld_net(&self, cld_net: *mut private::cld_net) {
        // SAFETY: The field of a valid structure, which changes under `nfsd_mutex` only; a pointer is written in one go.
        unsafe { addr_of_mut!((*self.nn().as_ptr()).cld_net).write_volatile(cld_net) }
    }
}

/// nfsd's state of one net namespace (`struct nfsd_net`).
#[repr(transparent)]
pub(crate) struct NfsdNet(Opaque<private::nfsd_net>);

// SAFETY: What is read and written here is atomic, or done while nfsd's start and stop are
// excluded, as each method says.
unsafe impl Sync for NfsdNet {}

impl NfsdNet {
    /// nfsd's state of a namespace (`net_generic()`).
    pub(crate) fn of<'a>(nfsd: Nfsd<'a>) -> &'a Self {
        // SAFETY: nfsd keeps it for the namespace as long as both are there; the type is transparent.
        unsafe { &*nfsd.generic::<Self>(private::nfsd_net_id) }
    }

    /// nfsd's state, from a pointer that nfsd gave.
    ///
    /// # Safety
    ///
    /// `raw` is valid for `'a`.
    pub(crate) unsafe fn from_raw<'a>(raw: *mut private::nfsd_net) -> &'a Self {
        // SAFETY: By this function's requirement; the type is transparent.
        unsafe { &*raw.cast() }
    }

    fn flags(&self) -> *mut kernel::ffi::c_ulong {
        // SAFETY: The address of a field of a valid structure.
        unsafe { addr_of_mut!((*self.0.get()).flags) }
    }

    /// The pointer.
    pub(crate) fn as_ptr(&self) -> *mut private::nfsd_net {
        self.0.get()
    }

    /// The server that runs here, or starts, or null.
    pub(crate) fn server(&self) -> *mut private::svc_serv {
        // SAFETY: The field of a valid structure; a pointer is read in one go.
        unsafe { addr_of_mut!((*self.0.get()).nfsd_info.serv).read_volatile() }
    }

    /// Does a server run here, or start?
    pub(crate) fn is_running(&self) -> bool {
        !self.server().is_null()
    }

    /// Is the server's state there? It comes and goes under `nfsd_mutex`.
    pub(crate) fn is_up(&self) -> bool {
        // SAFETY: A word of a valid structure, read in one go.
        unsafe { self.flags().read_volatile() >> private::nfsd_net_flag_NFSD_NET_UP & 1 != 0 }
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
        // SAFETY: The field of a valid structure; a pointer is read in one go.
        unsafe { addr_of_mut!((*self.0.get()).client_tracking_ops).read_volatile() }
    }

    /// Says whether nfsd looks at its own table of records, which stays empty with us.
    ///
    /// Set when a server starts, it makes `nfs4_state_start_net()` skip the grace period. It
    /// must be clear when requests are served, as `inc_reclaim_complete()` walks the table.
    pub(crate) fn set_own_table(&self, used: bool) {
        let bit = private::nfsd_net_flag_NFSD_NET_TRACK_RECLAIM_COMPLETES as usize;
        // SAFETY: A word of a valid structure, which nfsd changes with `set_bit()` and the like only.
        unsafe { assign_bit(bit, self.flags(), used) }
    }

    /// Is the NFSv4 grace period over?
    pub(crate) fn grace_ended(&self) -> bool {
        let bit = private::nfsd_net_flag_NFSD_NET_GRACE_ENDED;
        // SAFETY: A word of a valid structure, read in one go.
        unsafe { self.flags().read_volatile() >> bit & 1 != 0 }
    }

    /// The length of the NFSv4 grace period, in seconds.
    pub(crate) fn grace_seconds(&self) -> u32 {
        // SAFETY: The field of a valid structure, read in one go.
        let seconds = unsafe { addr_of_mut!((*self.0.get()).nfsd4_grace).read_volatile() };
        u32::try_from(seconds).unwrap_or(0)
    }

    /// Is there a confirmed client with the name of `client`, which is none itself any more, on
    /// stable storage?
    ///
    /// As `find_confirmed_client_by_name()`. Does not sleep; takes `client_lock`.
    pub(crate) fn has_stable_namesake(&self, client: &Nfs4Client) -> bool {
        let name = client.name();
        self.with_clients_by_name(|mut node| {
            while let Some(other) = node {
                // `compare_blob()`: the shorter name is the lesser one.
                let order =
                    (other.client().name().len(), other.client().name()).cmp(&(name.len(), name));
                node = match order {
                    core::cmp::Ordering::Equal => return other.client().is_stable(),
                    core::cmp::Ordering::Greater => other.left(),
                    core::cmp::Ordering::Less => other.right(),
                };
            }
            false
        })
    }

    /// The confirmed clients that are on stable storage, or `ENOMEM`. May sleep; takes
    /// `client_lock`.
    pub(crate) fn stable_clients(&self) -> Result<KVVec<ClientRef>> {
        let mut clients = KVVec::new();
        loop {
            let mut count = 0;
            self.for_each_client(|client| {
                if client.is_stable() {
                    count += 1;
                    if clients.len() < clients.capacity() {
                        // There is room: it does not allocate.
                        let _ = clients.push(ClientRef::new(client), GFP_ATOMIC);
                    }
                }
            });
            if count == clients.len() {
                return Ok(clients);
            }
            clients = KVVec::with_capacity(count + count / 8, GFP_KERNEL)?;
        }
    }

    /// What `f` finds in the confirmed clients, as [`find`]; under `client_lock`. Does not sleep.
    pub(crate) fn find_client<R>(&self, f: impl FnMut(&Nfs4Client) -> Option<R>) -> Option<R> {
        self.with_clients_by_name(|root| find(root, f))
    }

    /// Calls `f` with each confirmed client, under `client_lock`. Does not sleep.
    pub(crate) fn for_each_client(&self, mut f: impl FnMut(&Nfs4Client)) {
        self.find_client(|client| {
            f(client);
            None::<()>
        });
    }

    /// Calls `f` with the root of the tree of confirmed clients by name, under `client_lock`.
    fn with_clients_by_name<R>(&self, f: impl FnOnce(Option<Node<'_>>) -> R) -> R {
        // SAFETY: nfsd has initialised its `client_lock` before a server starts, and takes it in
        // process context only. It guards the tree of confirmed clients: who is in it is valid, has a
        // name, and stays as long as we hold the lock, which is as long as `f` can have the node.
        unsafe {
            let lock = addr_of_mut!((*self.0.get()).client_lock).cast();
            bindings::spin_lock(lock);
            let result = f(Node::new((*self.0.get()).conf_name_tree.rb_node));
            bindings::spin_unlock(lock);
            result
        }
    }

    /// Ends the NFSv4 grace period soon, from nfsd's own worker.
    ///
    /// For a server that runs and uses our operations. Does not sleep.
    pub(crate) fn end_grace(&self) {
        // SAFETY: nfsd's state is valid, so nfsd is loaded. nfsd has made the work that this queues
        // before it called `nfsd4_client_tracking_init()`, and refuses it once the server stops.
        unsafe { private::nfsd4_force_end_grace(self.0.get()) };
    }
}
