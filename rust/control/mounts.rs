// SPDX-License-Identifier: GPL-2.0

//! Our files in the mounts of nfsd's file system.
//!
//! A mount that is made while we are attached gets them in `nfsd_fs_get_tree()`; not before, when some threads run
//! ours already. For mounts that are there when we are attached, and for all of them when we detach, a worker does
//! it: livepatch calls us under `klp_mutex`, and a superblock's `s_umount` may be held by an unmount that waits for
//! `nfsd_mutex`, which a starting server may hold that loads a module, and that takes `klp_mutex`.
//!
//! Lock order: `s_umount`, then the root directory's inode lock.

use crate::base::fsfile::{self, Superblock};
use crate::base::global::Global;
use crate::base::in_force;
use crate::base::mounted::LoadedNfsd;
use crate::base::setup::Setup;
use crate::control::files::FILES;
use crate::nfs4::nfsd::NfsdNet;
use crate::tracking::tracker::Tracker;
use kernel::prelude::*;
use kernel::sync::{new_condvar, new_mutex, Arc, CondVar, CondVarTimeoutResult, Mutex};
use kernel::time::msecs_to_jiffies;
use kernel::workqueue::{self, impl_has_work, new_work, Work, WorkItem};

/// How long insmod waits until nfsd's functions are replaced, in milliseconds. Livepatch does it
/// when no task is inside one of them; usually that takes less than two seconds.
const ATTACH_TIMEOUT: u32 = 10_000;

static MOUNTS: Global<Mutex<Option<Arc<Mounts>>>> = Global::new();

/// The worker.
#[pin_data]
pub(crate) struct Mounts {
    #[pin]
    work: Work<Mounts>,
    #[pin]
    state: Mutex<State>,
    #[pin]
    changed: CondVar,
}

impl_has_work! {
    impl HasWork<Self> for Mounts { self.work }
}

#[derive(Default)]
struct State {
    /// nfsd, which must stay while there is work.
    nfsd: Option<LoadedNfsd>,
    /// Shall there be files?
    attached: bool,
    /// Attaching has begun, with nfsd loaded, and has not ended.
    expected: bool,
    /// Times that the worker was queued.
    asked: u64,
    /// Times that it ran.
    done: u64,
}

impl Mounts {
    /// Makes the worker. For this module's init, which does it once.
    pub(crate) fn new(setup: &Setup) -> Result<Arc<Self>> {
        MOUNTS.init(setup, new_mutex!(None, "nfsd_ha::MOUNTS"));
        let mounts = Arc::pin_init(
            pin_init!(Self {
                work <- new_work!("nfsd_ha::Mounts"),
                state <- new_mutex!(State::default(), "nfsd_ha::Mounts"),
                changed <- new_condvar!("nfsd_ha::Mounts"),
            }),
            GFP_KERNEL,
        )?;
        *MOUNTS.lock() = Some(mounts.clone());
        Ok(mounts)
    }

    /// Attaching begins, with nfsd loaded. May sleep.
    pub(crate) fn expect() {
        if let Some(mounts) = &*MOUNTS.lock() {
            mounts.state.lock().expected = true;
        }
    }

    /// We are now attached to nfsd, or not any more. It is `None` if it comes or goes: then it has no mounts.
    /// May sleep; `klp_mutex` may be held.
    pub(crate) fn update(nfsd: Option<LoadedNfsd>, attached: bool) {
        let Some(mounts) = MOUNTS.lock().clone() else {
            return;
        };
        let mut state = mounts.state.lock();
        state.attached = attached;
        if nfsd.is_some() {
            state.nfsd = nfsd;
            // It may wait for an unmount. If it is queued already, it will see what we wrote.
            let queued = workqueue::system_long().enqueue(mounts.clone()).is_ok();
            state.asked += u64::from(queued);
        } else {
            state.expected = false;
            mounts.changed.notify_all();
        }
    }

    /// Waits until the files are in the mounts, if nfsd was loaded when attaching began. Returns
    /// whether they are. May sleep.
    pub(crate) fn wait_attached(&self) -> bool {
        let mut state = self.state.lock();
        if !state.expected && !state.attached {
            return true; // nfsd is not loaded
        }
        let mut left = msecs_to_jiffies(ATTACH_TIMEOUT);
        while state.expected {
            match self.changed.wait_interruptible_timeout(&mut state, left) {
                CondVarTimeoutResult::Woken { jiffies } => left = jiffies,
                _ => break,
            }
        }
        // Attaching may have been reversed.
        state.attached && !state.expected
    }

    /// Waits until the files are gone, and ends the worker. For this module's exit. May sleep.
    pub(crate) fn stop(&self) {
        *MOUNTS.lock() = None;
        let mut state = self.state.lock();
        while state.done != state.asked {
            self.changed.wait(&mut state);
        }
    }

    /// Adds our files to a superblock, unless it has them, or we are not attached. May sleep.
    ///
    /// A mount that is being made is on the list of superblocks already: if it is too early for its files here, the
    /// worker will find it.
    pub(crate) fn add_files(sb: &Superblock<'_>) {
        if !in_force::is() {
            return;
        }
        for kind in &FILES {
            if let Err(e) = fsfile::add(sb, kind) {
                pr_err!("no {} in this mount, error {}\n", kind.name, e.to_errno());
            }
        }
    }
}

impl WorkItem for Mounts {
    type Pointer = Arc<Mounts>;

    fn run(this: Arc<Mounts>) {
        let mut state = this.state.lock();
        let (attached, nfsd) = (state.attached, state.nfsd.take());
        drop(state);
        if let Some(nfsd) = &nfsd {
            nfsd.each_mount(if attached { add } else { remove });
        }
        drop(nfsd);
        let mut state = this.state.lock();
        state.done += 1;
        state.expected = false;
        this.changed.notify_all();
    }
}

/// For each mount when we attach. `s_umount` is held for reading.
fn add(sb: &Superblock<'_>) {
    Mounts::add_files(sb);
    let nfsd = sb.nfsd();
    if NfsdNet::of(nfsd).is_running() && Tracker::with(nfsd.net(), |_| ()).is_none() {
        pr_info!(
            "the server in net {:x} keeps its present client tracking until it is restarted\n",
            nfsd.net().inum()
        );
    }
}

/// For each mount when we detach. `s_umount` is held for reading.
fn remove(sb: &Superblock<'_>) {
    for kind in &FILES {
        fsfile::remove(sb, kind);
    }
}
