// SPDX-License-Identifier: GPL-2.0

//! NFSv4 clients, as nfsd has them.
//!
//! C source: `fs/nfsd/state.h`. See `nfsd.rs` for where the fields are.

use crate::base::index::KeyedHash;
use crate::base::net::{Net, Nfsd};
use crate::base::private;
use crate::base::sockaddr;
use crate::nfs4::floating;
use crate::nfs4::nfsd::NfsdNet;
use crate::nfs4::record::Client;
use crate::nfs4::records::RecordTable;
use core::ffi::c_void;
use core::net::IpAddr;
use core::ptr::addr_of_mut;
use core::sync::atomic::{AtomicI32, AtomicI64, AtomicU32, AtomicUsize, Ordering};
use kernel::prelude::*;
use kernel::str::CStr;
use kernel::types::Opaque;

/// What nfsd sets before anybody else can see a client.
struct Fixed<'a> {
    nfsd: Nfsd<'a>,
    name: &'a [u8],
    id: [u32; 2],
    address: Option<IpAddr>,
    minor_version: u32,
    principal: Option<&'a CStr>,
}

/// What changes while others look at it, each in one go.
struct Shared<'a> {
    users: &'a AtomicI32,
    renewed: &'a AtomicI64,
    flags: &'a AtomicUsize,
}

/// An NFSv4 client (`struct nfs4_client`) for the time of an operation on it.
///
/// # Invariants
///
/// A reference is to a client that has a name, and that nfsd does not free meanwhile.
#[repr(transparent)]
pub(crate) struct Nfs4Client(Opaque<private::nfs4_client>);

impl Nfs4Client {
    /// The client.
    ///
    /// # Safety
    ///
    /// `raw` is a client that has a name, and is valid for `'a`.
    pub(crate) unsafe fn from_raw<'a>(raw: *mut private::nfs4_client) -> &'a Self {
        // INVARIANT: The caller says so.
        // SAFETY: It is valid for `'a`, and the type is transparent.
        unsafe { &*raw.cast() }
    }

    /// The pointer.
    pub(crate) fn as_ptr(&self) -> *mut private::nfs4_client {
        self.0.get()
    }

    fn shared(&self) -> Shared<'_> {
        let raw = self.as_ptr();
        // SAFETY: Words of a valid structure, at which nfsd itself looks without a lock; it changes the flags with
        // `set_bit()` and the like only, and the count of requests as an atomic one.
        unsafe {
            Shared {
                users: AtomicI32::from_ptr(addr_of_mut!((*raw).cl_rpc_users.counter)),
                renewed: AtomicI64::from_ptr(addr_of_mut!((*raw).cl_time)),
                flags: AtomicUsize::from_ptr(addr_of_mut!((*raw).cl_flags).cast()),
            }
        }
    }

    /// Is a request of it being processed? Not known of NFSv4.0.
    pub(crate) fn is_in_use(&self) -> bool {
        self.shared().users.load(Ordering::Relaxed) != 0
    }

    /// nfsd, and the net namespace of its server.
    pub(crate) fn nfsd(&self) -> Nfsd<'_> {
        self.fixed().nfsd
    }

    /// What does not change as long as the client is there.
    fn fixed(&self) -> Fixed<'_> {
        let raw = self.0.get();
        // SAFETY: nfsd sets this when it makes the client, does not change it once others can see that, and
        // frees it with the client. The name is as long as it says, and a principal is null or has an end. A server's
        // clients go before its namespace does and before nfsd is unloaded.
        unsafe {
            let name = &(*raw).cl_name;
            let principals = [(*raw).cl_cred.cr_raw_principal, (*raw).cl_cred.cr_principal];
            let principal = principals.into_iter().find(|p| !p.is_null());
            Fixed {
                nfsd: Nfsd::new(Net::from_raw((*raw).net)),
                name: core::slice::from_raw_parts(name.data, name.len as usize),
                id: [(*raw).cl_clientid.cl_boot, (*raw).cl_clientid.cl_id],
                address: sockaddr::address(&(*raw).cl_addr),
                minor_version: (*raw).cl_minorversion,
                principal: principal.map(|p| CStr::from_char_ptr(p)),
            }
        }
    }

    /// Its name (`co_ownerid`), at most 1024 bytes.
    pub(crate) fn name(&self) -> &[u8] {
        self.fixed().name
    }

    /// Its clientid, both words.
    pub(crate) fn id(&self) -> [u32; 2] {
        self.fixed().id
    }

    /// The address that it established itself from.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        self.fixed().address
    }

    /// Its minor version: 0 for NFSv4.0.
    pub(crate) fn minor_version(&self) -> u32 {
        self.fixed().minor_version
    }

    /// SHA-256 of its principal, where it authenticated with one.
    pub(crate) fn principal_hash(&self) -> Option<[u8; 32]> {
        self.fixed().principal.map(|principal| {
            let bytes = principal.to_bytes();
            let mut digest = [0; 32];
            // SAFETY: The bytes are valid for their length, and the digest has that of SHA-256.
            unsafe { private::sha256(bytes.as_ptr(), bytes.len(), digest.as_mut_ptr()) };
            digest
        })
    }

    /// Has it the credentials of another one (`same_creds()`)? Groups are not compared.
    pub(crate) fn has_credentials_of(&self, other: &Nfs4Client) -> bool {
        fn credentials(client: &Nfs4Client) -> (u32, u32, bool, Option<&CStr>) {
            // SAFETY: nfsd sets them when it makes the client, and does not change them once others can see that.
            let (uid, gid, flavor) = unsafe {
                let own = &(*client.as_ptr()).cl_cred;
                (own.cr_uid.val, own.cr_gid.val, own.cr_flavor)
            };
            let is_gss = flavor > private::rpc_auth_flavors_RPC_AUTH_MAXFLAVOR;
            (uid, gid, is_gss, client.fixed().principal)
        }
        credentials(self) == credentials(other)
    }

    /// Says that its lease has not ended, also if it has: it is not expired for that it is in somebody's way. Does not sleep.
    pub(crate) fn make_active(&self) {
        let raw = self.as_ptr();
        let nn = NfsdNet::of(self.nfsd());
        // SAFETY: A word of a valid client, which nfsd changes with `cmpxchg()` and the like, and one of its server.
        unsafe {
            let state = AtomicU32::from_ptr(addr_of_mut!((*raw).cl_state).cast());
            if state.swap(private::NFSD4_ACTIVE, Ordering::AcqRel) != private::NFSD4_ACTIVE {
                let count = addr_of_mut!((*nn.as_ptr()).nfsd_courtesy_clients.counter);
                let less = |count: i32| (count > 0).then(|| count - 1);
                let _ = AtomicI32::from_ptr(count).fetch_update(
                    Ordering::AcqRel,
                    Ordering::Acquire,
                    less,
                );
            }
        }
    }

    /// Calls `f` with the record that it is to have.
    pub(crate) fn with_record<R>(&self, f: impl FnOnce(Client<'_>) -> R) -> R {
        let hash = self.principal_hash();
        f(Client {
            name: self.name(),
            hash: hash.as_ref().map_or(&[], |h| &h[..]),
        })
    }

    /// The name by which it is on record, if that is another one than now, as the floating addresses have changed since.
    /// Without memory there is none. May sleep.
    pub(crate) fn former_name<H: KeyedHash>(&self, records: &RecordTable<H>) -> Option<KVec<u8>> {
        let net = self.nfsd().net().cookie();
        let former = records.former_name(self.name(), |address| floating::since(net, address));
        former.ok().flatten()
    }

    /// Is its server in grace, for opens? Does not sleep.
    pub(crate) fn is_server_in_grace(&self) -> bool {
        self.nfsd().is_in_grace(true)
    }

    /// Has it recorded, as one that has reclaimed. May sleep.
    pub(crate) fn create_record(&self) {
        // SAFETY: The client is valid, and so are its server's tracking operations, which outlive its clients.
        unsafe { private::nfsd4_client_record_create(self.as_ptr()) };
    }

    /// May it reclaim, as its server's record says? May sleep.
    pub(crate) fn is_on_record(&self) -> bool {
        // SAFETY: The client is valid, and its server asks the same of its tracking operations when one reclaims.
        unsafe { private::nfsd4_client_record_check(self.as_ptr()) == 0 }
    }

    /// When its lease was renewed last, in seconds since boot, or 0 if it is expired.
    pub(crate) fn renewed(&self) -> i64 {
        self.shared().renewed.load(Ordering::Relaxed)
    }

    /// Is it expired (`is_client_expired()`)? Under its server's `client_lock`, that does not change.
    pub(crate) fn is_expired(&self) -> bool {
        self.renewed() == 0
    }

    fn has_flag(&self, bit: u32) -> bool {
        self.shared().flags.load(Ordering::Relaxed) >> bit & 1 != 0
    }

    /// Has it been confirmed (`NFSD4_CLIENT_CONFIRMED`)?
    pub(crate) fn is_confirmed(&self) -> bool {
        self.has_flag(private::NFSD4_CLIENT_CONFIRMED)
    }

    /// Is this the name of its directory below `clients` (`struct nfsdfs_client`)? Only compares.
    pub(crate) fn has_directory(&self, of: *const c_void) -> bool {
        // SAFETY: The address of a field of a valid client.
        let own = unsafe { &raw const (*self.as_ptr()).cl_nfsdfs };
        core::ptr::eq(own.cast(), of)
    }

    /// Is it one of this server, as nfsd has it?
    pub(crate) fn is_in(&self, nn: *const private::nfsd_net) -> bool {
        core::ptr::eq(NfsdNet::of(self.nfsd()).as_ptr(), nn)
    }

    /// Is it on stable storage (`NFSD4_CLIENT_STABLE`)?
    pub(crate) fn is_stable(&self) -> bool {
        self.has_flag(private::NFSD4_CLIENT_STABLE)
    }

    /// Has it sent RECLAIM_COMPLETE (`NFSD4_CLIENT_RECLAIM_COMPLETE`)?
    pub(crate) fn is_complete(&self) -> bool {
        self.has_flag(private::NFSD4_CLIENT_RECLAIM_COMPLETE)
    }

    /// Notes that it is, or is no more, on stable storage.
    pub(crate) fn set_stable(&self, stable: bool) {
        let bit = 1 << private::NFSD4_CLIENT_STABLE;
        if stable {
            self.shared().flags.fetch_or(bit, Ordering::Relaxed);
        } else {
            self.shared().flags.fetch_and(!bit, Ordering::Relaxed);
        }
    }
}

/// A client that nfsd has told us of, to be found again: a pointer to compare.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClientRef(*const Nfs4Client);

// SAFETY: It is only dereferenced in an unsafe function, whose callers say that it is valid.
unsafe impl Send for ClientRef {}
// SAFETY: As for `Send`; it is never changed.
unsafe impl Sync for ClientRef {}

impl ClientRef {
    /// A name for `client`.
    pub(crate) fn new(client: &Nfs4Client) -> Self {
        ClientRef(client)
    }

    /// The client.
    ///
    /// # Safety
    ///
    /// nfsd has not freed the client, and does not for `'a`.
    pub(crate) unsafe fn get<'a>(self) -> &'a Nfs4Client {
        // SAFETY: It was made of a client, which is still there.
        unsafe { &*self.0 }
    }
}
