// SPDX-License-Identifier: GPL-2.0

//! RECLAIM_COMPLETE to an original server, which is held back until the end clients here have reclaimed.
//!
//! After it, the original server takes no more reclaims (RFC 8881, 18.51.3), and before it no OPEN that is none. So it is sent
//! when the grace period here is over, or as soon as somebody opens who does not reclaim.
//!
//! A work item looks whether that is so, every two seconds while anything is held back. Lock order: a mount's `s_umount`; nothing
//! is held while something is sent.

use crate::base::global::Global;
use crate::base::module_ref::ModuleRef;
use crate::base::mounted::LoadedNfsd;
use crate::base::net::{Net, Nfsd};
use crate::base::private;
use crate::base::setup::Setup;
use crate::nfs4::nfsd::NfsdNet;
use crate::reexport::file_systems;
use crate::reexport::nfs_client::{ClientRef, NfsClient};
use crate::reexport::originals::{self, Complete};
use crate::reexport::sender::Sender;
use kernel::ffi::c_int;
use kernel::prelude::*;
use kernel::sync::{new_condvar, new_spinlock, Arc, CondVar, SpinLock};
use kernel::time::msecs_to_jiffies;
use kernel::workqueue::{self, impl_has_work, new_work, Work, WorkItem};

/// The time between two looks, in milliseconds.
const TICK: u32 = 2_000;

static HOLDER: Global<SpinLock<Option<Arc<Holder>>>> = Global::new();

/// Who looks.
#[pin_data]
pub(crate) struct Holder {
    #[pin]
    work: Work<Holder>,
    #[pin]
    state: SpinLock<State>,
    #[pin]
    changed: CondVar,
}

impl_has_work! {
    impl HasWork<Self> for Holder { self.work }
}

#[derive(Default)]
struct State {
    /// The worker is queued or runs.
    busy: bool,
    /// It is to look once more, now.
    woken: bool,
    stopped: bool,
}

impl Holder {
    /// Makes the worker. For this module's init, which does it once.
    pub(crate) fn new(setup: &Setup) -> Result<Arc<Self>> {
        HOLDER.init(setup, new_spinlock!(None, "nfsd_ha::HOLDER"));
        let holder = Arc::pin_init(
            pin_init!(Self {
                work <- new_work!("nfsd_ha::Holder"),
                state <- new_spinlock!(State::default(), "nfsd_ha::Holder"),
                changed <- new_condvar!("nfsd_ha::Holder"),
            }),
            GFP_KERNEL,
        )?;
        *HOLDER.lock() = Some(holder.clone());
        Ok(holder)
    }

    /// Ends the worker. For this module's exit. May sleep, as long as a look takes.
    pub(crate) fn stop(&self) {
        let own = HOLDER.lock().take();
        let mut state = self.state.lock();
        state.stopped = true;
        self.changed.notify_all();
        while state.busy {
            self.changed.wait(&mut state);
        }
        drop(state);
        drop(own);
    }

    fn look(self: &Arc<Self>) {
        let mut state = self.state.lock();
        state.woken = true;
        self.changed.notify_all();
        if !state.busy && !state.stopped {
            // It is not queued, so this does not fail.
            state.busy = workqueue::system_long().enqueue(self.clone()).is_ok();
        }
    }
}

impl WorkItem for Holder {
    type Pointer = Arc<Holder>;

    fn run(this: Arc<Holder>) {
        loop {
            this.state.lock().woken = false;
            let_go_of_those_that_are_over();
            ask_those_that_are_silent();
            let mut state = this.state.lock();
            if !state.woken && originals::any_incomplete() && !state.stopped {
                let left = msecs_to_jiffies(TICK);
                let _ = this.changed.wait_interruptible_timeout(&mut state, left);
            } else if !state.woken || state.stopped {
                state.busy = false;
                this.changed.notify_all();
                return;
            }
        }
    }
}

/// Looks anew: a grace period has ended, say. Does not sleep.
pub(crate) fn look_again() {
    let holder = HOLDER.lock().clone();
    if let Some(holder) = holder {
        holder.look();
    }
}

/// A grace period has ended somewhere. Does not sleep.
pub(crate) fn grace_ended() {
    if originals::any_incomplete() {
        look_again();
    }
}

/// A server: does it run, and is it in grace, nfsd's or lockd's? One that is being stopped does not run any more.
fn state_of(nfsd: Nfsd<'_>) -> (bool, bool) {
    // In this order: one that stops does not run when its grace period ends.
    let in_grace = nfsd.is_in_grace(false);
    let nn = NfsdNet::of(nfsd);
    (nn.is_running() && nn.is_up(), in_grace)
}

/// Is the server's grace period over in the namespace with a cookie? Where no server runs, those of all other namespaces are
/// asked, as one of them may export what is mounted there. May sleep.
fn is_grace_over(net: u64) -> bool {
    let Some(nfsd) = LoadedNfsd::get() else {
        return false;
    };
    let (mut own, mut runs, mut in_grace) = (None, false, false);
    nfsd.each_mount(|sb| {
        let state = state_of(sb.nfsd());
        if state.0 && sb.nfsd().net().cookie() == net {
            own = Some(state.1);
        }
        runs |= state.0;
        in_grace |= state.0 && state.1;
    });
    !own.unwrap_or(in_grace || !runs)
}

/// RECLAIM_COMPLETE is held back no more at an original server, if it was. Does not sleep.
pub(crate) fn let_go(number: usize) {
    if let Some((sender, client)) = originals::let_go(number) {
        sender.send(client);
    }
}

/// How often RECLAIM_COMPLETE is sent where nobody needs it, or nobody says what became of it.
const TRIES: u32 = 3;

/// For [`Sender`]: is RECLAIM_COMPLETE to be sent? Does not sleep.
///
/// Once the livepatch was switched off, nobody says what became of it, so some tries have to do. Without mounts there is nothing to
/// say: the NFS client leaves with DESTROY_CLIENTID. An original server is forgotten before the reference to its client goes,
/// as it may be the stock function that frees that.
fn is_to_send(number: usize, tries: u32, client: &ClientRef) -> bool {
    let complete = originals::with(number, |one| one.complete);
    let is_going = matches!(complete, Some(Complete::Going(_)));
    let is_on = originals::is_on();
    if is_going && (tries < TRIES || is_on && !client.is_last()) {
        return true;
    }
    if is_going || !is_on {
        originals::forget(number);
    }
    false
}

/// Lets RECLAIM_COMPLETE go where nobody will reclaim any more. May sleep.
fn let_go_of_those_that_are_over() {
    let is_held = |one: &originals::Original| matches!(one.complete, Complete::Held(_));
    let mut from = 0;
    while let Some(number) = originals::find(from, is_held) {
        from = number.saturating_add(1);
        let net = originals::with(number, |one| one.net);
        let (refuse, all) = file_systems::count(number);
        if all > 0 && refuse == all || net.is_some_and(is_grace_over) {
            let_go(number);
        }
    }
}

/// Asks original servers that have not been heard of whether they are there. May sleep.
fn ask_those_that_are_silent() {
    let mut from = 0;
    while let Some(number) = originals::find(from, |one| one.to_ask) {
        from = number.saturating_add(1);
        originals::with(number, |one| one.to_ask = false);
        if let Some(client) = originals::get(number) {
            client.ask();
        }
    }
}

/// RECLAIM_COMPLETE is to be sent for a client. Is it held back? May sleep.
///
/// It is if it is the first one of this client, unless the server in its namespace has had its grace period: then nobody is
/// left who could reclaim, and if the original server has restarted, this machine reclaims by itself.
pub(crate) fn hold(client: NfsClient<'_>) -> bool {
    if originals::note(client).is_err() || is_past(client.net()) {
        return false;
    }
    if client.has_lost() {
        // What is opened anew after that would wait for it.
        let_go(client.number());
        return false;
    }
    // Without memory it is as with the stock kernel.
    let is_held = Sender::new(client.number(), is_to_send)
        .is_ok_and(|sender| originals::hold(client, sender));
    if is_held {
        look_again();
    }
    is_held
}

/// The NFS client's state manager opens what was lost, which waits for RECLAIM_COMPLETE: it sends that itself. May sleep, as long
/// as the server does not answer.
pub(crate) fn send_now(client: NfsClient<'_>) {
    let_go(client.number());
    note_sent(client, client.reclaim_complete_now());
}

/// RECLAIM_COMPLETE was sent, and this came of it. Does not sleep.
pub(crate) fn note_sent(client: NfsClient<'_>, status: c_int) {
    if !is_told(status) {
        return;
    }
    if let Some(held) = originals::sent(client.number()) {
        pr_info!("an original server was told after {held} ms that all is reclaimed\n");
    }
}

/// Does an original server know that all is reclaimed, by what became of a RECLAIM_COMPLETE, or is there no use in saying it again
/// (`nfs41_reclaim_complete_handle_errors()`)?
fn is_told(status: c_int) -> bool {
    const ALREADY: c_int = -(private::nfsstat4_NFS4ERR_COMPLETE_ALREADY as c_int);
    const WRONG_CRED: c_int = -(private::nfsstat4_NFS4ERR_WRONG_CRED as c_int);
    matches!(status, 0 | ALREADY | WRONG_CRED)
}

/// Has the server of a namespace had its grace period? May sleep.
pub(crate) fn is_past(net: Net<'_>) -> bool {
    let Some(_nfsd) = LoadedNfsd::get() else {
        return false;
    };
    // SAFETY: It stays loaded, and knows the namespace, which is alive and in use.
    let (runs, in_grace) = state_of(unsafe { Nfsd::new(net) });
    runs && !in_grace
}

/// Gives file systems that were mounted before our export operations.
#[pin_data]
struct Finder {
    #[pin]
    work: Work<Finder>,
    _module: ModuleRef,
}

impl_has_work! {
    impl HasWork<Self> for Finder { self.work }
}

impl WorkItem for Finder {
    type Pointer = Arc<Finder>;

    fn run(_this: Arc<Finder>) {
        file_systems::take_mounted();
    }
}

/// The NFS client runs our functions. May sleep for memory.
pub(crate) fn switched_on() {
    originals::switched_on();
    file_systems::switched_on();
    let finder = ModuleRef::get().ok_or(ENODEV).and_then(|module| {
        Arc::pin_init(
            pin_init!(Finder {
                work <- new_work!("nfsd_ha::Finder"),
                _module: module,
            }),
            GFP_KERNEL,
        )
    });
    // One of its own, as it waits for each file system, also for one that hangs. Without it, what is mounted later is locked.
    match finder {
        // It is a new one, so this does not fail.
        Ok(finder) => drop(workqueue::system_long().enqueue(finder)),
        Err(_) => {
            pr_warn!("no memory: what was mounted before cannot be locked when it is re-exported\n")
        }
    }
}

/// It will not: nothing is held back any more. Does not sleep.
pub(crate) fn switched_off() {
    originals::switched_off();
    let mut from = 0;
    while let Some(number) = originals::find(from, |_| true) {
        from = number.saturating_add(1);
        let_go(number);
    }
    originals::forget_others();
}
