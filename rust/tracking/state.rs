// SPDX-License-Identifier: GPL-2.0

//! What a channel knows: the upcalls on their way, the records, and what is wanted of them; and an upcall,
//! where it is.
//!
//! All of it is guarded by the channel's lock.

use crate::base::clock::Moment;
use crate::base::params;
use crate::base::siphash::SipHash;
use crate::nfs4::nfs4_client::ClientRef;
use crate::nfs4::records::RecordTable;
use crate::scopes::was_held::WasHeld;
use crate::tracking::all_held::AllHeld;
use crate::tracking::attributes::Epoch;
use crate::tracking::changes::Changes;
use crate::tracking::cld::{Command, Said, Version};
use crate::tracking::holds::Holds;
use crate::tracking::pipe::Message;
use crate::tracking::stats::Stats;
use crate::tracking::xid::XidTable;
use core::sync::atomic::AtomicBool;
use kernel::prelude::*;
use kernel::rbtree::RBTree;
use kernel::sync::{new_condvar, Arc, CondVar, LockedBy, Mutex};

/// How far a channel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// No daemon has sent its records yet.
    Waiting,
    /// A daemon has.
    Ready,
    /// A daemon has, and is gone. It was one of version 3: which one the next speaks is not known yet.
    Parted,
    /// The server stops.
    Closed,
}

/// What a channel knows.
pub(crate) struct State {
    pub(crate) upcalls: XidTable<Arc<Upcall>>,
    /// Upcalls that wait until fewer are in flight, by their places.
    pub(crate) line: RBTree<u64, Arc<Upcall>>,
    pub(crate) next_place: u64,
    /// The clients that may reclaim.
    pub(crate) records: RecordTable<SipHash>,
    /// On which exports somebody held something, as far as the daemon has said so.
    pub(crate) was_held: WasHeld,
    /// Who holds something on which export, as the daemon has it on record.
    pub(crate) holds: Holds<SipHash, ClientRef>,
    /// The name by which exports are held that are in grace by command.
    pub(crate) grace_name: GraceName,
    /// What the daemon was told of all of them.
    pub(crate) all_held: AllHeld,
    /// What the daemon has not confirmed yet.
    pub(crate) changes: Changes<SipHash, ClientRef>,
    /// nfsd has said that the grace period is over.
    pub(crate) grace_over: bool,
    /// GraceDone is to be sent when nothing is owed.
    pub(crate) grace_done_due: bool,
    /// The version of the protocol in use: 1 until the daemon has said more.
    pub(crate) version: Version,
    /// The epoch that a daemon of version 3 began for this server.
    pub(crate) epoch: Option<Epoch>,
    /// The daemon is another one than that which stored the clients: all are to be stored again.
    pub(crate) is_another: bool,
    /// Does somebody have the pipe open?
    pub(crate) daemon: bool,
    /// How often a daemon has come to a pipe that nobody had open.
    pub(crate) arrivals: u64,
    /// How often one of version 3 has gone.
    pub(crate) partings: u64,
    /// How far it is.
    pub(crate) stage: Stage,
    /// Did something fail, and has not been made good yet?
    pub(crate) outage: bool,
    /// Since when there has been no daemon that does what it is asked.
    pub(crate) silent: Option<Moment>,
    /// Records are on their way.
    pub(crate) loading: bool,
    /// When a downcall came last.
    pub(crate) heard: Moment,
    /// Counters.
    pub(crate) stats: Stats,
}

impl State {
    /// Without a daemon.
    pub(crate) fn new() -> Self {
        State {
            // A daemon may still hold answers to a server that is gone.
            upcalls: XidTable::new(SipHash::random().word()),
            line: RBTree::new(),
            next_place: 0,
            records: RecordTable::new(SipHash::random()),
            was_held: WasHeld::default(),
            holds: Holds::new(SipHash::random()),
            grace_name: grace_name(),
            all_held: AllHeld::default(),
            changes: Changes::new(SipHash::random()),
            grace_over: false,
            grace_done_due: false,
            version: Version::V1,
            epoch: None,
            is_another: false,
            daemon: false,
            arrivals: 0,
            partings: 0,
            stage: Stage::Waiting,
            outage: false,
            silent: Some(Moment::now()),
            loading: false,
            heard: Moment::now(),
            stats: Stats::default(),
        }
    }

    /// The number of upcalls that the daemon has to answer, and that wait in line.
    pub(crate) fn in_flight(&self) -> (usize, usize) {
        (self.upcalls.len(), self.line.iter().count())
    }

    /// Has a daemon sent its records, whether it is still there or not?
    pub(crate) fn has_records(&self) -> bool {
        matches!(self.stage, Stage::Ready | Stage::Parted)
    }

    /// How long a request may wait for the daemon, in milliseconds: an outage costs a request one
    /// time limit from the outage's beginning, so that it cannot stop the server for long.
    pub(crate) fn patience(&self) -> u32 {
        let limit = params::upcall_timeout();
        self.silent.map_or(limit, |since| since.left(limit))
    }
}

/// The name under which the exports are held that are in grace by command, for those who have yet to come back. No client
/// can choose it before it is there.
pub(crate) type GraceName = [u8; 46];

/// One that nobody knows.
fn grace_name() -> GraceName {
    let mut name = *b"nfsd_ha: in grace by command, ----------------";
    for digits in name[30..].chunks_mut(8) {
        let mut word = SipHash::random().word();
        for digit in digits {
            *digit = b"0123456789abcdef"[word as usize % 16];
            word /= 16;
        }
    }
    name
}

/// An upcall on its way.
pub(crate) type Upcall = Message<Call>;

/// What we know of an upcall.
#[pin_data]
pub(crate) struct Call {
    /// What it asks for.
    pub(crate) command: Command,
    /// The version that it has, and its answer.
    pub(crate) version: Version,
    phase: LockedBy<Phase, State>,
    /// Has the daemon read it to its end, since it was sent? Without the lock, as the daemon should
    /// not wait for who has just sent it something.
    pub(crate) read: AtomicBool,
    /// Signalled when it is answered.
    #[pin]
    pub(crate) answered: CondVar,
}

/// Where an upcall is.
#[derive(Clone, Copy)]
pub(crate) enum Phase {
    /// It waits until fewer upcalls are in flight, at this place of the line.
    InLine(u64),
    /// It is on the pipe with this xid, or the daemon has read it.
    Sent(u32),
    /// The daemon said this, or nobody will say anything any more.
    Answered(Result<Said>),
}

impl Call {
    /// An upcall that has a place in line; its phase is guarded by `state`.
    pub(crate) fn new(
        command: Command,
        version: Version,
        place: u64,
        state: &Mutex<State>,
    ) -> impl PinInit<Self> + '_ {
        pin_init!(Self {
            command,
            version,
            phase: LockedBy::new(state, Phase::InLine(place)),
            read: AtomicBool::new(false),
            answered <- new_condvar!("nfsd_ha::Call"),
        })
    }

    /// Where it is.
    pub(crate) fn phase(&self, state: &State) -> Phase {
        *self.phase.access(state)
    }

    /// It is there now. One that is answered stays answered.
    pub(crate) fn set_phase(&self, state: &mut State, phase: Phase) {
        let old = self.phase.access_mut(state);
        if !matches!(old, Phase::Answered(_)) {
            *old = phase;
        }
    }

    /// It is answered. Its caller is to be woken by [`Call::answered`].
    pub(crate) fn answer(&self, state: &mut State, result: Result<Said>) {
        self.set_phase(state, Phase::Answered(result));
    }

    /// Nobody will answer it any more: its caller is woken, and told why.
    pub(crate) fn give_up(&self, state: &mut State, why: Error) {
        self.answer(state, Err(why));
        self.answered.notify_all();
    }
}
