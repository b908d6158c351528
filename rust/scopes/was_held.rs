// SPDX-License-Identifier: GPL-2.0

//! On which exports somebody held something when a server stopped.
//!
//! The server's grace period is for those who held something: where nobody did, nobody can reclaim, and a new lock is in
//! nobody's way. An export is known by its fsid and by its file system, as one file system may be exported several times,
//! and by other fsids than before.
//!
//! This file makes no kernel calls; it is also compiled and tested on the host.

use crate::scopes::place::{ExportId, Place};
use crate::scopes::scope::{file_system_key, Scope, KEY_LEN};
use crate::scopes::subject::Subject;
use kernel::prelude::*;
use kernel::rbtree::RBTree;

/// Clients of NFSv4 held something on an export (`NFSD_HA_CLD_HELD_NFS4`).
pub(crate) const NFS4: u32 = 1;
/// Clients of NLM did (`NFSD_HA_CLD_HELD_NLM`).
pub(crate) const NLM: u32 = 2;

/// The exports, and who held something on each: bits.
#[derive(Default)]
pub(crate) struct WasHeld {
    holders: RBTree<[u8; KEY_LEN], u32>,
    of_nlm: KVec<ExportId>,
    any_of_nfs4: bool,
    /// There was one of which nobody can say which it is.
    unclear: bool,
}

impl WasHeld {
    /// Adds an export, unless nobody can say which it is. Fails with `ENOMEM`. May sleep.
    pub(crate) fn add(&mut self, export: Option<ExportId>, holders: u32) -> Result {
        let Some(ExportId { fsid, file_system }) = export else {
            self.unclear = true;
            return Ok(());
        };
        self.any_of_nfs4 |= holders & NFS4 != 0;
        if holders & NLM != 0 {
            self.of_nlm
                .push(ExportId { fsid, file_system }, GFP_KERNEL)?;
        }
        let keys = Scope::Export(fsid).keys();
        for key in Iterator::chain(keys, [file_system_key(&file_system)]) {
            match self.holders.get_mut(&key) {
                Some(all) => *all |= holders,
                None => drop(
                    self.holders
                        .try_create_and_insert(key, holders, GFP_KERNEL)?,
                ),
            }
        }
        Ok(())
    }

    /// Those that clients of NLM held something on.
    pub(crate) fn of_nlm(&self) -> &[ExportId] {
        &self.of_nlm
    }

    /// Did clients of NFSv4 hold something, anywhere?
    pub(crate) fn any_of_nfs4(&self) -> bool {
        self.unclear || self.any_of_nfs4
    }

    /// Can it be said of each export that there is whether somebody held something on it?
    pub(crate) fn is_clear(&self) -> bool {
        !self.unclear
    }

    /// Did none of the clients of these kinds hold anything where a request goes? Not where nobody knows which export
    /// that is.
    pub(crate) fn exempts(&self, subject: &Subject, kinds: u32) -> bool {
        let [first, second] = &subject.files;
        self.is_free(first, kinds) && (*second == Place::default() || self.is_free(second, kinds))
    }

    fn is_free(&self, place: &Place, kinds: u32) -> bool {
        let is_held = |key| self.holders.get(&key).is_some_and(|all| all & kinds != 0);
        let Some(file_system) = place.file_system else {
            return false;
        };
        // What is mounted below an export is another one.
        let mut own = [place.handle, place.export, place.device].into_iter();
        !self.unclear
            && !is_held(file_system_key(&file_system))
            && !own.any(|fsid| fsid.is_some_and(|fsid| is_held(fsid.key())))
    }
}
