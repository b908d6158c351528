// SPDX-License-Identifier: GPL-2.0

//! Who must be notified when an export moves, and whether that is recorded: `nlm_clients`.
//!
//! Lock order: [`Clients::state`] is taken alone, or under lockd's `nlm_host_mutex`.

use crate::base::fsfile::Opened;
use crate::base::global::Global;
use crate::base::in_force;
use crate::base::net::Net;
use crate::base::recent::{Digest, Recent};
use crate::base::setup::Setup;
use crate::base::siphash::SipHash;
use crate::nlm::host::Host;
use crate::nlm::seen::{Pair, Pairs, Peer, Recorded};
use crate::scopes::exported;
use crate::scopes::place::{Form, Place};
use crate::scopes::request::Request;
use crate::scopes::scope::{command, Fsid, Scope};
use kernel::fs::File;
use kernel::prelude::*;
use kernel::sync::poll::{PollCondVar, PollTable};
use kernel::sync::{new_mutex, CondVarTimeoutResult, Mutex};
use kernel::time::msecs_to_jiffies;

/// How long a client's first lock on an export waits for the recorder, in milliseconds. lockd
/// has one thread: nobody else gets a lock in this time.
const RECORD_TIMEOUT: u32 = 5_000;

static CLIENTS: Global<Clients> = Global::new();

/// The clients of all net namespaces.
#[pin_data]
struct Clients {
    #[pin]
    state: Mutex<State>,
    /// Something has changed, or was recorded.
    #[pin]
    changed: PollCondVar,
}

struct State {
    pairs: Pairs<SipHash>,
    recorders: KVec<Recorder>,
}

/// An open file whose user keeps a copy on stable storage.
struct Recorder {
    /// Which one.
    file: *const Opened,
    /// The cookie of its net namespace.
    net: u64,
    /// All up to this change is in the copy.
    sequence: u64,
    /// It has kept a client waiting for too long, and has not written since.
    late: bool,
}

// SAFETY: The pointer is only compared; all other fields may be sent.
unsafe impl Send for Recorder {}

/// What is known of a pair.
#[derive(Clone, Copy)]
struct Known {
    /// The change that brought it.
    sequence: u64,
    /// A recorder could not store it.
    unstored: bool,
}

impl State {
    fn new() -> Self {
        State {
            pairs: Pairs::new(SipHash::random()),
            recorders: KVec::new(),
        }
    }

    /// What is known of a pair.
    fn known(&mut self, peer: &Peer, fsid: &Fsid) -> Option<Known> {
        let pair = self.pairs.get(peer, fsid)?;
        Some(Known {
            sequence: pair.sequence,
            unstored: pair.unstored,
        })
    }

    /// Is a pair of a namespace on stable storage, as far as anybody cares?
    fn is_recorded(&self, net: u64, known: &Known) -> bool {
        let mut recorders = self.recorders.iter().filter(|r| r.net == net).peekable();
        recorders.peek().is_none()
            || !known.unstored && recorders.any(|r| r.sequence >= known.sequence)
    }

    /// Are all recorders of a namespace late?
    fn is_late(&self, net: u64) -> bool {
        self.recorders
            .iter()
            .filter(|r| r.net == net)
            .all(|r| r.late)
    }

    /// All recorders of a namespace are late.
    fn set_late(&mut self, net: u64) {
        for recorder in self.recorders.iter_mut().filter(|r| r.net == net) {
            recorder.late = true;
        }
    }
}

impl Clients {
    /// The state has changed, or is about to: who waits looks again.
    fn changed(&self, _: &State) {
        RECORDED.forget();
        self.changed.notify_all();
    }
}

/// Clients and forms of handles whose pair was there, and recorded, lately: most locks are of these. A client
/// that chooses handles can make digests of its own only, of exports that it may not use.
static RECORDED: Recent = Recent::new();

/// The digest of a client and a form of handle, as the pairs and what is exported are now.
fn digest(host: Host<'_>, form: &Form) -> Digest {
    RECORDED.digest(Iterator::chain(
        form.words(),
        [host.as_ptr() as u64, exported::epoch()],
    ))
}

/// Prepares this file.
pub(crate) fn init_module(setup: &Setup) {
    CLIENTS.init(
        setup,
        pin_init!(Clients {
            state <- new_mutex!(State::new(), "nfsd_ha::Clients"),
            changed <- kernel::new_poll_condvar!("nfsd_ha::Clients"),
        }),
    );
}

/// Frees what this file keeps. For this module's exit, when no file of ours is open, so that nobody polls.
pub(crate) fn exit_module() {
    *CLIENTS.state.lock() = State::new();
}

/// The client that a host is.
pub(crate) fn peer(host: Host<'_>) -> Option<Peer> {
    Some(Peer {
        net: host.net().cookie(),
        server: host.server()?,
        client: host.client()?,
        version: host.version(),
        protocol: host.protocol(),
    })
}

/// A client and an export that are known, and may have yet to be recorded.
pub(crate) struct Noted {
    peer: Peer,
    fsid: Fsid,
    /// What nobody will find if something has changed since.
    lately: Digest,
}

/// Was a client recorded lately with the export that its request is about, or was there no recorder? Does not sleep.
#[inline]
pub(crate) fn is_recorded(host: Host<'_>, request: &Request<'_>) -> bool {
    let form = request.nlm_form();
    form.is_some_and(|(form, _)| RECORDED.has(digest(host, &form)))
}

/// A client is about to ask for a lock on the export that a form of handle leads to: returns when that is known.
/// `is_exported` finds out whether the export is one. `None` if it is none. May sleep.
///
/// Fails with `ENOMEM`; the client must not get a new lock then.
pub(crate) fn note(
    host: Host<'_>,
    form: &Form,
    is_exported: impl FnOnce() -> bool,
) -> Result<Option<Noted>> {
    let mut lately = digest(host, form);
    let Some(peer) = peer(host) else {
        return Ok(None);
    };
    let place = || exported::place_of_form(host.net(), form, None);
    let mut at = place();
    let known = |at: &Place| {
        let fsid = at.shown()?;
        CLIENTS.state.lock().pairs.get(&peer, &fsid)?;
        Some(fsid)
    };
    let mut found = known(&at);
    if found.is_none() {
        if !is_exported() {
            return Ok(None);
        }
        // It is known by now which export that is.
        lately = digest(host, form);
        at = place();
        found = at.shown();
        if let Some(fsid) = found {
            let mut state = CLIENTS.state.lock();
            if state.pairs.get(&peer, &fsid).is_none() {
                let add = |name: &[u8]| state.pairs.add(&peer, &fsid, &at, name);
                host.with_name(add)?;
                CLIENTS.changed(&state);
            }
        }
    }
    Ok(found.map(|fsid| Noted { peer, fsid, lately }))
}

impl Noted {
    /// Waits until it is recorded, if there is a recorder. Returns whether there is. May sleep.
    ///
    /// Fails with `EIO` if the recorder takes too long, or has done so and not written since, or could not
    /// store this; the client must not get a new lock then.
    pub(crate) fn wait(self) -> Result<bool> {
        let net = self.peer.net;
        let mut state = CLIENTS.state.lock();
        let mut left = msecs_to_jiffies(RECORD_TIMEOUT);
        while let Some(pair) = state.known(&self.peer, &self.fsid) {
            if state.is_recorded(net, &pair) {
                // If something has changed since, nobody will find it.
                RECORDED.add(self.lately);
                return Ok(state.recorders.iter().any(|r| r.net == net));
            }
            // While we are switched off, recorders are not listened to.
            if !in_force::is() {
                break;
            }
            // Only the first one waits in vain: lockd is there for others, too.
            if pair.unstored || state.is_late(net) {
                return Err(EIO);
            }
            left = match CLIENTS.changed.wait_interruptible_timeout(&mut state, left) {
                CondVarTimeoutResult::Woken { jiffies } => jiffies,
                _ => 0,
            };
            if left == 0 && !state.is_recorded(net, &pair) {
                state.set_late(net);
                pr_warn!(
                    "clients are not recorded in time: no locks for new ones until they are\n"
                );
            }
        }
        Ok(false)
    }
}

/// A client has lost its locks on an export, and must be notified: it is known from now on, if
/// it was not, as it took them before this module was loaded. May sleep.
pub(crate) fn remember(host: Host<'_>, at: &Place) {
    if let (Some(peer), Some(fsid)) = (peer(host), at.shown()) {
        let mut state = CLIENTS.state.lock();
        if state.pairs.get(&peer, &fsid).is_none() {
            let add = |name: &[u8]| state.pairs.add(&peer, &fsid, at, name);
            let added = host.with_name(add);
            if added.is_err() {
                pr_warn!("no memory to remember a client that must be notified\n");
            }
            CLIENTS.changed(&state);
        }
    }
}

/// lockd forgets a client. May sleep.
pub(crate) fn forget(host: Host<'_>) {
    if let Some(peer) = peer(host) {
        let mut state = CLIENTS.state.lock();
        if state.pairs.forget(|pair| pair.peer == peer) {
            CLIENTS.changed(&state);
        }
    }
}

/// A scope begins its grace period: who asks for a lock there has come with it, or comes back,
/// and is recorded anew, as the record may have gone with the export. May sleep.
pub(crate) fn forget_scope(net: Net<'_>, scope: &Scope) {
    let net = net.cookie();
    let is_of = |pair: &Pair| {
        pair.peer.net == net
            && match scope {
                Scope::Export(_) => scope.covers(&pair.at),
                Scope::Server(address) => pair.peer.server == *address,
            }
    };
    let mut state = CLIENTS.state.lock();
    if state.pairs.forget(is_of) {
        CLIENTS.changed(&state);
    }
}

/// The number of the last change.
pub(crate) fn sequence() -> u64 {
    CLIENTS.state.lock().pairs.sequence()
}

/// Makes a poller wait for the next change.
pub(crate) fn register(table: &PollTable<'_>, file: &File) {
    table.register_wait(file, &CLIENTS.changed);
}

/// Does a command of `nlm_clients`, see [`Recorded`]. Returns after the next change, or at once if the
/// file is not to wait; with the number of the change since when the recorder wants to know what has come, if
/// it does. May sleep.
///
/// Fails with `EINVAL` for another command or a change that was not yet, and with `EINTR` after
/// a signal or with `ENODEV` when the livepatch is switched off, when that was noted all the same.
pub(crate) fn write(file: &Opened, data: &[u8]) -> Result<Option<u64>> {
    let said = Recorded::parse(command(data)?)?;
    let sequence = said.sequence;
    let mut state = CLIENTS.state.lock();
    if sequence > state.pairs.sequence() {
        return Err(EINVAL);
    }
    let id: *const Opened = file;
    let net = file.nfsd().net().cookie();
    let earlier = match state.recorders.iter_mut().find(|r| r.file == id) {
        Some(recorder) => {
            let earlier = recorder.sequence;
            recorder.sequence = earlier.max(sequence);
            recorder.late = false;
            earlier
        }
        None => {
            let recorder = Recorder {
                file: id,
                net,
                sequence,
                late: false,
            };
            state.recorders.push(recorder, GFP_KERNEL)?;
            0
        }
    };
    state.pairs.recorded(net, earlier, &said);
    CLIENTS.changed(&state);
    while !file.nonblocking && state.pairs.sequence() == sequence {
        in_force::check()?;
        if CLIENTS.changed.wait_interruptible(&mut state) {
            return Err(EINTR);
        }
    }
    Ok(Some(sequence).filter(|_| said.news))
}

/// The livepatch is being switched off: nobody waits here for news or for a recorder any more. May sleep, a moment.
pub(crate) fn wake() {
    // Who has looked before holds the lock until it waits.
    drop(CLIENTS.state.lock());
    CLIENTS.changed.notify_all();
}

/// A file is closed: if it was a recorder's, nobody waits for that any more. May sleep.
pub(crate) fn closed(file: &Opened) {
    let id: *const Opened = file;
    let mut state = CLIENTS.state.lock();
    state.recorders.retain(|r| r.file != id);
    CLIENTS.changed(&state);
}

/// Calls `f` with each client and export of a net namespace, by its cookie, that came after a change; returns
/// the number of the last change. Fails as `f` does. May sleep; `f` must not come back here.
pub(crate) fn each(net: u64, since: u64, mut f: impl FnMut(&Pair) -> Result) -> Result<u64> {
    let state = CLIENTS.state.lock();
    for pair in state.pairs.since(since).filter(|pair| pair.peer.net == net) {
        f(pair)?;
    }
    Ok(state.pairs.sequence())
}
