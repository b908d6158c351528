// SPDX-License-Identifier: GPL-2.0

//! Looks whether those have come back with all that they held who cannot say so: clients of NLM and of NFSv4.0.
//!
//! A work item, which is there only while a closed list waits for such a client in a namespace with a server. It finds
//! the namespace by its mount of nfsd's file system, without which there would be no list, and which keeps both for as
//! long as it looks. Nobody who reclaims waits for it: of `nfsd_mutex` and `nlmsvc_mutex` it takes what is free.
//!
//! Lock order: a mount's `s_umount`, `nfsd_mutex`, then lockd's; the lists' lock is not held during a look.

use crate::base::fsfile::Superblock;
use crate::base::global::Global;
use crate::base::in_force;
use crate::base::mounted::LoadedNfsd;
use crate::base::net::{Net, Nfsd};
use crate::base::setup::Setup;
use crate::nfs4::due::Wanted;
use crate::nfs4::nfsd::NfsdNet;
use crate::nfs4::reclaimers;
use crate::nfs4::returned;
use crate::nfs4::server::Server;
use crate::nlm::lines;
use crate::nlm::lockd::Lockd;
use kernel::prelude::*;
use kernel::sync::{new_condvar, new_mutex, Arc, CondVar, CondVarTimeoutResult, Mutex};
use kernel::time::{msecs_to_jiffies, Instant, Monotonic};
use kernel::workqueue::{self, impl_has_work, new_work, Work, WorkItem};

/// The time between two looks, in milliseconds.
const TICK: u32 = 250;
/// It is idle for so many times as long as a look takes, at least.
const IDLE: i64 = 9;

static RECOUNT: Global<Mutex<Option<Arc<Recount>>>> = Global::new();

/// The worker.
#[pin_data]
pub(crate) struct Recount {
    #[pin]
    work: Work<Recount>,
    #[pin]
    state: Mutex<State>,
    #[pin]
    changed: CondVar,
}

impl_has_work! {
    impl HasWork<Self> for Recount { self.work }
}

#[derive(Default)]
struct State {
    /// The worker is queued or runs.
    busy: bool,
    /// It was woken since its last look.
    woken: bool,
    /// It shall end, and not begin again.
    stopped: bool,
}

impl Recount {
    /// Makes the worker. For this module's init, which does it once.
    pub(crate) fn new(setup: &Setup) -> Result<Arc<Self>> {
        RECOUNT.init(setup, new_mutex!(None, "nfsd_ha::RECOUNT"));
        let recount = Arc::pin_init(
            pin_init!(Self {
                work <- new_work!("nfsd_ha::Recount"),
                state <- new_mutex!(State::default(), "nfsd_ha::Recount"),
                changed <- new_condvar!("nfsd_ha::Recount"),
            }),
            GFP_KERNEL,
        )?;
        *RECOUNT.lock() = Some(recount.clone());
        Ok(recount)
    }

    /// A list has changed, or a server starts: has the worker look, if there is something to look for. May sleep.
    pub(crate) fn wake(net: Net<'_>) {
        if !reclaimers::waits(net.cookie()) {
            return;
        }
        let Some(recount) = RECOUNT.lock().clone() else {
            return;
        };
        let mut state = recount.state.lock();
        state.woken = true;
        if !state.busy && !state.stopped {
            // It is not queued, so this does not fail.
            state.busy = workqueue::system_long().enqueue(recount.clone()).is_ok();
        }
    }

    /// Ends the worker. For this module's exit. May sleep, as long as a look takes.
    pub(crate) fn stop(&self) {
        *RECOUNT.lock() = None;
        let mut state = self.state.lock();
        state.stopped = true;
        self.changed.notify_all();
        while state.busy {
            self.changed.wait(&mut state);
        }
    }

    /// Waits for some milliseconds, or until it shall end. Returns whether it shall not.
    fn pause(&self, time: u32) -> bool {
        let mut state = self.state.lock();
        let mut left = msecs_to_jiffies(time);
        while !state.stopped {
            match self.changed.wait_interruptible_timeout(&mut state, left) {
                CondVarTimeoutResult::Woken { jiffies } => left = jiffies,
                _ => break,
            }
        }
        state.woken = false;
        !state.stopped
    }
}

impl WorkItem for Recount {
    type Pointer = Arc<Recount>;

    fn run(this: Arc<Recount>) {
        let mut pause = TICK;
        loop {
            let goes_on = this.pause(pause);
            let began = Instant::<Monotonic>::now();
            let mut any = false;
            if let Some(nfsd) = LoadedNfsd::get().filter(|_| goes_on) {
                nfsd.each_mount(|sb| any |= tick(sb));
            }
            let took = began.elapsed().as_millis();
            pause = u32::try_from(took * IDLE).unwrap_or(u32::MAX).max(TICK);
            let mut state = this.state.lock();
            if state.stopped || !any && !state.woken {
                // Who wakes it from now on queues it again.
                state.busy = false;
                this.changed.notify_all();
                return;
            }
        }
    }
}

/// Looks for those who are waited for in a namespace, if it is time. Returns whether there are any. May sleep.
fn tick(sb: &Superblock<'_>) -> bool {
    let nfsd = sb.nfsd();
    let net = nfsd.net().cookie();
    if !NfsdNet::of(nfsd).is_running() || !reclaimers::waits(net) {
        return false;
    }
    // Else who has something may just have got it.
    if !in_force::is() {
        return true;
    }
    // Without memory, it is tried again.
    let Ok(mut wanted) = reclaimers::wanted(net) else {
        return true;
    };
    for list in &mut wanted {
        let all = look(nfsd, list).is_some();
        reclaimers::found(net, list, all);
    }
    true
}

/// Looks for those of a list. Returns nothing if that was not possible now. May sleep.
fn look(nfsd: Nfsd<'_>, list: &mut Wanted) -> Option<()> {
    let net = nfsd.net();
    if !list.nfs4.is_empty() {
        if let Some(server) = Server::try_get(nfsd)? {
            returned::find(&server, net, &list.scope, &mut list.nfs4).ok()?;
        }
    }
    if !list.nlm.is_empty() {
        if let Some(lockd) = Lockd::try_once(nfsd)? {
            lines::find(&lockd, net, &list.scope, &mut list.nlm).ok()?;
        }
    }
    Some(())
}
