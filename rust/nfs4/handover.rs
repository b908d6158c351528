// SPDX-License-Identifier: GPL-2.0

//! Byte-range locks change hands: what a former self had locked is its new self's when that reclaims it, in place. There is no
//! moment without a lock, and who waits for it goes on to wait.
//!
//! ```text
//!   nfsd4_lock() ---> locks_in_grace()   may_lock(): the lock gets its new owner
//!        |        --> vfs_lock_file()    finds a lock of that owner's
//!        v
//!   settle(): it was granted, and what the lock had beyond that is noted; or the lock goes back
//! ```
//!
//! Which of two locks it had that both cover what is reclaimed is not known: it is the shorter one.
//!
//! nfsd may yet fail for want of memory when the lock has its new owner, and then lets go of all that a new lock owner has on
//! the file. So its stateid is pinned until the lock has gone back.
//!
//! A file system that keeps locks of its own would not hear of it: there nothing changes hands.
//!
//! Lock order: a stateid's `st_mutex`, the table of former selves, [`CLAIMS`]; nfsd's locks.

use crate::base::global::Global;
use crate::base::posix_locks::{LockList, PosixLock};
use crate::base::private;
use crate::base::setup::Setup;
use crate::base::tasks;
use crate::nfs4::former::{FormerSelf, Rest, MAX_RESTS};
use crate::nfs4::formers::{self, FormerSelves, Locked, Table, MAX_OF_CLIENT};
use crate::nfs4::lock_owner::{client_of, LockOwner, NfsdFile};
use crate::nfs4::nfs4_client::Nfs4Client;
use crate::nfs4::stateids::{LockTarget, PinnedStateid};
use crate::scopes::compound::{By, Compound, LockOp, Mark};
use core::ffi::c_void;
use core::ptr::{self, NonNull};
use kernel::current;
use kernel::prelude::*;
use kernel::sync::{new_mutex, Mutex};

type Range = (i64, i64);

/// Lock owners of former selves at most whose locks are let go of for one LOCK in a grace period.
const MAX_OWNERS: usize = 64;

/// A LOCK that is being processed, by its task, and what it is about once that is known.
type Slot = (usize, Option<Claim>);

/// Those of servers with former selves.
static CLAIMS: Global<Mutex<KVec<Slot>>> = Global::new();

/// Prepares this file's lock.
pub(crate) fn init_module(setup: &Setup) {
    CLAIMS.init(setup, new_mutex!(KVec::new(), "nfsd_ha::CLAIMS"));
}

/// Frees what was allocated for them. For this module's exit: no LOCK is being processed.
pub(crate) fn exit_module() {
    *CLAIMS.lock() = KVec::new();
}

/// A LOCK of a client with former selves, all of which are used meanwhile.
struct Claim {
    stateid: NonNull<private::nfs4_stid>,
    owner: LockOwner,
    file: NfsdFile,
    is_write: bool,
    range: Range,
    /// What has changed hands for it.
    handed: Option<Handed>,
}

// SAFETY: It is the task's that has made it; a stateid that is pinned may be let go of by any.
unsafe impl Send for Claim {}

/// A lock that has changed hands, and how it was. Its reference to the old owner is kept.
struct Handed {
    /// The number of the former self.
    number: u64,
    lock: NonNull<private::file_lock>,
    owner: *mut c_void,
    open: *mut private::file,
    range: Range,
}

fn task() -> usize {
    current!().as_ptr().addr()
}

/// A LOCK begins. Fails with `ENOMEM`. May sleep.
pub(crate) fn begin() -> Result {
    CLAIMS.lock().push((task(), None), GFP_KERNEL)?;
    Ok(())
}

/// Is the current task's LOCK one that has begun, and that has no claim yet?
fn is_to_claim() -> bool {
    let claims = CLAIMS.lock();
    claims
        .iter()
        .any(|(one, slot)| *one == task() && slot.is_none())
}

/// May a client reclaim what its LOCK is about, as a former self of it had that? Nothing if it has none. If so, that is its now,
/// until [`settle`].
///
/// `in_grace` is whether it may reclaim as others do, too. May sleep.
pub(crate) fn may_lock(
    client: &Nfs4Client,
    compound: &Compound<'_>,
    in_grace: bool,
) -> Option<bool> {
    if !formers::may_have(client) {
        return None;
    }
    let op = compound.lock()?;
    let reclaims = compound.reclaims();
    let mark = compound.reclaim_mark();
    if reclaims && mark > 1 {
        // nfsd asks twice.
        return Some(mark == Mark::Had as u32);
    }
    if !is_to_claim() {
        // The same, or the livepatch has been switched on in the midst of it.
        return None;
    }
    let selves = formers::selves().ok()?;
    let mark = claim(&selves, client, &op, reclaims, in_grace)?;
    if !reclaims {
        return None;
    }
    compound.mark_reclaim(mark);
    Some(mark == Mark::Had)
}

/// Finds out what a LOCK is about, and has it change hands. Nothing if its client has no former self, or if nobody has to know.
fn claim(
    selves: &FormerSelves,
    client: &Nfs4Client,
    op: &LockOp<'_>,
    reclaims: bool,
    in_grace: bool,
) -> Option<Mark> {
    let hash = selves.hash(client);
    let mut table = selves.lock();
    let mut is_about_any = false;
    for former in table.of(client, hash) {
        is_about_any |= reclaims || !former.rests.is_empty();
        // For what is left of a lock on both sides, and in the middle of another rest.
        if former.is_revoked || former.rests.reserve(3, GFP_KERNEL).is_err() {
            return Some(Mark::NotNow);
        }
    }
    if !is_about_any {
        return None;
    }
    let LockTarget {
        stateid,
        owner,
        file,
    } = target(client, op)?;
    let mut claim = Claim {
        stateid: stateid.into_raw(),
        owner,
        file,
        is_write: op.is_write,
        range: op.range,
        handed: None,
    };
    let mut mark = Mark::NotHad;
    if reclaims {
        let in_rests = table
            .of(client, hash)
            .find(|former| claim.is_in_rests(former));
        if let Some(former) = in_rests {
            former.reclaimed();
            mark = Mark::Had;
        } else if claim.take(&mut table, client, hash) || claim.is_there(table.of(client, hash)) {
            mark = Mark::Had;
        }
    }
    table.of(client, hash).for_each(|former| former.users += 1);
    if reclaims && in_grace && mark == Mark::NotHad {
        claim.let_go(table, client, hash, selves);
    }
    if let Some((_, slot)) = CLAIMS.lock().iter_mut().find(|(one, _)| *one == task()) {
        *slot = Some(claim);
    }
    Some(mark)
}

/// What a client's LOCK is about. Takes `cl_lock`; does not sleep.
fn target<'k>(client: &'k Nfs4Client, op: &LockOp<'_>) -> Option<LockTarget<'k>> {
    let state = client.lock_state();
    let (By::New(number, _) | By::Known(number)) = op.by;
    let stateid = state.with_number(number)?;
    match op.by {
        By::New(_, owner) => stateid.locks_of(owner)?.lock_target(client, op.is_write),
        By::Known(_) => stateid.lock_target(client, op.is_write),
    }
}

/// A LOCK of a client has ended. May sleep.
pub(crate) fn settle(client: &Nfs4Client, granted: bool) {
    let claim = {
        let mut claims = CLAIMS.lock();
        let Some(at) = claims.iter().position(|(one, _)| *one == task()) else {
            return;
        };
        claims.remove(at).ok().and_then(|(_, claim)| claim)
    };
    if let (Some(claim), Ok(selves)) = (claim, formers::selves()) {
        claim.settle(&selves, client, granted);
    }
}

fn covers(outer: Range, inner: Range) -> bool {
    outer.0 <= inner.0 && inner.1 <= outer.1
}

fn overlaps(one: Range, other: Range) -> bool {
    one.0 <= other.1 && other.0 <= one.1
}

/// A former self of a client, to be compared while a spinlock is held.
#[derive(Clone, Copy)]
struct Own {
    client: *mut private::nfs4_client,
    number: u64,
    /// There is room for what is left of a lock.
    has_room: bool,
}

impl Own {
    /// All of a client.
    fn all(table: &mut Table, client: &Nfs4Client, hash: u64) -> [Own; MAX_OF_CLIENT + 1] {
        let mut all = [Own {
            client: ptr::null_mut(),
            number: 0,
            has_room: false,
        }; MAX_OF_CLIENT + 1];
        for (own, former) in all.iter_mut().zip(table.of(client, hash)) {
            *own = Own {
                client: former.client().as_ptr(),
                number: former.number,
                has_room: former.rests.len() + 2 < MAX_RESTS,
            };
        }
        all
    }
}

/// What is left of a range on both sides of another one.
fn beside(range: Range, of: Range) -> [Option<Range>; 2] {
    [
        (range.0 < of.0).then(|| (range.0, of.0 - 1)),
        (of.1 < range.1).then(|| (of.1 + 1, range.1)),
    ]
}

impl Claim {
    /// Something that its owner has on its file, and has not reclaimed.
    fn rest(&self, range: Range) -> Rest {
        Rest {
            owner: self.owner.clone(),
            file: self.file.clone(),
            range,
            is_write: self.is_write,
        }
    }

    /// The locks of its file, if there were ever any.
    fn locks(&self) -> Option<LockList<'_>> {
        // SAFETY: The file is open, which keeps its inode.
        unsafe { LockList::of(self.file.inode()) }
    }

    fn is_same(&self, rest: &Rest) -> bool {
        rest.owner.as_ptr() == self.owner.as_ptr() && rest.file.inode() == self.file.inode()
    }

    /// Is it a part of what its owner has, but has not reclaimed?
    fn is_in_rests(&self, former: &FormerSelf) -> bool {
        let is_it = |rest: &Rest| {
            self.is_same(rest) && rest.is_write == self.is_write && covers(rest.range, self.range)
        };
        former.rests.iter().any(is_it)
    }

    /// The kind of lock that it is about, as the VFS has it.
    fn kind(&self) -> u32 {
        match self.is_write {
            true => private::F_WRLCK,
            false => private::F_RDLCK,
        }
    }

    /// Has its owner reclaimed it before, all of it? Who is told twice of a reboot, or whose recovery begins anew, reclaims all
    /// again. Does not sleep.
    fn is_there<'a>(&self, mut formers: impl Iterator<Item = &'a mut FormerSelf>) -> bool {
        let is_left = |rest: &Rest| self.is_same(rest) && overlaps(rest.range, self.range);
        if formers.any(|former| former.rests.iter().any(is_left)) {
            return false;
        }
        let owner = self.owner.as_ptr();
        let is_it = |lock: PosixLock<'_>| {
            lock.owner == owner
                && u32::from(lock.kind) == self.kind()
                && covers(lock.range, self.range)
        };
        self.locks().is_some_and(|list| list.locks().any(is_it))
    }

    /// Has a lock of a former self's that covers it change hands: the shortest, as that is the one that it had. Returns whether
    /// there is one. Does not sleep.
    ///
    /// There is none where its owner has locked something by itself already, as the two could not be told apart any more.
    fn take(&mut self, table: &mut Table, client: &Nfs4Client, hash: u64) -> bool {
        if self.file.has_own_locks() {
            return false;
        }
        let kind = self.kind();
        let formers = Own::all(table, client, hash);
        let Some(list) = self.locks() else {
            return false;
        };
        let length = |range: Range| range.1.abs_diff(range.0);
        let mut best: Option<Handed> = None;
        for lock in list.locks() {
            if u32::from(lock.kind) != kind || !covers(lock.range, self.range) {
                continue;
            }
            let Some(of) = client_of(&lock) else {
                continue;
            };
            if best
                .as_ref()
                .is_some_and(|best| length(best.range) <= length(lock.range))
            {
                continue;
            }
            let is_whole = lock.range == self.range;
            let is_it = |one: &&Own| one.client == of && (is_whole || one.has_room);
            if let Some(former) = formers.iter().find(is_it) {
                best = Some(Handed {
                    number: former.number,
                    lock: lock.raw,
                    owner: lock.owner,
                    open: lock.open,
                    range: lock.range,
                });
            }
        }
        let Some(handed) = best else {
            return false;
        };
        let owner = self.owner.as_ptr();
        let is_own =
            |lock: PosixLock<'_>| lock.owner == owner && overlaps(lock.range, handed.range);
        if list.locks().any(is_own) {
            return false;
        }
        // SAFETY: It was found in the list, as one of nfsd's. The new owner is one, too, of which the lock gets a reference;
        // that to the old one is kept. The file is open for what the lock is for, and stays so as long as the stateid, for which
        // nfsd is about to note that.
        unsafe { list.give(handed.lock, self.owner.clone().into_raw(), self.file.open()) };
        drop(list);
        self.handed = Some(handed);
        true
    }

    /// Unlocks what former selves have locked of its range: what reclaims by a grace period is not to meet it. May sleep.
    fn let_go(&self, table: Locked<'_>, client: &Nfs4Client, hash: u64, selves: &FormerSelves) {
        if self.file.has_own_locks() {
            return;
        }
        let mut table = table;
        for _ in 0..MAX_OWNERS {
            let formers = Own::all(&mut table, client, hash);
            let found = self.locks().and_then(|list| {
                let mut locks = list.locks().filter(|lock| overlaps(lock.range, self.range));
                let lock = locks.find(|lock| {
                    client_of(lock).is_some_and(|of| formers.iter().any(|one| one.client == of))
                })?;
                // SAFETY: A lock has a reference to its owner, whose client is the former self's, which is used.
                unsafe { Some(LockOwner::get(NonNull::new(lock.owner.cast())?)) }
            });
            drop(table);
            match found {
                Some(owner) if self.file.unlock(&owner, self.range).is_ok() => {}
                _ => return,
            }
            table = selves.lock();
        }
    }

    /// It was granted, or not. May sleep.
    fn settle(mut self, selves: &FormerSelves, client: &Nfs4Client, granted: bool) {
        let (hash, mut table) = (selves.hash(client), selves.lock());
        let is_back = self.handed.is_some() && !granted;
        if let Some(handed) = self.handed.take() {
            if let Some(former) = table.numbered(handed.number) {
                // Whose it was is there as long as the former self is used.
                drop(match granted {
                    true => self.keep(former, &handed),
                    false => self.give_back(&handed),
                });
            }
        }
        for former in table.of(client, hash) {
            if granted {
                self.is_reclaimed_of(former);
            }
            former.users -= 1;
        }
        selves.notify();
        drop(table);
        if is_back {
            // Who reads /proc/locks may have seen our file as the lock's.
            tasks::synchronize_rcu();
        }
        // SAFETY: It was made of one, once, and its client is that of the request that is being processed.
        drop(unsafe { PinnedStateid::from_raw(self.stateid) });
    }

    /// The lock stays its new owner's. Returns the old one. Does not sleep.
    fn keep(&self, former: &mut FormerSelf, handed: &Handed) -> Option<LockOwner> {
        former.reclaimed();
        former.gives();
        for range in beside(handed.range, self.range).into_iter().flatten() {
            // There is room, so this does not fail.
            let _ = former.rests.push(self.rest(range), GFP_ATOMIC);
        }
        // SAFETY: The lock's reference to it is ours; the owner's client is the former self's, which stays.
        unsafe { LockOwner::from_raw(handed.owner) }
    }

    /// The lock is its old owner's again, if it is still there as it was. Returns the one that has it no more. Does not sleep.
    fn give_back(&self, handed: &Handed) -> Option<LockOwner> {
        let owner = self.owner.as_ptr();
        let is_it = |lock: &PosixLock<'_>| {
            lock.raw == handed.lock && lock.owner == owner && lock.range == handed.range
        };
        let list = self.locks();
        let back = list.filter(|list| list.locks().any(|lock| is_it(&lock)));
        let goes = match &back {
            Some(list) => {
                // SAFETY: It is in the list. The reference to the old owner was the lock's, and so is the file.
                unsafe { list.give(handed.lock, handed.owner, handed.open) };
                owner
            }
            None => handed.owner,
        };
        drop(back);
        // SAFETY: The lock has that reference no more. Both owners' clients are there.
        unsafe { LockOwner::from_raw(goes) }
    }

    /// What its owner has locked now is no rest any more. May sleep.
    fn is_reclaimed_of(&self, former: &mut FormerSelf) {
        let mut at = 0;
        while let Some(rest) = former.rests.get_mut(at) {
            if !self.is_same(rest) || !overlaps(rest.range, self.range) {
                at += 1;
                continue;
            }
            let is_write = rest.is_write;
            let left = match beside(rest.range, self.range) {
                [None, None] => {
                    let _ = former.rests.remove(at);
                    continue;
                }
                [Some(first), second] => {
                    rest.range = first;
                    second
                }
                [None, Some(second)] => {
                    rest.range = second;
                    None
                }
            };
            if let Some(range) = left {
                let rest = Rest {
                    is_write,
                    ..self.rest(range)
                };
                if former.rests.push(rest, GFP_KERNEL).is_err() {
                    pr_warn!("no memory: what was not reclaimed of a lock stays locked\n");
                }
            }
            at += 1;
        }
    }
}
