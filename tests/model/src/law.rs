// SPDX-License-Identifier: GPL-2.0

//! What must be true whenever a crash may come, which is always: if the daemon's records say that they have all that is
//! held, they do. So the next server knows in whose way it would be.

use crate::base::clock::since_1970;
use crate::scopes::place::ExportId;
use crate::stores::{kind, Export, Name, Names, Store};
use std::collections::{BTreeMap, BTreeSet};

/// What clients hold something on; those of NLM have no names.
#[derive(Default)]
pub(crate) struct Truth {
    /// How often each holds something.
    held: BTreeMap<(Name, Export), usize>,
    /// What was held when an earlier server stopped, by who may still reclaim it: who is on record, or one of NLM.
    before: BTreeSet<(Name, Export)>,
    /// No daemon has heard of this server yet.
    unheard: bool,
}

/// As a daemon knows it.
fn known(export: ExportId) -> Export {
    (export.fsid.to_string(), export.file_system)
}

impl Truth {
    /// Something is granted.
    pub(crate) fn grant(&mut self, name: &[u8], export: ExportId) {
        *self.held.entry((name.into(), known(export))).or_default() += 1;
    }

    /// What a client held when an earlier server stopped, and has not reclaimed.
    pub(crate) fn before(&self, name: &[u8]) -> Vec<Export> {
        let is_own = |row: &&(Name, Export)| row.0 == name && !self.held.contains_key(*row);
        let own = self.before.iter().filter(is_own);
        own.map(|row| row.1.clone()).collect()
    }

    /// May somebody of these kinds reclaim what is held on an export?
    pub(crate) fn is_wanted(&self, export: ExportId, kinds: u32) -> bool {
        let export = known(export);
        let mut before = self.before.iter();
        before.any(|(name, at)| *at == export && kind(name) & kinds != 0)
    }

    /// May a client of these kinds reclaim anything?
    pub(crate) fn any_before(&self, kinds: u32) -> bool {
        self.before.iter().any(|row| kind(&row.0) & kinds != 0)
    }

    /// It is closed.
    pub(crate) fn close(&mut self, name: &[u8], export: ExportId) {
        let row = (name.into(), known(export));
        let count = self.held.get_mut(&row).expect("it was granted");
        *count -= 1;
        if *count == 0 {
            self.held.remove(&row);
            self.before.remove(&row);
        }
    }

    /// A client holds nothing any more: it has gone. If it may be on record by what it did now, it is not for what it held
    /// before.
    pub(crate) fn lose(&mut self, name: &[u8], may_be_on_record: bool) {
        self.held.retain(|row, _| row.0 != name);
        self.before.retain(|row| row.0 != name || !may_be_on_record);
    }

    /// The server stops.
    pub(crate) fn stop(&mut self) {
        let held = std::mem::take(&mut self.held);
        // What was granted while no daemon knew is not reclaimed where others may hold something.
        if !self.unheard {
            self.before.extend(held.into_keys());
        }
        self.unheard = true;
    }

    /// Is there a daemon that has yet to hear that one has started?
    pub(crate) fn is_unheard(&self) -> bool {
        self.unheard
    }

    /// Who is not on record may not reclaim any more.
    pub(crate) fn keep(&mut self, names: &Names) {
        let may = |row: &(Name, Export)| row.0.is_empty() || names.contains(&row.0);
        self.before.retain(may);
    }

    /// A daemon has heard that one starts.
    pub(crate) fn hear(&mut self) {
        self.unheard = false;
    }

    /// Clients of these kinds reclaim no more.
    pub(crate) fn end_grace(&mut self, kinds: u32) {
        self.before.retain(|row| kind(&row.0) & kinds == 0);
    }

    /// What is held now.
    pub(crate) fn held(&self) -> BTreeSet<&(Name, Export)> {
        self.held.keys().collect()
    }

    /// Would the next server know enough, if this one crashes now?
    pub(crate) fn check(&self, store: &Store) {
        if !store.is_all_held(since_1970()) || self.unheard {
            return;
        }
        let (names, holds) = (store.names(), store.holds());
        for row in self.held.keys().chain(&self.before) {
            let (name, export) = row;
            let shown = String::from_utf8_lossy(name);
            assert!(
                holds.contains(&row),
                "'{shown}' holds something on {export:?}, which is not on record"
            );
            let may_reclaim = name.is_empty() || names.contains(name);
            assert!(
                !may_reclaim || store.holders(export) & kind(name) != 0,
                "'{shown}' holds something on {export:?}, and nobody is told"
            );
        }
    }
}
