// SPDX-License-Identifier: GPL-2.0

//! The scopes in grace, and the question that nfsd and lockd ask: may this request go on?
//!
//! While no scope is in grace, the answer costs one load. The table has a spinlock, as nobody
//! knows in what context a lock manager may ask; it is never held while memory is allocated.

use crate::base::clock::since_boot as now;
use crate::base::global::Global;
use crate::base::in_force;
use crate::base::net::Net;
use crate::base::setup::Setup;
use crate::base::siphash::SipHash;
use crate::scopes::grace::GraceTable;
use crate::scopes::place::Place;
use crate::scopes::request::Request;
use crate::scopes::scope::{Fsid, Scope};
use crate::scopes::scoped::Scoped;
use crate::scopes::subject::Subject;
use core::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use kernel::prelude::*;
use kernel::sync::{new_spinlock, SpinLock};

/// Scopes at most, of all net namespaces: a bound on memory.
const MAX_SCOPES: usize = 1 << 17;

/// How many scopes the log names when the livepatch is switched off.
const NAMED: usize = 8;

const SECOND: i64 = 1_000_000_000;

static SCOPES: Global<SpinLock<Option<GraceTable<SipHash>>>> = Global::new();

/// From this time on, no scope is in grace: [`GraceTable::deadline`], to be read without the
/// lock. A reader that sees an old value is one that was a moment earlier.
static DEADLINE: AtomicI64 = AtomicI64::new(0);
/// The same for local processes: [`GraceTable::local_deadline`], or 0 once somebody has seen that it is over.
static LOCAL_DEADLINE: AtomicI64 = AtomicI64::new(0);

/// Why nfsd's and lockd's question must not be answered by the kernel alone.
#[derive(Clone, Copy)]
pub(crate) enum Reason {
    /// A scope may be in grace.
    Scopes = 1,
    /// Some exports are exempt from a server's grace period.
    Exempt = 2,
    /// What is granted is put on record before.
    Holds = 4,
    /// There are clients that have rebooted, and may reclaim what they had.
    Former = 8,
    /// An original server takes no reclaims of something that is mounted of it.
    Refused = 16,
}

/// Those that there are now, a bit each.
static REASONS: AtomicU32 = AtomicU32::new(0);

/// There is a reason from now on, or none of this kind. Who calls this for one has a lock of its own. Does not sleep.
pub(crate) fn ask_for(reason: Reason, is_there: bool) {
    let bit = reason as u32;
    if is_there {
        REASONS.fetch_or(bit, Ordering::AcqRel);
    } else {
        REASONS.fetch_and(!bit, Ordering::AcqRel);
    }
}

/// Says what the table says now to those who ask without the lock, which is held.
fn publish(table: &GraceTable<SipHash>) {
    let deadline = table.deadline();
    if (DEADLINE.swap(deadline, Ordering::AcqRel) == 0) != (deadline == 0) {
        ask_for(Reason::Scopes, deadline != 0);
    }
    LOCAL_DEADLINE.store(table.local_deadline(), Ordering::Release);
}

/// Prepares this file's lock.
pub(crate) fn init_module(setup: &Setup) {
    SCOPES.init(setup, new_spinlock!(None, "nfsd_ha::SCOPES"));
    *SCOPES.lock() = Some(GraceTable::new(SipHash::random()));
}

/// Frees what this file keeps. For this module's exit.
pub(crate) fn exit_module() {
    let table = SCOPES.lock().take();
    LOCAL_DEADLINE.store(0, Ordering::Release);
    drop(table);
}

/// Is there any reason? Costs a load. Does not sleep.
#[inline]
pub(crate) fn any_reason() -> bool {
    REASONS.load(Ordering::Acquire) != 0
}

/// Is there this one? Does not sleep.
pub(crate) fn has_reason(reason: Reason) -> bool {
    REASONS.load(Ordering::Acquire) & reason as u32 != 0
}

/// Is the scope in grace that a request is about? While no scope is, `request` is not called.
///
/// Does not sleep.
pub(crate) fn in_grace<'a>(net: Net<'_>, request: impl FnOnce() -> Option<Request<'a>>) -> bool {
    if !any_in_grace() {
        return false;
    }
    let Some(subject) = request().and_then(|request| request.subject()) else {
        return false;
    };
    let mut table = SCOPES.lock();
    (*table).as_mut().is_some_and(|table| {
        let in_grace = table.ask(now(), net.cookie(), &subject);
        publish(table);
        in_grace
    })
}

/// Is there a scope in grace at all? Does not sleep.
fn any_in_grace() -> bool {
    let deadline = DEADLINE.load(Ordering::Acquire);
    deadline != 0 && now() < deadline
}

/// Are there local processes that may not lock something? Costs a load and a comparison if not, as each `fcntl()` and
/// `flock()` of the machine asks. Does not sleep.
pub(crate) fn any_local() -> bool {
    let deadline = LOCAL_DEADLINE.load(Ordering::Acquire);
    if deadline == 0 || now() < deadline {
        return deadline != 0;
    }
    // The next one need not read the clock. If there is another one by now, it stays.
    let (success, failure) = (Ordering::Relaxed, Ordering::Relaxed);
    let _ = LOCAL_DEADLINE.compare_exchange(deadline, 0, success, failure);
    false
}

/// May local processes take no locks on a device? Does not sleep.
pub(crate) fn keeps_out(device: &Fsid) -> bool {
    any_local()
        && SCOPES
            .lock()
            .as_ref()
            .is_some_and(|table| table.keeps_out(now(), device))
}

/// A net namespace ends: so do its grace periods. Does not sleep.
pub(crate) fn end_all(net: Net<'_>) {
    if let Some(table) = (*SCOPES.lock()).as_mut() {
        table.end_all(net.cookie());
        publish(table);
    }
}

/// Asks the table, unless no scope is in grace in any namespace. Does not sleep.
fn ask(question: impl FnOnce(&GraceTable<SipHash>, i64) -> bool) -> bool {
    any_in_grace()
        && SCOPES
            .lock()
            .as_ref()
            .is_some_and(|table| question(table, now()))
}

/// Is something in grace that a request is about, which does not count as one? Does not sleep.
pub(crate) fn covers(net: Net<'_>, subject: &Subject) -> bool {
    ask(|table, now| table.covers(now, net.cookie(), subject))
}

/// Is a file system in grace in a namespace? Does not sleep.
pub(crate) fn any_device(net: Net<'_>) -> bool {
    ask(|table, now| table.any_device(now, net.cookie()))
}

/// Is anything in grace in a namespace by command? Does not sleep.
pub(crate) fn any(net: Net<'_>) -> bool {
    ask(|table, now| table.list(now, net.cookie()).next().is_some())
}

/// Is an export in grace in a namespace that nobody has found since? Does not sleep.
pub(crate) fn any_missing(net: Net<'_>) -> bool {
    ask(|table, now| table.any_missing(now, net.cookie()))
}

/// Somebody has found an export in a namespace. Does not sleep.
pub(crate) fn found(net: Net<'_>, at: &Place) {
    if any_in_grace() {
        if let Some(table) = (*SCOPES.lock()).as_mut() {
            table.found(now(), net.cookie(), at);
        }
    }
}

/// Is a scope in grace by command? Does not sleep.
pub(crate) fn is_in_grace(net: u64, scope: &Scope) -> bool {
    let mut table = SCOPES.lock();
    (*table)
        .as_mut()
        .is_some_and(|table| table.is_in_grace(now(), net, scope))
}

/// A number that grows when somebody reclaims in a scope that is in grace by command. Does not sleep.
pub(crate) fn reclaims(net: u64, scope: &Scope) -> u64 {
    let mut table = SCOPES.lock();
    (*table)
        .as_mut()
        .map_or(0, |table| table.reclaims(net, scope))
}

/// Ends a scope's grace period. Does not sleep.
pub(crate) fn end(net: u64, scope: &Scope) {
    if let Some(table) = (*SCOPES.lock()).as_mut() {
        table.end(net, scope);
        publish(table);
    }
}

/// Changes the table, in which there is room for another scope. May sleep.
fn change<R>(f: impl Fn(&mut GraceTable<SipHash>, i64) -> Result<R>) -> Result<R> {
    loop {
        let wanted = {
            let mut guard = SCOPES.lock();
            let table = (*guard).as_mut().ok_or(ENODEV)?;
            match table.wanted(now()) {
                Some(wanted) => wanted,
                None => {
                    let result = f(table, now());
                    publish(table);
                    return result;
                }
            }
        };
        if wanted > MAX_SCOPES {
            return Err(ENOSPC);
        }
        let bigger = GraceTable::with_room(SipHash::random(), wanted)?;
        let old = match (*SCOPES.lock()).as_mut() {
            Some(table) => table.adopt(bigger, now()),
            None => return Err(ENODEV),
        };
        drop(old);
    }
}

/// A scope that is held in grace while its locks are released: no new lock is granted there,
/// with NLM or NFSv4.
pub(crate) struct Hold {
    net: u64,
    scope: Scope,
}

impl Hold {
    /// Holds a scope. Fails with `ENOMEM`, and with `ENODEV` unless all threads keep to it. May sleep.
    pub(crate) fn new(net: Net<'_>, scope: Scope) -> Result<Self> {
        let net = net.cookie();
        change(|table, _| {
            in_force::check()?;
            table.hold(net, &scope)
        })?;
        Ok(Hold { net, scope })
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(table) = (*SCOPES.lock()).as_mut() {
            table.let_go(self.net, &self.scope);
            publish(table);
        }
    }
}

/// Begins or extends a scope's grace period, to end in `seconds`; local processes are kept out of the device `local`,
/// if any. Returns whether it was in grace. Fails with `ENOMEM`, with `ENOSPC` if there are too many scopes already (65,536 fit), and with `ENODEV` unless all threads
/// keep to it. May sleep.
pub(crate) fn start(net: u64, scope: &Scope, seconds: u32, local: Option<Fsid>) -> Result<bool> {
    change(|table, now| {
        // Under the lock: what begins before switching off is what `report_ending()` finds.
        in_force::check()?;
        let was = table.start(now, net, scope, now + i64::from(seconds) * SECOND)?;
        table.keep_out(net, scope, local);
        Ok(was)
    })
}

/// The first scopes in grace by command, in all namespaces, and how many there are. Does not sleep.
fn first_running() -> ([Option<Scoped>; NAMED], usize) {
    let (mut first, mut count) = ([None; NAMED], 0);
    if let Some(table) = SCOPES.lock().as_ref() {
        for entry in table.all(now()) {
            if let Some(place) = first.get_mut(count) {
                *place = Some(*entry);
            }
            count += 1;
        }
    }
    (first, count)
}

/// Says in the log which grace periods end, as the livepatch is being switched off. Does not sleep.
///
/// They stay in the table: threads that still run our functions keep to them, and all do if this is reversed.
pub(crate) fn report_ending() {
    let (first, count) = first_running();
    for entry in first.iter().flatten() {
        pr_warn!(
            "switched off: the grace period of {} ends, {} s early\n",
            format_args!("{}", entry.scope),
            seconds_left(entry)
        );
    }
    if count > NAMED {
        pr_warn!(
            "switched off: so do those of {} other scopes\n",
            count - NAMED
        );
    }
}

/// Says in the log that grace periods go on, as the livepatch is in force again. Does not sleep.
pub(crate) fn report_resumed() {
    let (_, count) = first_running();
    if count > 0 {
        pr_warn!(
            "switched on again: {count} grace periods go on, and new locks may have been granted meanwhile\n"
        );
    }
}

/// The scopes of a namespace that are in grace and that `want` likes. Fails with `ENOMEM`. May sleep; `want`
/// is asked under the spinlock.
pub(crate) fn list(net: u64, want: impl Fn(&Scoped) -> bool) -> Result<KVVec<Scoped>> {
    let mut found = KVVec::new();
    let now = now();
    loop {
        let guard = SCOPES.lock();
        let table = guard.as_ref().ok_or(ENODEV)?;
        let entries = || table.list(now, net).filter(|entry| want(entry));
        let count = entries().count();
        if count <= found.capacity() {
            for entry in entries() {
                found.push(*entry, GFP_ATOMIC)?;
            }
            return Ok(found);
        }
        drop(guard);
        found = KVVec::with_capacity(count, GFP_KERNEL)?;
    }
}

/// How many seconds a scope's grace period still lasts, rounded up.
pub(crate) fn seconds_left(entry: &Scoped) -> i64 {
    (entry.left(now()) + SECOND - 1) / SECOND
}
