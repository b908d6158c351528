// SPDX-License-Identifier: GPL-2.0

//! The room of the same name, or what stands in for it.

#[path = "../../../rust/tracking/all_held.rs"]
pub(crate) mod all_held;
#[path = "../../../rust/tracking/attributes.rs"]
pub(crate) mod attributes;
#[path = "../../../rust/tracking/changes.rs"]
pub(crate) mod changes;
#[path = "../../../rust/tracking/channel.rs"]
pub(crate) mod channel;
#[path = "../../../rust/tracking/cld.rs"]
pub(crate) mod cld;
/// What is held beside what clients of NFSv4 hold: what clients of NLM do.
pub(crate) mod elsewhere {
    use crate::nlm::clients;
    use crate::scopes::place::ExportId;
    use kernel::prelude::*;

    /// What was found.
    #[derive(Default)]
    pub(crate) struct Elsewhere {
        pub(crate) in_grace: KVVec<ExportId>,
        pub(crate) nlm: KVVec<ExportId>,
        pub(crate) is_whole: bool,
    }

    pub(crate) fn look(net: u64) -> Result<Elsewhere> {
        let mut found = Elsewhere {
            is_whole: true,
            ..Elsewhere::default()
        };
        clients::each(net, 0, |pair| {
            if let Some(export) = pair.at.export_id() {
                found.nlm.push(export, GFP_KERNEL)?;
            }
            Ok(())
        })?;
        Ok(found)
    }
}
#[path = "grants.rs"]
pub(crate) mod grants;
#[path = "../../../rust/tracking/holding.rs"]
pub(crate) mod holding;
#[path = "../../../rust/tracking/holds.rs"]
pub(crate) mod holds;
#[path = "../../../rust/tracking/jobs.rs"]
pub(crate) mod jobs;
#[path = "../../../rust/tracking/keeper.rs"]
pub(crate) mod keeper;
#[path = "pipe.rs"]
pub(crate) mod pipe;
#[path = "../../../rust/tracking/state.rs"]
pub(crate) mod state;
#[path = "../../../rust/tracking/stats.rs"]
pub(crate) mod stats;
#[path = "../../../rust/tracking/tracker.rs"]
pub(crate) mod tracker;
#[path = "../../../rust/tracking/watch.rs"]
pub(crate) mod watch;
#[path = "../../../rust/tracking/xid.rs"]
pub(crate) mod xid;
