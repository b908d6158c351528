// SPDX-License-Identifier: GPL-2.0

//! What nfsd does not know of a client of NFSv4.0, by its clientid.
//!
//! A client of a later version has sessions, which know their connections. Of one of NFSv4.0 nfsd has the address that
//! it established itself from, and nothing of where it is now: a host with two addresses, or a temporary one of IPv6,
//! goes on from another one. And a clientid that nfsd has made, but does not have any more, means that the lease has
//! expired, upon which the client gives its locks up. When a scope was released, and the export has come back here,
//! the client may reclaim: it does when it is told that the clientid is stale, as after a restart (RFC 7530, 9.6.1).
//!
//! C source: `set_client()` in `fs/nfsd/nfs4state.c`.
//!
//! Lock order: [`KNOWN`] is taken alone, or under `client_lock`; nothing is taken under it.

use crate::base::global::Global;
use crate::base::net::Net;
use crate::base::setup::Setup;
use crate::nfs4::nfs4_client::Nfs4Client;
use core::net::IpAddr;
use kernel::prelude::*;
use kernel::rbtree::{RBTree, RBTreeNodeReservation};
use kernel::sync::{new_spinlock, SpinLock};

/// How many addresses of a client are kept, the latest ones. Whoever knows its clientid can add some.
const ADDRESSES: usize = 4;
/// Clients at most, of all net namespaces: a bound on memory. Of more of them, nothing is known.
const MAX: usize = 1 << 16;
/// Clients that are forgotten under the lock in one go.
const BATCH: usize = 64;

static KNOWN: Global<SpinLock<Table>> = Global::new();

/// A clientid (`clientid_t`), its two words, of a net namespace, by its cookie.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    net: u64,
    id: [u32; 2],
}

impl Key {
    /// None of the namespace is before this.
    fn first(net: u64) -> Self {
        Key { net, id: [0; 2] }
    }

    fn of(client: &Nfs4Client) -> Self {
        Key {
            net: client.nfsd().net().cookie(),
            id: client.id(),
        }
    }
}

/// What is known of a client.
#[derive(Clone, Copy, Default)]
struct Known {
    /// Where it has come from, the latest first, other than the first time.
    addresses: [Option<IpAddr>; ADDRESSES],
    /// It was released.
    released: bool,
}

struct Table {
    clients: Option<RBTree<Key, Known>>,
    count: usize,
}

/// Room for one more client.
pub(crate) struct Room(RBTreeNodeReservation<Key, Known>);

impl Room {
    /// Fails with `ENOMEM`. May sleep.
    pub(crate) fn new() -> Result<Self> {
        Ok(Room(RBTreeNodeReservation::new(GFP_KERNEL)?))
    }
}

impl Table {
    const fn new() -> Self {
        Table {
            clients: None,
            count: 0,
        }
    }

    fn get(&self, key: &Key) -> Option<&Known> {
        self.clients.as_ref()?.get(key)
    }

    /// Changes what is known of a client, for which `room` is taken if it is new. Returns whether there was room.
    fn change(&mut self, key: Key, room: &mut Option<Room>, f: impl FnOnce(&mut Known)) -> bool {
        let clients = self.clients.get_or_insert_with(RBTree::new);
        if let Some(known) = clients.get_mut(&key) {
            f(known);
            return true;
        }
        if self.count >= MAX {
            return false;
        }
        let Some(Room(room)) = room.take() else {
            return false;
        };
        let mut known = Known::default();
        f(&mut known);
        clients.insert(room.into_node(key, known));
        self.count += 1;
        true
    }

    /// Looks at some clients from one on, and forgets those that are unwanted. Returns where to go on, unless that was all.
    fn forget(&mut self, mut from: Key, is_unwanted: impl Fn(&Key, &Known) -> bool) -> Option<Key> {
        for _ in 0..BATCH {
            let at = self.clients.as_ref()?.cursor_lower_bound(&from)?;
            let (key, known) = at.current();
            let (key, unwanted) = (*key, is_unwanted(key, known));
            let next = at.peek_next().map(|(key, _)| *key);
            if unwanted {
                self.remove(&key);
            }
            from = next?;
        }
        Some(from)
    }

    fn remove(&mut self, key: &Key) {
        let removed = self
            .clients
            .as_mut()
            .and_then(|clients| clients.remove(key));
        self.count -= usize::from(removed.is_some());
    }
}

/// Prepares this file's lock.
pub(crate) fn init_module(setup: &Setup) {
    KNOWN.init(setup, new_spinlock!(Table::new(), "nfsd_ha::KNOWN"));
}

/// Frees what this file keeps. For this module's exit.
pub(crate) fn exit_module() {
    let table = core::mem::replace(&mut *KNOWN.lock(), Table::new());
    drop(table);
}

/// A request of a client of NFSv4.0, which is being processed, has come from an address. May sleep.
pub(crate) fn came_from(client: &Nfs4Client, address: IpAddr) {
    if client.address() == Some(address) {
        return;
    }
    let key = Key::of(client);
    let mut room = None;
    for _ in 0..2 {
        let add = |known: &mut Known| {
            let was = known.addresses.iter().position(|a| *a == Some(address));
            known.addresses[..=was.unwrap_or(ADDRESSES - 1)].rotate_right(1);
            known.addresses[0] = Some(address);
        };
        if KNOWN.lock().change(key, &mut room, add) {
            break;
        }
        // Without memory, the next request tries again.
        room = Room::new().ok();
    }
}

/// Where a client of NFSv4.0 has come from: the first time, and lately. Does not sleep.
pub(crate) fn addresses(client: &Nfs4Client) -> [Option<IpAddr>; 1 + ADDRESSES] {
    let mut all = [client.address(); 1 + ADDRESSES];
    if let Some(known) = KNOWN.lock().get(&Key::of(client)) {
        all[1..].copy_from_slice(&known.addresses);
    }
    all
}

/// Forgets who was released earlier, if there are many: they have come back by now, or their leases have expired. Does not
/// sleep.
pub(crate) fn make_room() {
    let mut from = Some(Key::first(0));
    while let Some(first) = from {
        let mut table = KNOWN.lock();
        if table.count < MAX / 2 {
            return;
        }
        from = table.forget(first, |_, known| known.released);
    }
}

/// A client is released, and cannot have noticed. Takes `room` if it is new. Does not sleep.
pub(crate) fn release(client: &Nfs4Client, room: &mut Option<Room>) {
    KNOWN
        .lock()
        .change(Key::of(client), room, |known| known.released = true);
}

/// Was the client released that had a clientid? Does not sleep.
pub(crate) fn was_released(net: Net<'_>, id: [u32; 2]) -> bool {
    let key = Key {
        net: net.cookie(),
        id,
    };
    KNOWN.lock().get(&key).is_some_and(|known| known.released)
}

/// A client is gone: where it came from is of no use any more. Does not sleep.
pub(crate) fn gone(client: &Nfs4Client) {
    let key = Key::of(client);
    let mut table = KNOWN.lock();
    if table.get(&key).is_some_and(|known| !known.released) {
        table.remove(&key);
    }
}

/// A server stops: its clientids mean nothing any more. Does not sleep.
pub(crate) fn forget(net: Net<'_>) {
    let net = net.cookie();
    let mut from = Some(Key::first(net));
    while let Some(first) = from {
        from = KNOWN.lock().forget(first, |key, _| key.net == net);
    }
}
