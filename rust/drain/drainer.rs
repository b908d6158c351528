// SPDX-License-Identifier: GPL-2.0

//! `drain`: the worker that closes the connections of addresses that drain.
//!
//! A work item, which is there only while there are such addresses. It finds a namespace by its mount of nfsd's file
//! system. It waits neither for `nfsd_mutex` nor for `nlmsvc_mutex`: if one is not free, it looks again later.
//!
//! Lock order: a mount's `s_umount`, `nfsd_mutex`, then lockd's; the state is not held during a look.

use crate::base::fsfile::{Opened, Superblock};
use crate::base::global::Global;
use crate::base::mounted::LoadedNfsd;
use crate::base::net::{Net, Nfsd};
use crate::base::setup::Setup;
use crate::base::text::Text;
use crate::drain::look::{self, Batch};
use crate::drain::order::{self, Order};
use crate::drain::table::Table;
use crate::nfs4::server::Server;
use crate::nlm::lockd::Lockd;
use crate::scopes::scope::command;
use core::fmt::Write;
use kernel::fs::File;
use kernel::prelude::*;
use kernel::sync::poll::{PollCondVar, PollTable};
use kernel::sync::{new_condvar, new_mutex, Arc, CondVar, CondVarTimeoutResult, Mutex};
use kernel::time::{delay::fsleep, msecs_to_jiffies, Delta, Instant, Monotonic};
use kernel::workqueue::{self, impl_has_work, new_work, Work, WorkItem};

/// The time between two looks, in milliseconds: while connections are waited for, and else.
const TICK: u32 = 10;
const LONG_TICK: u32 = 200;
/// It is idle for so many times as long as a look takes, at least.
const IDLE: i64 = 9;
/// How long to wait for the last look when the livepatch is switched off, and how long between looks at that.
const PATIENCE: Delta = Delta::from_secs(1);
const PAUSE: Delta = Delta::from_millis(5);
/// The longest line about an address, in bytes: one of IPv6, and three numbers.
const ANSWER: usize = 256;

static DRAINER: Global<Mutex<Option<Arc<Drainer>>>> = Global::new();

/// The worker.
#[pin_data]
pub(crate) struct Drainer {
    #[pin]
    work: Work<Drainer>,
    #[pin]
    state: Mutex<State>,
    /// The worker is to look, or has ended.
    #[pin]
    wake: CondVar,
    /// There is something new to read.
    #[pin]
    news: PollCondVar,
    /// Only one task looks at a time.
    #[pin]
    looks: Mutex<()>,
}

impl_has_work! {
    impl HasWork<Self> for Drainer { self.work }
}

#[derive(Default)]
struct State {
    table: Table,
    /// The worker is queued or runs.
    busy: bool,
    /// It is to look now.
    woken: bool,
    /// It shall end, and not begin again.
    stopped: bool,
}

/// The worker, until the module's exit. May sleep.
fn drainer() -> Result<Arc<Drainer>> {
    DRAINER.lock().clone().ok_or(ENODEV)
}

impl Drainer {
    /// Makes the worker. For this module's init, which does it once.
    pub(crate) fn new(setup: &Setup) -> Result<Arc<Self>> {
        DRAINER.init(setup, new_mutex!(None, "nfsd_ha::DRAINER"));
        let drainer = Arc::pin_init(
            pin_init!(Self {
                work <- new_work!("nfsd_ha::Drainer"),
                state <- new_mutex!(State::default(), "nfsd_ha::Drainer"),
                wake <- new_condvar!("nfsd_ha::Drainer"),
                news <- kernel::new_poll_condvar!("nfsd_ha::Drainer"),
                looks <- new_mutex!((), "nfsd_ha::Drainer.looks"),
            }),
            GFP_KERNEL,
        )?;
        *DRAINER.lock() = Some(drainer.clone());
        Ok(drainer)
    }

    /// Changes the table; then the worker looks, if there is something to look for, and pollers wake up. May sleep.
    fn change<R>(self: &Arc<Self>, f: impl FnOnce(&mut Table) -> R) -> R {
        let mut state = self.state.lock();
        let sequence = state.table.sequence;
        let result = f(&mut state.table);
        if state.table.sequence == sequence {
            return result;
        }
        state.woken = true;
        self.wake.notify_all();
        self.news.notify_all();
        if !state.busy && !state.stopped && !state.table.is_empty() {
            // It is not queued, so this does not fail.
            state.busy = workqueue::system_long().enqueue(self.clone()).is_ok();
        }
        result
    }

    /// Looks at the connections in a namespace, and does what is to be done, if its servers neither start nor stop. May
    /// sleep.
    fn look(&self, nfsd: Nfsd<'_>) {
        let _one = self.looks.lock();
        let net = nfsd.net();
        // Without memory, it is tried again.
        let (Ok(mut targets), Ok(mut batch)) = (self.state.lock().table.targets(net), Batch::new())
        else {
            return;
        };
        if targets.is_empty() {
            return;
        }
        let Some(server) = Server::try_get(nfsd) else {
            return;
        };
        let Some(lockd) = Lockd::try_once(nfsd) else {
            return;
        };
        let services = [
            server.as_ref().map(Server::service),
            lockd.as_ref().map(Lockd::service),
        ];
        for service in services.iter().flatten() {
            look::look(service, net, &mut targets, &mut batch);
        }
        drop((lockd, server));
        let mut state = self.state.lock();
        let sequence = state.table.sequence;
        state.table.found(net, &targets);
        if state.table.sequence != sequence {
            self.news.notify_all();
        }
    }

    /// Waits for some milliseconds, or until it is to look. Returns whether it shall go on. May sleep.
    fn pause(&self, time: u32) -> bool {
        let mut state = self.state.lock();
        let mut left = msecs_to_jiffies(time);
        while !state.stopped && !state.woken {
            match self.wake.wait_interruptible_timeout(&mut state, left) {
                CondVarTimeoutResult::Woken { jiffies } => left = jiffies,
                _ => break,
            }
        }
        state.woken = false;
        !state.stopped
    }

    /// Ends the worker. For this module's exit. May sleep, as long as a look takes.
    pub(crate) fn stop(&self) {
        *DRAINER.lock() = None;
        let mut state = self.state.lock();
        state.stopped = true;
        self.wake.notify_all();
        while state.busy {
            self.wake.wait(&mut state);
        }
        state.table.forget_all(None);
    }
}

impl WorkItem for Drainer {
    type Pointer = Arc<Drainer>;

    fn run(this: Arc<Drainer>) {
        loop {
            let began = Instant::<Monotonic>::now();
            if let Some(nfsd) = LoadedNfsd::get() {
                nfsd.each_mount(|sb: &Superblock<'_>| this.look(sb.nfsd()));
            }
            let took = began.elapsed().as_millis();
            let tick = {
                let mut state = this.state.lock();
                if state.stopped || state.table.is_empty() {
                    // Who changes the table from now on queues it again.
                    state.busy = false;
                    this.wake.notify_all();
                    return;
                }
                if state.table.is_waiting() {
                    TICK
                } else {
                    LONG_TICK
                }
            };
            let pause = u32::try_from(took * IDLE).unwrap_or(u32::MAX).max(tick);
            this.pause(pause);
        }
    }
}

/// Does a command of `drain`: `ADDRESS [SECONDS] [keep]`, or `-ADDRESS`. May sleep.
///
/// Fails with `EINVAL` for another command, with `ENOMEM`, with `ENOSPC` if there are too many addresses, and with
/// `ENODEV` if the livepatch is being switched off.
pub(crate) fn write(file: &Opened, data: &[u8], out: &mut Text) -> Result {
    let drainer = drainer()?;
    let nfsd = file.nfsd();
    let net = nfsd.net();
    // So that nothing is changed if there is no memory for the answer.
    out.make_room(ANSWER)?;
    match order::parse(command(data)?)? {
        Order::Begin(address, seconds, then) => {
            drainer.change(|table| table.begin(net, address, seconds, then))?;
            pr_info!("{} drains, for {seconds} s\n", format_args!("{address}"));
            drainer.look(nfsd);
            drainer.state.lock().table.show(net, Some(address), out)
        }
        Order::End(address) => {
            if drainer.change(|table| table.end(net, address)) {
                pr_info!("{} drains no more\n", format_args!("{address}"));
            }
            writeln!(out, "{address} ended")?;
            Ok(())
        }
    }
}

/// Shows the addresses of a namespace that drain, a line for each. May sleep.
pub(crate) fn show(nfsd: Nfsd<'_>, out: &mut Text) -> Result {
    let drainer = drainer()?;
    let state = drainer.state.lock();
    state.table.show(nfsd.net(), None, out)
}

/// The number of the last change. May sleep.
pub(crate) fn sequence() -> u64 {
    drainer().map_or(0, |drainer| drainer.state.lock().table.sequence)
}

/// Makes a poller wait for the next change.
pub(crate) fn register(table: &PollTable<'_>, file: &File) {
    if let Ok(drainer) = drainer() {
        table.register_wait(file, &drainer.news);
    }
}

/// A file is closed.
pub(crate) fn closed(_: &Opened) {}

/// A namespace ends. May sleep.
pub(crate) fn forget(net: Net<'_>) {
    if let Ok(drainer) = drainer() {
        drainer.change(|table| table.forget_all(Some(net)));
    }
}

/// The livepatch is being switched off: nothing drains any more. From now on, threads execute what they receive, so what
/// is left of the connections is reset before that. May sleep, a second at most: `klp_mutex` is held.
pub(crate) fn switched_off() {
    let Ok(drainer) = drainer() else {
        return;
    };
    let count = drainer.change(Table::end_all);
    if count > 0 {
        pr_warn!("switched off: {count} addresses drain no more\n");
    }
    // If nfsd is being unloaded, it has no servers.
    let began = Instant::<Monotonic>::now();
    let is_busy = || drainer.state.lock().busy && LoadedNfsd::get().is_some();
    while is_busy() && began.elapsed() < PATIENCE {
        fsleep(PAUSE);
    }
    drainer.state.lock().table.forget_all(None);
}
