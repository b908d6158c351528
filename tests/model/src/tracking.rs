// SPDX-License-Identifier: GPL-2.0

//! The room of the same name, or what stands in for it.

#[path = "../../../rust/tracking/attributes.rs"]
pub(crate) mod attributes;
#[path = "../../../rust/tracking/changes.rs"]
pub(crate) mod changes;
#[path = "../../../rust/tracking/channel.rs"]
pub(crate) mod channel;
#[path = "../../../rust/tracking/cld.rs"]
pub(crate) mod cld;
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
#[path = "../../../rust/tracking/xid.rs"]
pub(crate) mod xid;
