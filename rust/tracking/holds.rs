// SPDX-License-Identifier: GPL-2.0

//! Holds: which client has state on which export, as far as the daemon has that on record.
//!
//! A hold is there before the client's first state on the export is granted. It stays when the last state has gone, until
//! somebody who looks now and then finds none, twice:
//!
//! ```text
//!   none --> stored, by a Hold --> leaving: a look found nothing --> none, by an Unhold: the next one found nothing
//!               ^                      |
//!               +----------------------+  somebody is about to have state there
//! ```
//!
//! Clients of NLM have no names here: an empty one stands for all of them.
//!
//! This file makes no kernel calls; it is also compiled and tested on the host.

use crate::base::index::KeyedHash;
use crate::base::table::Table;
use crate::scopes::place::ExportId;
use kernel::prelude::*;

/// What a record of the daemon's is of: a client, or something that a client holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row<'a> {
    /// The client's name; for a hold it may be empty: clients of NLM.
    pub(crate) name: &'a [u8],
    /// The export, if it is a hold.
    pub(crate) export: Option<ExportId>,
}

impl<'a> Row<'a> {
    /// Of what a client holds on an export.
    pub(crate) fn of_hold(name: &'a [u8], export: &ExportId) -> Self {
        Row {
            name,
            export: Some(*export),
        }
    }
}

/// What may become of holds that are not used.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leave {
    /// Nothing.
    No,
    /// They begin to leave.
    Begin,
    /// They also end, if they did so before.
    End,
}

/// One export that a client holds something on.
struct Held<O> {
    /// Where it is in the table of exports.
    export: u32,
    /// Which client of that name: one that has just gone and the next one may be there at the same time.
    owner: Option<O>,
    leaving: bool,
}

/// One client.
struct Holder<O> {
    name: KVec<u8>,
    held: KVec<Held<O>>,
}

/// An export, and how many clients hold something on it.
struct Export {
    id: ExportId,
    holders: usize,
}

/// The table of holds. `O` names a client of nfsd.
pub(crate) struct Holds<H, O> {
    hash: H,
    holders: Table<Holder<O>>,
    /// Admins make these, and nobody else. They stay: a hold of any of them may be on its way.
    exports: KVVec<Export>,
    count: usize,
    leaving: usize,
}

impl<H: KeyedHash, O: Copy + PartialEq> Holds<H, O> {
    /// None.
    pub(crate) const fn new(hash: H) -> Self {
        Holds {
            hash,
            holders: Table::new(),
            exports: KVVec::new(),
            count: 0,
            leaving: 0,
        }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// How often one began to leave.
    pub(crate) fn leaving(&self) -> usize {
        self.leaving
    }

    /// The exports that somebody holds something on.
    pub(crate) fn held(&self) -> impl Iterator<Item = &ExportId> {
        let held = self.exports.iter().filter(|export| export.holders > 0);
        held.map(|export| &export.id)
    }

    /// The exports that somebody holds something on, or did.
    pub(crate) fn known(&self) -> impl Iterator<Item = &ExportId> {
        self.exports.iter().map(|export| &export.id)
    }

    /// Somebody wants a hold of an export. Fails with `ENOMEM`. May sleep.
    pub(crate) fn note(&mut self, id: &ExportId) -> Result<u32> {
        if let Some(at) = self.export(id) {
            return Ok(at);
        }
        let (id, holders) = (*id, 0);
        self.exports.push(Export { id, holders }, GFP_KERNEL)?;
        Ok((self.exports.len() - 1) as u32)
    }

    /// Has a client a hold of an export? It leaves no more, if it did, and is this client's.
    pub(crate) fn keep(&mut self, name: &[u8], export: &ExportId, owner: Option<O>) -> bool {
        let held = self.export(export).and_then(|at| self.hold(name, at));
        let keep = |held: &mut Held<O>| (held.leaving, held.owner) = (false, owner);
        held.map(keep).is_some()
    }

    /// Is one of the holds of a name this client's?
    pub(crate) fn is_holder(&self, name: &[u8], owner: O) -> bool {
        let holder = self.find(name).and_then(|at| self.holders.get(at));
        holder.is_some_and(|holder| holder.held.iter().any(|held| held.owner == Some(owner)))
    }

    /// The daemon has a hold on record. Fails with `ENOMEM`. May sleep.
    pub(crate) fn add(&mut self, name: &[u8], id: &ExportId, owner: Option<O>) -> Result {
        let export = self.note(id)?;
        let at = match self.find(name) {
            Some(at) => at,
            None => self.add_holder(name)?,
        };
        let held = &mut self.holders.get_mut(at).ok_or(EINVAL)?.held;
        if let Some(held) = held.iter_mut().find(|held| held.export == export) {
            (held.leaving, held.owner) = (false, owner);
            return Ok(());
        }
        let leaving = false;
        let own = Held {
            export,
            owner,
            leaving,
        };
        held.push(own, GFP_KERNEL)?;
        self.exports[export as usize].holders += 1;
        self.count += 1;
        Ok(())
    }

    fn add_holder(&mut self, name: &[u8]) -> Result<usize> {
        let mut own = KVec::with_capacity(name.len(), GFP_KERNEL)?;
        own.extend_from_slice(name, GFP_KERNEL)?;
        let holder = Holder {
            name: own,
            held: KVec::new(),
        };
        self.holders.insert(self.hash.hash(name), holder)
    }

    /// Somebody has looked at what a client holds something on: `finds` says whether that is so of an export. What it has left
    /// is leaving; calls `left` with what did so before, which is no hold any more; as far as `leave` says. Fails as `left`
    /// does; what that was called with is a hold then.
    pub(crate) fn look(
        &mut self,
        name: &[u8],
        leave: Leave,
        finds: impl Fn(&ExportId) -> bool,
        mut left: impl FnMut(&ExportId) -> Result,
    ) -> Result {
        let Some(at) = self.find(name) else {
            return Ok(());
        };
        let mut next = 0;
        while let Some(&mut Held {
            export, leaving, ..
        }) = self.at(at, next)
        {
            let export = self.exports[export as usize].id;
            let is_there = finds(&export);
            if is_there || !leaving || leave != Leave::End {
                let begins = !is_there && !leaving && leave != Leave::No;
                if let Some(held) = self.at(at, next) {
                    held.leaving = !is_there && (leaving || begins);
                }
                self.leaving += usize::from(begins);
                next += 1;
                continue;
            }
            left(&export)?;
            self.drop_held(at, next);
        }
        if next == 0 {
            let _ = self.holders.take(at);
        }
        Ok(())
    }

    /// Forgets those holds of a name that `goes` says so of, by their export and their client. Fails as that does; what it
    /// was called with stays then.
    pub(crate) fn forget(
        &mut self,
        name: &[u8],
        mut goes: impl FnMut(&ExportId, Option<O>) -> Result<bool>,
    ) -> Result {
        let Some(at) = self.find(name) else {
            return Ok(());
        };
        let mut next = 0;
        while let Some(&mut Held { export, owner, .. }) = self.at(at, next) {
            if goes(&self.exports[export as usize].id, owner)? {
                self.drop_held(at, next);
            } else {
                next += 1;
            }
        }
        if next == 0 {
            let _ = self.holders.take(at);
        }
        Ok(())
    }

    fn at(&mut self, at: usize, which: usize) -> Option<&mut Held<O>> {
        self.holders.get_mut(at)?.held.get_mut(which)
    }

    fn drop_held(&mut self, at: usize, which: usize) {
        let Some(Holder { held, .. }) = self.holders.get_mut(at) else {
            return;
        };
        let last = held.len() - 1;
        held.swap(which, last);
        if let Some(held) = held.pop() {
            self.exports[held.export as usize].holders -= 1;
            self.count -= 1;
        }
    }

    /// Forgets all, but which exports there are. May sleep.
    pub(crate) fn clear(&mut self) {
        self.holders = Table::new();
        self.exports
            .iter_mut()
            .for_each(|export| export.holders = 0);
        self.count = 0;
    }

    fn export(&self, id: &ExportId) -> Option<u32> {
        let at = self.exports.iter().position(|export| export.id == *id)?;
        Some(at as u32)
    }

    fn find(&self, name: &[u8]) -> Option<usize> {
        let is = |holder: &Holder<O>| &holder.name[..] == name;
        self.holders.find(self.hash.hash(name), is)
    }

    fn hold(&mut self, name: &[u8], export: u32) -> Option<&mut Held<O>> {
        let at = self.find(name)?;
        let mut held = self.holders.get_mut(at)?.held.iter_mut();
        held.find(|held| held.export == export)
    }
}
