// SPDX-License-Identifier: GPL-2.0

//! Releasing the NLM locks, blocked locks and shares of a scope: all of them, or none.
//!
//! 1. The caller holds the scope in grace: nobody gets a lock there, nor reclaims one, unless the
//!    scope or the whole server is in grace anyway.
//! 2. Its files are pinned, and lockd finishes what it began with them before.
//! 3. The blocked locks on these files are parked, also other clients', so that nobody gets a
//!    lock as soon as it is removed. One that was granted is not, before its lock is gone: its
//!    client's answer must find it.
//! 4. It is decided whether the files can be let go of: nobody else may use one.
//! 5. All memory that is needed is there. The locks are removed. If a file system refuses, those
//!    that were removed are set again, and the parked blocks wait again.
//! 6. The shares are taken; from here on nothing fails.
//! 7. The blocked locks and the pins of the files are given up, which closes the files.
//!
//! Clients stay monitored by rpc.statd, as they must be told that their locks are gone.
//!
//! What can come between the removal of a lock and its return: a process of this machine; an NFSv4
//! request that was past its look at the grace period when the scope was held, and an NLM request
//! to unlock that was so; for `ip:`, a client of another address.
//!
//! What is granted meanwhile is released in another round: a reclaim, where the scope or the whole
//! server is in grace, or a share, for which lockd looks at the grace period too early or, for one
//! that reclaims, not at all. If that fails, the answer says what is left.

use crate::base::amount::Amount;
use crate::base::net::Net;
use crate::base::tasks;
use crate::base::text::Text;
use crate::base::user;
use crate::nlm::blocks::Block;
use crate::nlm::clients;
use crate::nlm::host::Host;
use crate::nlm::lockd::{Lockd, NlmFile};
use crate::nlm::locks::HeldLock;
use crate::nlm::openers;
use crate::nlm::shares;
use crate::scopes::place::Place;
use crate::scopes::scope::{Fsid, Scope};
use core::fmt;
use core::iter::Peekable;
use core::net::IpAddr;
use core::ptr;
use kernel::current;
use kernel::prelude::*;
use kernel::rbtree::RBTree;
use kernel::time::{delay::fsleep, Delta, Instant, Monotonic};

/// How long to wait, in each step, for lockd, and for callbacks that were given up, to let go of
/// the files; not counted is `synchronize_rcu_tasks()`, for which no task can be kept waiting.
const PATIENCE: Delta = Delta::from_secs(5);
/// Rounds at most.
const ROUNDS: usize = 4;
/// How long to wait between looks.
const PAUSE: Delta = Delta::from_millis(10);

/// What was released.
#[derive(Default)]
pub(crate) struct Released {
    pub(crate) locks: usize,
    pub(crate) blocks: usize,
    pub(crate) shares: usize,
    pub(crate) files: usize,
    /// How much all of this is.
    pub(crate) amount: Amount,
    clients: RBTree<IpAddr, ()>,
    pub(crate) client_count: usize,
    /// What came meanwhile, and could not be released, and why.
    pub(crate) left: Option<Text>,
}

impl Released {
    /// Notes a client.
    fn client(&mut self, client: Option<IpAddr>) -> Result {
        if let Some(client) = client.filter(|client| self.clients.get(client).is_none()) {
            self.clients.try_create_and_insert(client, (), GFP_KERNEL)?;
            self.client_count += 1;
        }
        Ok(())
    }

    /// Adds what was released later.
    fn add(&mut self, later: &Released) -> Result {
        self.locks += later.locks;
        self.blocks += later.blocks;
        self.shares += later.shares;
        self.files += later.files;
        self.amount += later.amount;
        for (client, ()) in &later.clients {
            self.client(Some(*client))?;
        }
        Ok(())
    }
}

/// Why a scope cannot be released: a file, and a reason.
fn busy(file: &NlmFile<'_>, reason: impl fmt::Display) -> Result<Text> {
    user::because(&file.path(), reason)
}

/// How it went: what was released, or what is in the way.
type Outcome = Result<Released, Text>;

/// A blocked lock on a file.
struct Waiting<'a> {
    file: &'a NlmFile<'a>,
    block: Block<'a>,
    /// It is of the scope.
    ours: bool,
}

/// Releases a scope that is held, and what came there meanwhile. May sleep.
///
/// Of a device in `leave`, the caller knows that nobody else uses anything there.
///
/// Fails with `EINTR` after a signal, and with `ENOMEM`; the locks are then as they were.
pub(crate) fn release(
    lockd: &Lockd,
    net: Net<'_>,
    scope: Scope,
    leave: &[Fsid],
) -> Result<Outcome> {
    let mut total = match round(lockd, net, scope, leave)? {
        Ok(released) => released,
        Err(busy) => return Ok(Err(busy)),
    };
    for _ in 1..ROUNDS {
        match round(lockd, net, scope, leave) {
            Ok(Ok(released)) if released.files == 0 => break,
            // Without memory, a client is not counted.
            Ok(Ok(released)) => drop(total.add(&released)),
            Ok(Err(busy)) => {
                total.left = Some(busy);
                break;
            }
            Err(_) => break,
        }
    }
    Ok(Ok(total))
}

/// Is a host's client of a scope, as far as its addresses say?
pub(crate) fn is_of(host: Host<'_>, net: Net<'_>, scope: &Scope) -> bool {
    host.net() == net
        && match scope {
            Scope::Export(_) => true,
            Scope::Server(address) => host.server() == Some(*address),
        }
}

/// May a file at a place be of a scope, as far as that says?
pub(crate) fn may_be_of(scope: &Scope, place: &Place) -> bool {
    match scope {
        Scope::Export(_) => scope.covers(place),
        Scope::Server(_) => true,
    }
}

/// Releases what there is of a scope, or nothing.
fn round(lockd: &Lockd, net: Net<'_>, scope: Scope, leave: &[Fsid]) -> Result<Outcome> {
    let of_scope = |host: Host<'_>| is_of(host, net, &scope);
    let mut files = KVVec::new();
    for file in lockd.files(net, |place| may_be_of(&scope, place))? {
        if file.has_shares()
            || !file.blocks(of_scope)?.is_empty()
            || !file.locks(of_scope)?.is_empty()
        {
            files.push(file, GFP_KERNEL)?;
        }
    }
    let began = Instant::<Monotonic>::now();
    for file in &files {
        while file.is_in_use() {
            if let Err(busy) = pause(began, file, "a request does not end")? {
                return Ok(Err(busy));
            }
        }
    }
    let mut waiting = KVVec::new();
    for file in &files {
        for block in file.blocks(|_| true)? {
            let ours = of_scope(block.host());
            waiting.push(Waiting { file, block, ours }, GFP_KERNEL)?;
        }
    }
    let result = attempt(lockd, net, &scope, leave, &files, &mut waiting, of_scope);
    let done = matches!(result, Ok(Ok(_)));
    if done {
        // Whoever was granted a lock that is gone now waits for its answer to that no more.
        let _ = park(&mut waiting, true);
    }
    for Waiting { file, block, ours } in waiting {
        if done && ours {
            lose(file, block.host());
        } else {
            block.unpark();
        }
    }
    result
}

/// Releases these files' locks and shares. If it fails, the locks are as they were; in any case
/// blocked locks are parked.
fn attempt(
    lockd: &Lockd,
    net: Net<'_>,
    scope: &Scope,
    leave: &[Fsid],
    files: &[NlmFile<'_>],
    waiting: &mut [Waiting<'_>],
    of_scope: impl Fn(Host<'_>) -> bool,
) -> Result<Outcome> {
    let mut released = Released::default();
    if let Err(busy) = park(waiting, false)? {
        return Ok(Err(busy));
    }
    if let Some(file) = files.iter().find(|file| file.locks_are_deferred()) {
        let reason = "its file system answers lock requests later";
        return Ok(Err(busy(file, reason)?));
    }
    if let Scope::Export(_) = scope {
        let mut others = KVVec::new();
        let stays =
            |file: &&NlmFile<'_>| !file.place(net).device.is_some_and(|d| leave.contains(&d));
        for file in files.iter().filter(stays) {
            others.push(file, GFP_KERNEL)?;
        }
        if let Some(user) = openers::find(&others)? {
            return Ok(Err(user.describe()?));
        }
    }
    for client in waiting
        .iter()
        .filter(|w| w.ours)
        .map(|w| w.block.host().client())
    {
        released.blocks += 1;
        released.client(client)?;
    }
    let mut locks = KVVec::new();
    for file in files {
        for lock in file.locks(&of_scope)? {
            released.client(lock.host().client())?;
            locks.push(lock, GFP_KERNEL)?;
        }
    }
    if current!().signal_pending() {
        return Err(EINTR);
    }
    for (at, lock) in locks.iter().enumerate() {
        if let Err(e) = lock.unlock() {
            // This one, too: the file system may have removed it before it failed.
            put_back(&locks[..=at]);
            let (why, errno) = ("a lock cannot be removed, error", e.to_errno());
            return Ok(Err(busy(lock.file(), format_args!("{why} {errno}"))?));
        }
    }
    let shares = match take_shares(lockd, files, &of_scope) {
        Ok(Ok(shares)) => shares,
        Ok(Err(busy)) => {
            put_back(&locks);
            return Ok(Err(busy));
        }
        Err(e) => {
            put_back(&locks);
            return Err(e);
        }
    };
    for lock in &locks {
        lose(lock.file(), lock.host());
        released.amount += Amount::of_range(lock.range());
    }
    for share in &shares {
        released.amount += share.amount();
        // Without memory it is not counted.
        let _ = released.client(share.client());
    }
    (released.locks, released.shares) = (locks.len(), shares.len());
    // All of them are in the order of the files.
    let mut locked = locks.iter().peekable();
    let mut blocked = waiting.iter().filter(|w| w.ours).peekable();
    let mut shared = shares.iter().peekable();
    for file in files {
        let had_any = [
            take_of(&mut locked, |lock| ptr::eq(lock.file(), file)),
            take_of(&mut blocked, |waiting| ptr::eq(waiting.file, file)),
            take_of(&mut shared, |share| share.is_of(file)),
        ];
        released.files += usize::from(had_any.contains(&true));
    }
    Ok(Ok(released))
}

/// Takes those that come first of what is wanted; whether there was any.
fn take_of<I: Iterator>(all: &mut Peekable<I>, is_wanted: impl Fn(&I::Item) -> bool) -> bool {
    let mut any = false;
    while all.next_if(&is_wanted).is_some() {
        any = true;
    }
    any
}

/// A client has lost something on a file: it must be notified, also when lockd has forgotten it.
fn lose(file: &NlmFile<'_>, host: Host<'_>) {
    host.handle().keep_monitored();
    clients::remember(host, &file.place(host.net()));
}

/// Parks the blocked locks, and waits until nobody works on them: those that were not granted, or
/// with `granted` those of the scope.
fn park(waiting: &mut [Waiting<'_>], granted: bool) -> Result<Result<(), Text>> {
    let began = Instant::<Monotonic>::now();
    let mut settled = false;
    loop {
        let mut busy = None;
        for one in waiting.iter_mut().filter(|one| one.ours || !granted) {
            if !one.block.is_settled(granted) {
                one.block.park(granted);
                busy = Some(one.file);
            }
        }
        if busy.is_none() && (settled || waiting.is_empty()) {
            return Ok(Ok(()));
        }
        // In 7.2, lockd may have taken a block from the list and not yet have a reference to it,
        // or have given it up and not be done. It does not sleep in between, so that a second
        // look sees it.
        // It does not wait for who sleeps, so nobody can wait for our locks.
        tasks::wait_for_all();
        settled = busy.is_none();
        let Some(file) = busy else {
            continue;
        };
        if let Err(busy) = pause(began, file, "a callback to a client does not end")? {
            return Ok(Err(busy));
        }
    }
}

/// Takes the shares of those files that have some.
fn take_shares(
    lockd: &Lockd,
    files: &[NlmFile<'_>],
    of_scope: impl Fn(Host<'_>) -> bool,
) -> Result<Result<KVVec<shares::Share>, Text>> {
    let mut shared = KVVec::new();
    for file in files.iter().filter(|file| file.has_shares()) {
        shared.push(file, GFP_KERNEL)?;
    }
    let began = Instant::<Monotonic>::now();
    loop {
        match shares::take(lockd, &shared, &of_scope)? {
            Ok(shares) => return Ok(Ok(shares)),
            Err(at) => {
                if let Err(busy) = pause(began, shared[at], "a request does not end")? {
                    return Ok(Err(busy));
                }
            }
        }
    }
}

/// Waits a moment, unless this has taken too long. Fails with `EINTR` after a signal.
fn pause(began: Instant<Monotonic>, file: &NlmFile<'_>, reason: &str) -> Result<Result<(), Text>> {
    if began.elapsed() > PATIENCE {
        return Ok(Err(busy(file, reason)?));
    }
    if current!().signal_pending() {
        return Err(EINTR);
    }
    fsleep(PAUSE);
    Ok(Ok(()))
}

/// Sets removed locks again, but those of clients that have restarted since.
fn put_back(removed: &[HeldLock<'_>]) {
    for lock in removed.iter().filter(|lock| !lock.is_stale()) {
        if let Err(e) = lock.relock() {
            let mut path = Text::default();
            let _ = lock.file().path().write(&mut path);
            let ((start, end), path) = (lock.range(), path.as_str());
            pr_err!(
                "{path}: lock {start}-{end} is lost, error {}\n",
                e.to_errno()
            );
        }
    }
}
