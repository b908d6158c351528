// SPDX-License-Identifier: GPL-2.0

//! NFSv4 clients, as nfsd has them.
//!
//! C source: `fs/nfsd/state.h`. See `nfsd.rs` for where the fields are.

use crate::base::net::{Net, Nfsd};
use crate::base::private;
use crate::base::raw::assign_bit;
use crate::nfs4::record::Client;
use core::ptr::addr_of_mut;
use kernel::container_of;
use kernel::prelude::*;
use kernel::str::CStr;
use kernel::types::Opaque;

/// A client in the tree of confirmed clients by name, under `client_lock`.
#[derive(Clone, Copy)]
pub(crate) struct Node<'a>(&'a private::rb_node);

impl<'a> Node<'a> {
    /// A node of the tree, if it is there.
    ///
    /// # Safety
    ///
    /// `raw` is null, or in the tree, whose lock is held for `'a`.
    pub(crate) unsafe fn new(raw: *mut private::rb_node) -> Option<Self> {
        // SAFETY: By this function's requirement.
        unsafe { raw.as_ref() }.map(Node)
    }

    /// Its client.
    pub(crate) fn client(self) -> &'a Nfs4Client {
        let raw: *const private::rb_node = self.0;
        // SAFETY: The nodes of the tree are the clients' `cl_namenode`s; a client in it has a name, and
        // stays as long as the lock is held.
        unsafe {
            Nfs4Client::from_raw(container_of!(
                raw.cast_mut(),
                private::nfs4_client,
                cl_namenode
            ))
        }
    }

    /// Where the lesser names are.
    pub(crate) fn left(self) -> Option<Self> {
        // SAFETY: A child in the same tree, whose lock is held for `'a`, or null.
        unsafe { Self::new(self.0.rb_left) }
    }

    /// Where the greater names are.
    pub(crate) fn right(self) -> Option<Self> {
        // SAFETY: A child in the same tree, whose lock is held for `'a`, or null.
        unsafe { Self::new(self.0.rb_right) }
    }
}

/// What `f` finds in the clients of a tree: it is called with one after the other until it finds
/// something, and may take that one out of the tree. A tree of 2^32 clients is 64 levels deep at most.
pub(crate) fn find<R>(
    node: Option<Node<'_>>,
    mut f: impl FnMut(&Nfs4Client) -> Option<R>,
) -> Option<R> {
    let mut rest = [None; 64];
    let mut depth = 0;
    let mut next = node;
    loop {
        while let (Some(node), true) = (next, depth < rest.len()) {
            rest[depth] = Some(node);
            depth += 1;
            next = node.left();
        }
        depth = depth.checked_sub(1)?;
        let node = rest[depth]?;
        let found = f(node.client());
        if found.is_some() {
            return found;
        }
        next = node.right();
    }
}

/// An NFSv4 client (`struct nfs4_client`) for the time of an operation on it.
#[repr(transparent)]
pub(crate) struct Nfs4Client(Opaque<private::nfs4_client>);

impl Nfs4Client {
    /// The client.
    ///
    /// # Safety
    ///
    /// `raw` is a client that has a name, and is valid for `'a`.
    pub(crate) unsafe fn from_raw<'a>(raw: *mut private::nfs4_client) -> &'a Self {
        // SAFETY: By this function's requirement; the type is transparent.
        unsafe { &*raw.cast() }
    }

    /// The pointer.
    pub(crate) fn as_ptr(&self) -> *mut private::nfs4_client {
        self.0.get()
    }

    /// Is a request of it being processed? Not known of NFSv4.0.
    pub(crate) fn is_in_use(&self) -> bool {
        // SAFETY: The field of a valid structure, read in one go.
        unsafe { (&raw const (*self.0.get()).cl_rpc_users.counter).read_volatile() != 0 }
    }

    /// nfsd, and the net namespace of its server.
    pub(crate) fn nfsd(&self) -> Nfsd<'_> {
        // SAFETY: Set when the client is made, and never changed; a server's clients go before its namespace does
        // and before nfsd is unloaded.
        unsafe { Nfsd::new(Net::from_raw((*self.0.get()).net)) }
    }

    /// Its name (`co_ownerid`), at most 1024 bytes.
    pub(crate) fn name(&self) -> &[u8] {
        // SAFETY: The name is set when the client is made, and freed with it.
        unsafe {
            let name = &(*self.0.get()).cl_name;
            core::slice::from_raw_parts(name.data, name.len as usize)
        }
    }

    /// Its minor version: 0 for NFSv4.0.
    pub(crate) fn minor_version(&self) -> u32 {
        // SAFETY: Set before the client is confirmed, and asked of such only.
        unsafe { (*self.0.get()).cl_minorversion }
    }

    /// Its principal, where it authenticated with one.
    fn principal(&self) -> Option<&CStr> {
        // SAFETY: The credential is set when the client is made, and freed with it; its principals are
        // null or have an end.
        unsafe {
            let cred = &(*self.0.get()).cl_cred;
            let raw = [cred.cr_raw_principal, cred.cr_principal]
                .into_iter()
                .find(|p| !p.is_null());
            raw.map(|p| CStr::from_char_ptr(p))
        }
    }

    /// SHA-256 of its principal, where it authenticated with one.
    pub(crate) fn principal_hash(&self) -> Option<[u8; 32]> {
        self.principal().map(|principal| {
            let bytes = principal.to_bytes();
            let mut digest = [0; 32];
            // SAFETY: The bytes are valid for their length, and the digest has that of SHA-256.
            unsafe { private::sha256(bytes.as_ptr(), bytes.len(), digest.as_mut_ptr()) };
            digest
        })
    }

    /// Calls `f` with the record that it is to have.
    pub(crate) fn with_record<R>(&self, f: impl FnOnce(Client<'_>) -> R) -> R {
        let hash = self.principal_hash();
        f(Client {
            name: self.name(),
            hash: hash.as_ref().map_or(&[], |h| &h[..]),
        })
    }

    /// Is its server in grace, for opens? Does not sleep.
    pub(crate) fn is_server_in_grace(&self) -> bool {
        // SAFETY: The namespace outlives the client. nfsd, whose client this is, needs `grace`.
        unsafe { private::__state_in_grace(self.nfsd().net().as_ptr(), true) }
    }

    /// Has it recorded, as one that has reclaimed. May sleep.
    pub(crate) fn create_record(&self) {
        // SAFETY: The client is valid, and so are its server's tracking operations, which outlive its clients.
        unsafe { private::nfsd4_client_record_create(self.as_ptr()) };
    }

    /// May it reclaim, as its server's record says? May sleep.
    pub(crate) fn is_on_record(&self) -> bool {
        // SAFETY: As in `create_record()`.
        unsafe { private::nfsd4_client_record_check(self.as_ptr()) == 0 }
    }

    fn flags(&self) -> *mut kernel::ffi::c_ulong {
        // SAFETY: The address of a field of a valid structure.
        unsafe { addr_of_mut!((*self.0.get()).cl_flags) }
    }

    fn has_flag(&self, bit: u32) -> bool {
        // SAFETY: A word of a valid structure, read in one go.
        unsafe { self.flags().read_volatile() >> bit & 1 != 0 }
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
        let bit = private::NFSD4_CLIENT_STABLE as usize;
        // SAFETY: A word of a valid structure, which nfsd changes with `set_bit()` and the like only.
        unsafe { assign_bit(bit, self.flags(), stable) }
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
        // SAFETY: By this function's requirement.
        unsafe { &*self.0 }
    }
}
