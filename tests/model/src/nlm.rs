// SPDX-License-Identifier: GPL-2.0

//! What stands in for the room of the same name.

/// The exports that clients of NLM have asked for a lock on, and that lockd has not forgotten.
pub(crate) mod clients {
    use crate::base::global::Global;
    use crate::scopes::place::{ExportId, Place};
    use kernel::prelude::*;
    use kernel::sync::Mutex;

    static PAIRS: Global<Mutex<Vec<Pair>>> = Global::new();

    /// A client and an export.
    pub(crate) struct Pair {
        pub(crate) at: Place,
    }

    /// A client asks for its first lock on an export.
    pub(crate) fn remember(export: ExportId) {
        PAIRS.lock().push(Pair {
            at: Place {
                export: Some(export.fsid),
                file_system: Some(export.file_system),
                ..Place::default()
            },
        });
    }

    /// lockd has forgotten it.
    pub(crate) fn forget(export: ExportId) {
        let mut pairs = PAIRS.lock();
        let is = |pair: &Pair| pair.at.export_id() == Some(export);
        if let Some(at) = pairs.iter().position(is) {
            pairs.swap_remove(at);
        }
    }

    /// lockd stops.
    pub(crate) fn forget_all() {
        PAIRS.lock().clear();
    }

    pub(crate) fn each(_: u64, _: u64, mut f: impl FnMut(&Pair) -> Result) -> Result<u64> {
        for pair in PAIRS.lock().iter() {
            f(pair)?;
        }
        Ok(0)
    }
}
