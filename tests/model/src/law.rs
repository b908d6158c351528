// SPDX-License-Identifier: GPL-2.0

//! What must be true whenever a crash may come, which is always: if the daemon's records say that they have all that is
//! held, they do. So the next server knows in whose way it would be.

use crate::base::clock::since_1970;
use crate::scopes::place::ExportId;
use crate::stores::{kind, Export, Name, Store};
use std::collections::{BTreeMap, BTreeSet};

/// What clients hold something on; those of NLM have no names.
#[derive(Default)]
pub(crate) struct Truth {
    /// How often each holds something.
    held: BTreeMap<(Name, Export), usize>,
    /// What was held when an earlier server stopped, by who may still reclaim it.
    before: BTreeSet<(Name, Export)>,
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

    /// It is closed.
    pub(crate) fn close(&mut self, name: &[u8], export: ExportId) {
        let row = (name.into(), known(export));
        let count = self.held.get_mut(&row).expect("it was granted");
        *count -= 1;
        if *count == 0 {
            self.held.remove(&row);
        }
    }

    /// A client holds nothing any more: it has gone. If it was on record, it may reclaim nothing, either.
    pub(crate) fn lose(&mut self, name: &[u8], was_on_record: bool) {
        self.held.retain(|row, _| row.0 != name);
        self.before.retain(|row| row.0 != name || !was_on_record);
    }

    /// The server stops.
    pub(crate) fn stop(&mut self) {
        let held = std::mem::take(&mut self.held);
        self.before.extend(held.into_keys());
    }

    /// Nobody reclaims any more.
    pub(crate) fn end_grace(&mut self) {
        self.before.clear();
    }

    /// What is held now.
    pub(crate) fn held(&self) -> BTreeSet<&(Name, Export)> {
        self.held.keys().collect()
    }

    /// What may be reclaimed, by clients that are on record, and those of NLM.
    pub(crate) fn reclaimable(&self, store: &Store) -> Vec<(Name, Export)> {
        let names = store.names();
        let may = |row: &&(Name, Export)| row.0.is_empty() || names.contains(&row.0);
        self.before.iter().filter(may).cloned().collect()
    }

    /// Would the next server know enough, if this one crashes now?
    pub(crate) fn check(&self, store: &Store) {
        if !store.is_all_held(since_1970()) {
            return;
        }
        let names = store.names();
        let reclaimable = self.reclaimable(store);
        for (name, export) in self.held.keys().chain(&reclaimable) {
            let shown = String::from_utf8_lossy(name);
            assert!(
                store.holders(export) & kind(name) != 0
                    || !names.contains(name) && !name.is_empty(),
                "'{shown}' holds something on {export:?}, and nobody would know"
            );
            assert!(
                store.count(name) > 0 || !names.contains(name),
                "'{shown}' holds something, and nobody would wait for it"
            );
        }
    }
}
