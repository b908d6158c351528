// SPDX-License-Identifier: GPL-2.0

//! nfsd's table of confirmed clients: a tree by name, under `client_lock`.
//!
//! C source: `fs/nfsd/netns.h`, `fs/nfsd/state.h`; `find_clp_in_name_tree()` in `fs/nfsd/nfs4state.c`.

use crate::base::private;
use crate::base::raw::SpinGuard;
use crate::base::sockaddr;
use crate::nfs4::nfs4_client::{ClientRef, Nfs4Client};
use crate::nfs4::nfsd::{NfsdNet, Tracked};
use core::cmp::Ordering;
use core::marker::PhantomData;
use core::net::IpAddr;
use core::ops::Deref;
use core::ptr::{self, addr_of_mut, NonNull};
use kernel::container_of;
use kernel::prelude::*;

/// The confirmed clients of a server, whose `client_lock` is held: no sleeping.
///
/// # Invariants
///
/// The lock is held from when this is made until it is dropped, and guards the tree all that time.
pub(crate) struct ClientTable<'a> {
    nn: &'a NfsdNet,
    _lock: SpinGuard,
}

impl<'a> ClientTable<'a> {
    /// Takes the lock, which the caller must not have.
    ///
    /// # Safety
    ///
    /// A server has begun to start in the namespace, and has made its lock and its tree; until the table is
    /// dropped it does not stop so far that another may start, which makes them anew.
    pub(crate) unsafe fn lock(nn: &'a NfsdNet) -> Self {
        // SAFETY: The lock has been made, and nfsd takes it in process context only.
        let lock = unsafe { SpinGuard::new(addr_of_mut!((*nn.as_ptr()).client_lock)) };
        // INVARIANT: It was taken just now, and nobody makes it anew.
        ClientTable { nn, _lock: lock }
    }

    /// What `f` finds: it is called with one client after the other until it finds something.
    pub(crate) fn find<R>(&self, f: impl FnMut(&Confirmed<'_>) -> Option<R>) -> Option<R> {
        self.find_after(None, f).map(|(_, found)| found)
    }

    /// The same, with those only that come after the client named `last` in the table's order; and which client that was.
    pub(crate) fn find_after<R>(
        &self,
        last: Option<&[u8]>,
        mut f: impl FnMut(&Confirmed<'_>) -> Option<R>,
    ) -> Option<(Confirmed<'_>, R)> {
        let is_past = |node: &Node<'_>| {
            last.is_none_or(|last| order(node.client().name(), last) == Ordering::Greater)
        };
        // A tree of 2^32 clients is 64 levels deep at most.
        let mut rest = [None; 64];
        let mut depth = 0;
        let mut next = self.root();
        loop {
            while let (Some(node), true) = (next, depth < rest.len()) {
                let [lesser, greater] = node.below();
                if is_past(&node) {
                    rest[depth] = Some(node);
                    depth += 1;
                    next = lesser;
                } else {
                    next = greater;
                }
            }
            depth = depth.checked_sub(1)?;
            let node: Node<'_> = rest[depth]?;
            let client = node.client();
            if let Some(found) = f(&client) {
                return Some((client, found));
            }
            [_, next] = node.below();
        }
    }

    /// Calls `f` with each.
    pub(crate) fn for_each(&self, mut f: impl FnMut(&Confirmed<'_>)) {
        self.find(|client| {
            f(client);
            None::<()>
        });
    }

    /// The client with a name.
    pub(crate) fn with_name(&self, name: &[u8]) -> Option<Confirmed<'_>> {
        let mut next = self.root();
        while let Some(node) = next {
            let client = node.client();
            let [lesser, greater] = node.below();
            next = match order(client.name(), name) {
                Ordering::Equal => return Some(client),
                Ordering::Greater => lesser,
                Ordering::Less => greater,
            };
        }
        None
    }

    /// This client, if it is in the table.
    pub(crate) fn get(&self, client: &Nfs4Client) -> Option<Confirmed<'_>> {
        let namesake = self.with_name(client.name())?;
        Some(namesake).filter(|namesake| ptr::eq(namesake.0, client))
    }

    fn root(&self) -> Option<Node<'_>> {
        // SAFETY: The field of a valid structure, which changes under the lock only.
        let root = unsafe { (*self.nn.as_ptr()).conf_name_tree.rb_node };
        // INVARIANT: It is the tree's, and the lock is held as long as we are borrowed.
        NonNull::new(root).map(|root| Node(root, PhantomData))
    }
}

/// The order of names in the tree (`compare_blob()`): the shorter one is the lesser.
fn order(name: &[u8], other: &[u8]) -> Ordering {
    (name.len(), name).cmp(&(other.len(), other))
}

/// A node of the tree.
///
/// # Invariants
///
/// It is in a tree whose lock is held for `'t`, and is not used once somebody has changed the tree.
#[derive(Clone, Copy)]
struct Node<'t>(NonNull<private::rb_node>, PhantomData<&'t ()>);

impl<'t> Node<'t> {
    /// Its client.
    fn client(self) -> Confirmed<'t> {
        self.parts().0
    }

    /// The nodes below: where the lesser names are, and where the greater ones are.
    fn below(self) -> [Option<Self>; 2] {
        self.parts().1
    }

    #[inline]
    fn parts(self) -> (Confirmed<'t>, [Option<Self>; 2]) {
        let node = self.0.as_ptr();
        // SAFETY: The nodes of the tree are the clients' `cl_namenode`s. A client in it has a name, and leaves it before
        // it is freed; for that, and for a change of the tree, the lock is needed.
        let (client, below) = unsafe {
            let client = container_of!(node, private::nfs4_client, cl_namenode);
            (
                Nfs4Client::from_raw(client),
                [(*node).rb_left, (*node).rb_right],
            )
        };
        // INVARIANT: The node's lock is that of the client's server. The children of a node are in the same tree.
        let below = below.map(|child| NonNull::new(child).map(|child| Node(child, PhantomData)));
        (Confirmed(client), below)
    }
}

/// A confirmed client, while nobody else may take it out of its server's table.
///
/// # Invariants
///
/// The `client_lock` of its server is held for `'t`.
pub(crate) struct Confirmed<'t>(&'t Nfs4Client);

impl Deref for Confirmed<'_> {
    type Target = Nfs4Client;

    fn deref(&self) -> &Nfs4Client {
        self.0
    }
}

impl Confirmed<'_> {
    /// With NFSv4.0, the server's address that it came to, if it has callbacks.
    pub(crate) fn server_address(&self) -> Option<IpAddr> {
        let raw = self.as_ptr();
        // SAFETY: SETCLIENTID sets it, with SETCLIENTID_CONFIRM for a client that is there already, under
        // `client_lock`.
        unsafe { sockaddr::address(&(*raw).cl_cb_conn.cb_saddr) }
    }
}

impl Tracked<'_> {
    /// The confirmed clients. Takes `client_lock`.
    pub(crate) fn clients(&self) -> ClientTable<'_> {
        // SAFETY: nfsd makes the table before it starts its tracking, which does not end meanwhile, by the type's
        // invariant; nor does the server stop before that.
        unsafe { ClientTable::lock(self) }
    }

    /// The confirmed client with a name.
    ///
    /// As `find_confirmed_client_by_name()`. Does not sleep; takes `client_lock`.
    pub(crate) fn client_named(&self, name: &[u8]) -> Option<ClientRef> {
        let table = self.clients();
        let client = table.with_name(name)?;
        Some(ClientRef::new(&client))
    }

    /// The confirmed clients that are on stable storage, or `ENOMEM`. May sleep; takes
    /// `client_lock`.
    pub(crate) fn stable_clients(&self) -> Result<KVVec<ClientRef>> {
        let mut clients = KVVec::new();
        loop {
            let mut count = 0;
            let table = self.clients();
            table.for_each(|client| {
                if client.is_stable() {
                    count += 1;
                    if clients.len() < clients.capacity() {
                        // There is room: it does not allocate.
                        let _ = clients.push(ClientRef::new(client), GFP_ATOMIC);
                    }
                }
            });
            drop(table);
            if count == clients.len() {
                return Ok(clients);
            }
            clients = KVVec::with_capacity(count + count / 8, GFP_KERNEL)?;
        }
    }
}
