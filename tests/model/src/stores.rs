// SPDX-License-Identifier: GPL-2.0

//! What daemons keep: as nfsdcld does (`utils/nfsdcld/sqlite.c` of nfs-utils), and as nfsd-had does.

use crate::tracking::cld::Command;
use std::collections::{BTreeMap, BTreeSet};

pub(crate) type Names = BTreeSet<Vec<u8>>;

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
        clients: BTreeMap<Vec<u8>, u64>,
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
            epoch: 0,
            ended: 0,
        }
    }

    /// Is it nfsd-had's? Then its last epoch.
    pub(crate) fn epoch(&self) -> Option<u64> {
        match self {
            Store::Tables { .. } => None,
            Store::Epochs { epoch, .. } => Some(*epoch),
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

    /// Is the last grace period over?
    pub(crate) fn is_settled(&self) -> bool {
        match self {
            Store::Tables { recovery, .. } => recovery.is_none(),
            Store::Epochs { epoch, ended, .. } => epoch == ended,
        }
    }

    /// Does what an upcall says. Returns the records to send.
    pub(crate) fn perform(&mut self, command: u8, name: &[u8], said: Option<u64>) -> Names {
        const CREATE: u8 = Command::Create as u8;
        const REMOVE: u8 = Command::Remove as u8;
        const GRACE_DONE: u8 = Command::GraceDone as u8;
        const GRACE_START: u8 = Command::GraceStart as u8;
        match (self, command) {
            (Store::Tables { current, .. }, CREATE) => drop(current.insert(name.to_vec())),
            (Store::Tables { current, .. }, REMOVE) => drop(current.remove(name)),
            (Store::Tables { recovery, .. }, GRACE_DONE) => {
                let old = recovery.take();
                assert!(old.is_some(), "GraceDone twice: all records are lost");
            }
            (Store::Tables { current, recovery }, GRACE_START) => {
                let current = std::mem::take(current);
                return recovery.get_or_insert(current).clone();
            }
            (Store::Epochs { clients, epoch, .. }, CREATE) => {
                clients.insert(name.to_vec(), *epoch);
            }
            (Store::Epochs { clients, .. }, REMOVE) => drop(clients.remove(name)),
            (Store::Epochs { epoch, ended, .. }, GRACE_DONE) => {
                if said == Some(*epoch) {
                    *ended = *epoch;
                }
            }
            (store @ Store::Epochs { .. }, GRACE_START) => {
                if let Store::Epochs { epoch, .. } = store {
                    *epoch += 1;
                }
                return store.names();
            }
            _ => {}
        }
        Names::new()
    }
}
