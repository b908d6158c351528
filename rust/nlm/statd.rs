// SPDX-License-Identifier: GPL-2.0

//! Which clients rpc.statd has yet to monitor, and who waits for that.
//!
//! A work item has rpc.statd monitor one client after the other, first those that lockd's thread waits for. So
//! lockd's one thread need not wait as long as rpc.statd takes, and the recorder works at the same time. The work
//! item ends, and the connection with it, soon after the last call: nothing stays that keeps a net namespace,
//! or knows where rpc.statd was.
//!
//! ```text
//!   ask() ---> in the queue ---> called ---> monitored: leaves the queue, whoever waits is woken
//!                  ^               |
//!                  |               v
//!                  +--- kept <-- failed ---> not kept: leaves the queue
//! ```
//!
//! A call is in the queue only while lockd has the host that it was made for, and so the client's handle and the
//! namespace: [`forget`] takes it out. That is why there are none unless all threads run our functions, but those
//! that are being made, with a reference to the handle, or that somebody waits for, who has the host.
//!
//! Lock order: lockd's `nlm_host_mutex`, then [`Statd::state`].

use crate::base::clock::Moment;
use crate::base::global::Global;
use crate::base::net::Net;
use crate::base::private::{self, nsm_handle};
use crate::base::setup::Setup;
use crate::nlm::host::{Handle, Host, NODENAME};
use crate::nlm::statd_call::{self, Connection, Procedure};
use core::ptr::{self, NonNull};
use kernel::ffi::c_char;
use kernel::prelude::*;
use kernel::sync::lock::{mutex::MutexBackend, Guard};
use kernel::sync::{new_condvar, new_mutex, CondVar, CondVarTimeoutResult, Mutex};
use kernel::time::{delay::fsleep, msecs_to_jiffies, Delta};
use kernel::workqueue;

/// How long lockd's thread waits for rpc.statd, in milliseconds: nobody else gets a lock in this time. rpc.statd
/// looks up the name of a new client, which takes ten seconds where no name server answers.
const TIMEOUT: u32 = 15_000;
/// How long the connection is kept for another call.
const LINGER: u32 = 100;
/// The time between two calls for clients that nobody waits for, when one has failed.
const REST: u32 = 1_000;
/// How long a client that is on record waits for rpc.statd, which mostly answers sooner.
const MOMENT: u32 = 10;

static STATD: Global<Statd> = Global::new();

#[pin_data]
struct Statd {
    #[pin]
    state: Mutex<State>,
    /// Something has come into the queue, or was answered.
    #[pin]
    changed: CondVar,
}

/// What rpc.statd is asked.
struct State {
    calls: KVVec<Call>,
    /// The number of the last one.
    number: u64,
    /// All threads run our functions.
    open: bool,
    /// The work item is there.
    busy: bool,
    /// Its RPC client, while it calls.
    client: Option<NonNull<private::rpc_clnt>>,
    /// rpc.statd has kept lockd's thread waiting for too long, and has not answered since.
    late: bool,
}

// SAFETY: The RPC client is only cancelled, under the lock, while the work item has it; all else may be sent.
unsafe impl Send for State {}

type StateGuard<'a> = Guard<'a, State, MutexBackend>;

/// A call that is to be made.
struct Call {
    number: u64,
    /// The host that it was made for, which is only compared.
    host: *const private::nlm_host,
    /// The client.
    handle: *mut nsm_handle,
    /// Its net namespace.
    net: *mut private::net,
    /// What this machine calls itself.
    nodename: [c_char; NODENAME],
    /// There is an [`Asked`] for it.
    asked: bool,
    /// That waits for the answer, and has none yet.
    awaited: bool,
    /// The client has a lock: the call is repeated until it succeeds.
    kept: bool,
    /// The work item makes it.
    running: bool,
    /// How often it has failed.
    failures: u32,
}

impl State {
    fn position(&self, number: u64) -> Option<usize> {
        self.calls.iter().position(|call| call.number == number)
    }

    /// What to call next: what somebody waits for comes first, and alone while the others rest.
    fn next(&self, others: bool) -> Option<usize> {
        let awaited = self.calls.iter().position(|call| call.awaited);
        awaited.or_else(|| self.calls.iter().position(|call| call.kept && others))
    }

    /// Takes a call out that nobody wants any more, unless it is being made.
    fn tidy(&mut self, at: usize) {
        let call = &self.calls[at];
        if !(call.asked || call.kept || call.running) {
            let _ = self.calls.remove(at);
        }
    }
}

/// Prepares this file.
pub(crate) fn init_module(setup: &Setup) {
    let state = State {
        calls: KVVec::new(),
        number: 0,
        open: false,
        busy: false,
        client: None,
        late: false,
    };
    STATD.init(
        setup,
        pin_init!(Statd {
            state <- new_mutex!(state, "nfsd_ha::Statd"),
            changed <- new_condvar!("nfsd_ha::Statd"),
        }),
    );
}

/// All threads run our functions, and nfsd, with lockd, is loaded.
pub(crate) fn open() {
    STATD.state.lock().open = true;
}

/// Some threads will not, or nfsd is unloaded: calls that nobody waits for are given up. May sleep, a moment.
pub(crate) fn close() {
    let mut state = STATD.state.lock();
    state.open = false;
    let kept = state.calls.iter().filter(|call| call.kept).count();
    state.calls.retain(|call| {
        call.kept = false;
        call.asked || call.running
    });
    if kept != 0 {
        pr_notice!("{kept} clients are not monitored by rpc.statd before they lock again\n");
    }
    STATD.changed.notify_all();
}

/// Ends the work item. For when no thread runs our functions any more, before lockd goes or this module does.
/// May sleep, a moment.
pub(crate) fn end() {
    loop {
        let state = STATD.state.lock();
        if !state.busy {
            return;
        }
        if let Some(client) = state.client {
            // SAFETY: It is the work item's, which lets go of it under the lock before it drops the connection.
            unsafe { statd_call::cancel(client) };
        }
        STATD.changed.notify_all();
        drop(state);
        fsleep(Delta::from_millis(20));
    }
}

/// Frees what this file keeps. For this module's exit.
pub(crate) fn exit_module() {
    end();
    STATD.state.lock().calls = KVVec::new();
}

/// Somebody who wants a client monitored, and knows whether it is.
pub(crate) struct Asked<'a> {
    host: Host<'a>,
    number: u64,
    /// How often the call had failed before.
    failures: u32,
}

/// Asks rpc.statd to monitor a client, without waiting for the answer. `None` if there is no memory, or some
/// threads do not run our functions. May sleep, a moment.
pub(crate) fn ask(host: Host<'_>) -> Option<Asked<'_>> {
    let mut state = STATD.state.lock();
    if !state.open {
        return None;
    }
    let handle = host.handle().as_ptr();
    let at = match state.calls.iter().position(|call| call.handle == handle) {
        Some(at) => at,
        None => {
            let call = Call {
                number: state.number + 1,
                host: host.as_ptr(),
                handle,
                net: host.net().as_ptr(),
                nodename: *host.nodename(),
                asked: false,
                awaited: false,
                kept: false,
                running: false,
                failures: 0,
            };
            state.calls.push(call, GFP_KERNEL).ok()?;
            state.number += 1;
            state.calls.len() - 1
        }
    };
    if !state.busy {
        state.busy = workqueue::system_unbound()
            .try_spawn(GFP_KERNEL, work)
            .is_ok();
        if !state.busy {
            state.tidy(at);
            return None;
        }
    }
    let call = &mut state.calls[at];
    // Another one of the client's may have asked before: this one is more likely to stay.
    call.host = host.as_ptr();
    call.asked = true;
    call.awaited = true;
    STATD.changed.notify_all();
    Some(Asked {
        host,
        number: call.number,
        failures: call.failures,
    })
}

impl Asked<'_> {
    /// Waits for the answer, some milliseconds at most. `None` if there is none yet.
    fn answer(&self, time: u32) -> Option<Result> {
        let mut state = STATD.state.lock();
        let mut left = msecs_to_jiffies(time);
        loop {
            if self.host.handle().is_monitored() {
                return Some(Ok(()));
            }
            let at = state.position(self.number);
            if at.is_none_or(|at| state.calls[at].failures != self.failures) {
                return Some(Err(EIO));
            }
            if left == 0 {
                return None;
            }
            left = match STATD.changed.wait_interruptible_timeout(&mut state, left) {
                CondVarTimeoutResult::Woken { jiffies } => jiffies,
                _ => 0,
            };
        }
    }

    /// Waits until the client is monitored. Sleeps, [`TIMEOUT`] at most; if somebody has waited so long in
    /// vain, not at all, as lockd is there for others, too. Fails if it is not.
    pub(crate) fn wait(self) -> Result {
        let late = STATD.state.lock().late;
        self.answer(if late { 0 } else { TIMEOUT })
            .unwrap_or_else(|| {
                if !late {
                    pr_warn!(
                        "rpc.statd takes too long: no locks for new clients until it answers\n"
                    );
                    STATD.state.lock().late = true;
                }
                Err(EIO)
            })
    }

    /// Has the call repeated until it succeeds, or lockd forgets the client. Sleeps, [`MOMENT`] at most, as it
    /// has mostly succeeded by then; while rpc.statd has others to do, not at all.
    pub(crate) fn keep(self) {
        let alone = {
            let mut state = STATD.state.lock();
            let open = state.open;
            if let Some(at) = state.position(self.number) {
                state.calls[at].kept = open;
            }
            state.calls.len() == 1
        };
        let _ = self.answer(if alone { MOMENT } else { 0 });
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        let mut state = STATD.state.lock();
        if let Some(at) = state.position(self.number) {
            let call = &mut state.calls[at];
            call.asked = false;
            call.awaited = false;
            state.tidy(at);
        }
        STATD.changed.notify_all();
    }
}

/// lockd forgets a host (`nsm_unmonitor()`, under `nlm_host_mutex`): the call that was made for it goes. Another host
/// of the client, if there is one, asks again at its next lock. May sleep, a moment.
pub(crate) fn forget(host: Host<'_>) {
    let mut state = STATD.state.lock();
    state
        .calls
        .retain(|call| !ptr::eq(call.host, host.as_ptr()));
}

/// The work item: makes the calls, until there are no more.
fn work() {
    let mut connection = None;
    let mut failed: Option<Moment> = None;
    loop {
        failed = failed.filter(|since| since.left(REST) != 0);
        let mut state = STATD.state.lock();
        if let Some(at) = state.next(failed.is_none()) {
            let number = state.calls[at].number;
            drop(state);
            match make(number, &mut connection) {
                Ok(()) => failed = None,
                Err(EAGAIN) => {}
                Err(_) => failed = Some(Moment::now()),
            }
            continue;
        }
        if state.calls.is_empty() && connection.is_none() {
            state.busy = false;
            return;
        }
        let time = if state.open || !state.calls.is_empty() {
            failed.map_or(LINGER, |since| since.left(REST))
        } else {
            0
        };
        let waited = STATD
            .changed
            .wait_interruptible_timeout(&mut state, msecs_to_jiffies(time));
        drop(state);
        if !matches!(waited, CondVarTimeoutResult::Woken { .. }) {
            connection = None;
        }
    }
}

/// Makes a call. Fails with `EAGAIN` if rpc.statd may be elsewhere than it was: it is to be made again then.
/// Sleeps, as long as rpc.statd takes.
fn make(number: u64, connection: &mut Option<Connection>) -> Result {
    let mut state = STATD.state.lock();
    let at = state.position(number).ok_or(EAGAIN)?;
    let call = &mut state.calls[at];
    // SAFETY: It is in the queue, and stays there while the lock is held: lockd has a host of the client, which
    // has the handle and the namespace.
    let (handle, net) = unsafe { (Handle::from_raw(call.handle), Net::from_raw(call.net)) };
    let used = connection.as_ref().is_some_and(|c| c.net() == net.cookie());
    if !used {
        // SAFETY: lockd is not unloaded before `end()` has returned, and so the work item has dropped this.
        *connection = unsafe { Connection::new(net, &call.nodename) }
            .inspect_err(|_| fail(&mut state, at, handle))
            .ok();
    }
    let Some(over) = connection.as_ref() else {
        return Err(ENOMEM);
    };
    state.calls[at].running = true;
    // SAFETY: The reference goes before the connection does, and so before the namespace and lockd.
    let handle = unsafe { handle.hold() };
    let (mut state, answer) = call_over(state, over, handle.get(), Procedure::Monitor);
    state.late = false;
    let moved = used && answer.is_err_and(|e| e != EPERM && e != ETIMEDOUT);
    match (state.position(number), answer) {
        (Some(at), Ok(said)) => {
            handle.get().set_monitored(true);
            // SAFETY: lockd is loaded; a word of it, which it writes without a lock, too.
            unsafe { (&raw mut private::nsm_local_state).write_volatile(said) };
            let _ = state.calls.remove(at);
        }
        (Some(at), Err(_)) if moved => {
            state.calls[at].running = false;
            state.tidy(at);
        }
        (Some(at), Err(_)) => fail(&mut state, at, handle.get()),
        // lockd has forgotten the host. If nobody else knows the client, it need not be monitored. If somebody comes
        // now who knows it by the same handle, that call comes after this.
        (None, Ok(_)) if handle.get().users() == 1 && !handle.get().stays_monitored() => {
            state = call_over(state, over, handle.get(), Procedure::Unmonitor).0;
        }
        (None, Ok(_)) => handle.get().set_monitored(true),
        (None, Err(_)) => {}
    }
    drop(handle);
    STATD.changed.notify_all();
    drop(state);
    if answer.is_err_and(|e| e != EPERM) {
        *connection = None;
    }
    if moved {
        return Err(EAGAIN);
    }
    answer.map(|_| ())
}

/// Calls rpc.statd without the lock.
fn call_over<'a>(
    mut state: StateGuard<'a>,
    connection: &Connection,
    handle: Handle<'_>,
    procedure: Procedure,
) -> (StateGuard<'a>, Result<u32>) {
    state.client = Some(connection.client());
    drop(state);
    let answer = connection.call(handle, procedure);
    let mut state = STATD.state.lock();
    state.client = None;
    (state, answer)
}

/// A call has failed: others come first.
fn fail(state: &mut State, at: usize, handle: Handle<'_>) {
    statd_call::say(handle, "cannot be monitored");
    if let Ok(mut call) = state.calls.remove(at) {
        call.failures += 1;
        call.awaited = false;
        call.running = false;
        if call.asked || call.kept {
            // There was room for it.
            let _ = state.calls.push_within_capacity(call);
        }
    }
}
