// SPDX-License-Identifier: GPL-2.0

//! The original servers of what this machine has mounted, and what it has said to each.
//!
//! ```text
//!   mounted: RECLAIM_COMPLETE is held back ---> the server here is not in grace any more,  ---> it is going ---> sent
//!                                               or somebody opens who does not reclaim,
//!                                               or the original server refuses reclaims
//! ```
//!
//! Lock order: [`ORIGINALS`] is taken under nfsd's `client_lock` and `cl_lock`; under it, the lock of the file systems.

use crate::base::clock::since_boot;
use crate::base::global::Global;
use crate::base::net::Net;
use crate::base::setup::Setup;
use crate::reexport::nfs_client::{ClientRef, NfsClient};
use crate::reexport::sender::Sender;
use core::sync::atomic::{AtomicUsize, Ordering};
use kernel::prelude::*;
use kernel::rbtree::{RBTree, RBTreeNode};
use kernel::sync::{new_spinlock, Arc, SpinLock};

/// What has become of RECLAIM_COMPLETE.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Complete {
    /// Nobody has wanted to send it since we know the client.
    No,
    /// It is held back, since a time.
    Held(i64),
    /// The NFS client is to send it.
    Going(i64),
    /// It was sent, after so many milliseconds, or never held back.
    Sent(Option<i64>),
}

/// An original server.
pub(crate) struct Original {
    /// The cookie of the namespace that it is mounted in.
    pub(crate) net: u64,
    /// Its name, as it was given to mount(8).
    pub(crate) name: KVec<u8>,
    pub(crate) minor_version: u32,
    pub(crate) complete: Complete,
    /// nfsd or lockd have opened something of it.
    pub(crate) is_reexported: bool,
    /// How many reclaims it has granted, and refused.
    pub(crate) granted: u64,
    pub(crate) refused: u64,
    /// When somebody has looked last whether it answers, in jiffies and since the boot, and since when it has, at each look.
    pub(crate) looked: Option<(usize, i64)>,
    pub(crate) answers_since: Option<i64>,
    /// It is to be asked whether it is there.
    pub(crate) to_ask: bool,
    /// Who will send RECLAIM_COMPLETE, as long as that is held back.
    sender: Option<Arc<Sender>>,
}

impl Original {
    /// Is RECLAIM_COMPLETE still to be sent?
    pub(crate) fn is_incomplete(&self) -> bool {
        matches!(self.complete, Complete::Held(_) | Complete::Going(_))
    }
}

#[derive(Default)]
struct Originals {
    /// By [`NfsClient::number`].
    all: RBTree<usize, Original>,
    /// The NFS client runs our functions, so we learn when one goes.
    on: bool,
}

static ORIGINALS: Global<SpinLock<Originals>> = Global::new();
/// How many there are that RECLAIM_COMPLETE is to be sent to: to be asked without the lock.
static INCOMPLETE: AtomicUsize = AtomicUsize::new(0);

/// Prepares this file's lock.
pub(crate) fn init_module(setup: &Setup) {
    ORIGINALS.init(
        setup,
        new_spinlock!(Originals::default(), "nfsd_ha::ORIGINALS"),
    );
}

/// Is RECLAIM_COMPLETE held back anywhere, or going? Costs a load. Does not sleep.
#[inline]
pub(crate) fn any_incomplete() -> bool {
    INCOMPLETE.load(Ordering::Acquire) != 0
}

/// Counts one, with the lock held.
fn count(before: bool, after: bool) {
    match (before, after) {
        (false, true) => INCOMPLETE.fetch_add(1, Ordering::AcqRel),
        (true, false) => INCOMPLETE.fetch_sub(1, Ordering::AcqRel),
        _ => return,
    };
}

/// Calls `f` with an original server, if it is known. Does not sleep, nor may `f`.
pub(crate) fn with<R>(number: usize, f: impl FnOnce(&mut Original) -> R) -> Option<R> {
    let mut originals = ORIGINALS.lock();
    let one = originals.all.get_mut(&number)?;
    let before = one.is_incomplete();
    let result = f(one);
    count(before, one.is_incomplete());
    Some(result)
}

/// From now on they are noted. Does not sleep.
pub(crate) fn switched_on() {
    ORIGINALS.lock().on = true;
}

/// They are not any more, and at none is anything held back that is not yet. Does not sleep.
pub(crate) fn switched_off() {
    ORIGINALS.lock().on = false;
}

/// All are forgotten but those at which it is going, as nobody will say when they go. Does not sleep.
pub(crate) fn forget_others() {
    let mut from = 0;
    while let Some(number) = find(from, |one| !matches!(one.complete, Complete::Going(_))) {
        from = number.saturating_add(1);
        forget(number);
    }
}

/// Notes an original server to which RECLAIM_COMPLETE is about to be sent, unless the livepatch is being switched off. Fails
/// with `ENOMEM`. May sleep.
pub(crate) fn note(client: NfsClient<'_>) -> Result {
    note_as(client, Complete::No)
}

/// The same, of one that is mounted: it was told before we knew it. What is to be said to it after a restart of its is not held
/// back. Fails with `ENOMEM`. May sleep.
pub(crate) fn note_told(client: NfsClient<'_>) -> Result {
    note_as(client, Complete::Sent(None))
}

fn note_as(client: NfsClient<'_>, complete: Complete) -> Result {
    let number = client.number();
    if with(number, |_| ()).is_some() {
        return Ok(());
    }
    let mut name = KVec::new();
    name.extend_from_slice(client.name().to_bytes(), GFP_KERNEL)?;
    let new = Original {
        net: client.net().cookie(),
        name,
        minor_version: client.minor_version(),
        complete,
        is_reexported: false,
        granted: 0,
        refused: 0,
        looked: None,
        answers_since: None,
        to_ask: false,
        sender: None,
    };
    let node = RBTreeNode::new(number, new, GFP_KERNEL)?;
    let unused = {
        let mut originals = ORIGINALS.lock();
        if originals.on && originals.all.get(&number).is_none() {
            originals.all.insert(node);
            None
        } else {
            Some(node)
        }
    };
    drop(unused);
    Ok(())
}

/// RECLAIM_COMPLETE is to be sent: holds it back if it is the first one, or is held back already. Returns whether it is. Does not
/// sleep.
pub(crate) fn hold(client: NfsClient<'_>, sender: Arc<Sender>) -> bool {
    let mut originals = ORIGINALS.lock();
    let is_on = originals.on;
    let Some(one) = originals.all.get_mut(&client.number()) else {
        return false;
    };
    match one.complete {
        Complete::No if is_on => {
            one.complete = Complete::Held(since_boot());
            one.sender = Some(sender);
            count(false, true);
            true
        }
        Complete::Held(_) => true,
        _ => false,
    }
}

/// It was sent, or is without having been held back. Returns for how long it was held back, in milliseconds. Does not sleep.
pub(crate) fn sent(number: usize) -> Option<i64> {
    with(number, |one| {
        let held = match one.complete {
            Complete::Going(since) => Some((since_boot() - since) / 1_000_000),
            Complete::No => None,
            Complete::Held(_) | Complete::Sent(_) => return None,
        };
        one.complete = Complete::Sent(held);
        held
    })
    .flatten()
}

/// The first from a number on that is chosen.
fn next(
    all: &RBTree<usize, Original>,
    from: usize,
    is_one: impl Fn(&Original) -> bool,
) -> Option<usize> {
    let mut chosen = all
        .iter()
        .filter(|(number, one)| **number >= from && is_one(one));
    chosen.next().map(|(number, _)| *number)
}

/// The number of one that is chosen, from a number on. Does not sleep, nor may `is_one`.
pub(crate) fn find(from: usize, is_one: impl Fn(&Original) -> bool) -> Option<usize> {
    next(&ORIGINALS.lock().all, from, is_one)
}

/// A reference to the client of one, unless it is just going. Does not sleep.
pub(crate) fn get(number: usize) -> Option<ClientRef> {
    with(number, |_| {
        // SAFETY: It is valid as long as it is in the table, whose lock is held: who frees it takes it out before.
        unsafe { NfsClient::from_raw(number as *mut _) }?.get()
    })
    .flatten()
}

/// RECLAIM_COMPLETE is not held back any more: who sends it, with a reference to the client. Does not sleep.
pub(crate) fn let_go(number: usize) -> Option<(Arc<Sender>, ClientRef)> {
    with(number, |one| {
        let Complete::Held(since) = one.complete else {
            return None;
        };
        // SAFETY: As in `get()`.
        let client = unsafe { NfsClient::from_raw(number as *mut _) }?.get()?;
        one.complete = Complete::Going(since);
        Some((one.sender.take()?, client))
    })
    .flatten()
}

/// A client is about to be freed, or nobody will say when it is. Does not sleep.
pub(crate) fn forget(number: usize) {
    let gone = {
        let mut originals = ORIGINALS.lock();
        let before = originals.all.get(&number);
        count(before.is_some_and(Original::is_incomplete), false);
        originals.all.remove_node(&number)
    };
    drop(gone);
}

/// Calls `f` with those that are mounted in a namespace. Does not sleep, nor may `f`.
pub(crate) fn each(net: Net<'_>, mut f: impl FnMut(usize, &Original)) {
    let originals = ORIGINALS.lock();
    let all = originals.all.iter();
    let own = all.filter(|(_, one)| one.net == net.cookie());
    own.for_each(|(number, one)| f(*number, one));
}

/// Are our functions in force in the NFS client? Does not sleep.
pub(crate) fn is_on() -> bool {
    ORIGINALS.lock().on
}
