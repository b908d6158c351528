// SPDX-License-Identifier: GPL-2.0

//! What daemons keep: as nfsdcld does (`utils/nfsdcld/sqlite.c` of nfs-utils), and as nfsd-had does.

use crate::explore::{below, one_in};
use crate::tracking::cld::Command;
use std::collections::{BTreeMap, BTreeSet};

pub(crate) type Name = Vec<u8>;
pub(crate) type Names = BTreeSet<Name>;

/// An export as a daemon knows it: what the kernel has written, and its file system.
pub(crate) type Export = (String, [u8; 16]);

/// Who held something on an export: bits.
pub(crate) const NFS4: u32 = 1;
pub(crate) const NLM: u32 = 2;

/// Of which kind a client is; those of NLM have no names.
pub(crate) fn kind(name: &[u8]) -> u32 {
    if name.is_empty() {
        NLM
    } else {
        NFS4
    }
}

/// What an upcall says.
#[derive(Default)]
pub(crate) struct Asked {
    pub(crate) command: u8,
    pub(crate) name: Name,
    pub(crate) export: Option<Export>,
    pub(crate) epoch: Option<u128>,
    pub(crate) until: Option<u64>,
}

/// What a server that starts is told.
#[derive(Default)]
pub(crate) struct Told {
    /// Who may reclaim, and on how many exports each held something, if that is known.
    pub(crate) clients: Vec<(Name, Option<u32>)>,
    pub(crate) exports: Vec<(Export, u32)>,
    pub(crate) known: bool,
}

fn name(number: u32, epoch: u64) -> u128 {
    u128::from(number) << 64 | u128::from(epoch)
}

/// The records of a daemon.
pub(crate) enum Store {
    /// nfsdcld's.
    Tables {
        /// Of the current epoch.
        current: Names,
        /// Of the epoch before, while there is a grace period.
        recovery: Option<Names>,
    },
    /// nfsd-had's.
    Epochs {
        /// The epoch in which each client was stored last.
        clients: BTreeMap<Name, u64>,
        /// The same of what they hold something on.
        holds: BTreeMap<(Name, Export), u64>,
        /// From when until when all of that is there, in this epoch.
        all_held: Option<(u64, u64)>,
        /// No other file has this number.
        number: u32,
        /// The last one that has begun.
        epoch: u64,
        /// The last one whose grace period is over.
        ended: u64,
    },
}

impl Store {
    /// One of nfsdcld's with these clients.
    pub(crate) fn tables(current: Names) -> Self {
        Store::Tables {
            current,
            recovery: None,
        }
    }

    /// One of nfsd-had's with these clients.
    pub(crate) fn epochs(names: Names) -> Self {
        Store::Epochs {
            clients: names.into_iter().map(|name| (name, 0)).collect(),
            holds: BTreeMap::new(),
            all_held: None,
            number: below(1 << 32) as u32,
            epoch: 0,
            ended: 0,
        }
    }

    /// One of either that knows nobody.
    pub(crate) fn another() -> Self {
        match one_in(2) {
            true => Self::tables(Names::new()),
            false => Self::epochs(Names::new()),
        }
    }

    /// Is it nfsd-had's? Then the name of its last epoch.
    pub(crate) fn epoch(&self) -> Option<u128> {
        match self {
            Store::Tables { .. } => None,
            Store::Epochs { number, epoch, .. } => Some(name(*number, *epoch)),
        }
    }

    /// Who may reclaim after the next start.
    pub(crate) fn names(&self) -> Names {
        match self {
            Store::Tables { current, recovery } => {
                { current.iter().chain(recovery.iter().flatten()).cloned() }.collect()
            }
            Store::Epochs { clients, ended, .. } => {
                let may = clients.iter().filter(|(_, epoch)| *epoch >= ended);
                may.map(|(name, _)| name.clone()).collect()
            }
        }
    }

    /// What counts of what clients hold.
    pub(crate) fn holds(&self) -> Vec<&(Name, Export)> {
        match self {
            Store::Tables { .. } => Vec::new(),
            Store::Epochs { holds, ended, .. } => {
                let count = holds.iter().filter(|(_, epoch)| *epoch >= ended);
                count.map(|(hold, _)| hold).collect()
            }
        }
    }

    /// If a server starts now, is it told that it knows on which exports something was held?
    pub(crate) fn is_all_held(&self, now: u64) -> bool {
        match self {
            Store::Tables { .. } => false,
            Store::Epochs { all_held, .. } => {
                all_held.is_some_and(|(from, until)| (from..=until).contains(&now))
            }
        }
    }

    /// When it was said last that all is held.
    pub(crate) fn said(&self) -> Option<u64> {
        match self {
            Store::Tables { .. } => None,
            Store::Epochs { all_held, .. } => all_held.map(|(from, _)| from),
        }
    }

    /// Who held something on an export, as it would be told: what those hold does not count who are on record, and may
    /// not reclaim.
    pub(crate) fn holders(&self, export: &Export) -> u32 {
        let Store::Epochs { clients, ended, .. } = self else {
            return 0;
        };
        let counts = |name: &Name| clients.get(name).is_none_or(|epoch| epoch >= ended);
        let holds = self.holds().into_iter();
        holds
            .filter(|(name, at)| at == export && counts(name))
            .fold(0, |all, (name, _)| all | kind(name))
    }

    /// On how many exports a client held something.
    pub(crate) fn count(&self, name: &Name) -> usize {
        self.holds().iter().filter(|hold| hold.0 == *name).count()
    }

    /// Is the last grace period over?
    pub(crate) fn is_settled(&self) -> bool {
        match self {
            Store::Tables { recovery, .. } => recovery.is_none(),
            Store::Epochs { epoch, ended, .. } => epoch == ended,
        }
    }

    /// Does what an upcall says. Returns what is told of a start.
    pub(crate) fn perform(&mut self, asked: &Asked, now: u64) -> Told {
        const CREATE: u8 = Command::Create as u8;
        const REMOVE: u8 = Command::Remove as u8;
        const GRACE_DONE: u8 = Command::GraceDone as u8;
        const GRACE_START: u8 = Command::GraceStart as u8;
        const HOLD: u8 = Command::Hold as u8;
        const UNHOLD: u8 = Command::Unhold as u8;
        const ALL_HELD: u8 = Command::AllHeld as u8;
        let name = asked.name.clone();
        match self {
            Store::Tables { current, recovery } => match asked.command {
                CREATE => drop(current.insert(name)),
                REMOVE => drop(current.remove(&name)),
                GRACE_DONE => {
                    let old = recovery.take();
                    assert!(old.is_some(), "GraceDone twice: all records are lost");
                }
                GRACE_START => {
                    let current = std::mem::take(current);
                    let all = recovery.get_or_insert(current).iter();
                    return Told {
                        clients: all.map(|name| (name.clone(), None)).collect(),
                        ..Told::default()
                    };
                }
                _ => {}
            },
            Store::Epochs {
                clients,
                holds,
                all_held,
                number,
                epoch,
                ended,
            } => match asked.command {
                CREATE => drop(clients.insert(name, *epoch)),
                REMOVE => {
                    clients.remove(&name);
                    holds.retain(|(holder, _), _| *holder != name);
                }
                GRACE_DONE if asked.epoch == Some(self::name(*number, *epoch)) => *ended = *epoch,
                HOLD => {
                    let export = asked.export.clone().expect("an export");
                    holds.insert((name, export), *epoch);
                }
                UNHOLD => {
                    let export = asked.export.clone().expect("an export");
                    holds.remove(&(name, export));
                }
                ALL_HELD if asked.epoch == Some(self::name(*number, *epoch)) => {
                    *all_held = Some((now, asked.until.expect("a time")));
                }
                GRACE_START => {
                    let known = self.is_all_held(now);
                    if let Store::Epochs {
                        epoch, all_held, ..
                    } = self
                    {
                        *epoch += 1;
                        *all_held = None;
                    }
                    return self.tell(known);
                }
                _ => {}
            },
        }
        Told::default()
    }

    /// What nfsd-had says of a start.
    fn tell(&self, known: bool) -> Told {
        let clients = self.names().into_iter();
        let clients = clients.map(|name| {
            let holds = known.then(|| self.count(&name) as u32);
            (name, holds)
        });
        let exports: BTreeSet<_> = self.holds().into_iter().map(|hold| &hold.1).collect();
        let exports = exports.into_iter().filter(|_| known);
        let exports = exports.map(|export| (export.clone(), self.holders(export)));
        Told {
            clients: clients.collect(),
            exports: exports.filter(|(_, holders)| *holders != 0).collect(),
            known,
        }
    }
}
