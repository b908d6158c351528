// SPDX-License-Identifier: GPL-2.0

//! The module's concurrent files, as they are, with models of what is around them.

// What the module uses from other files is not used here.
#![allow(dead_code)]

// At each atomic operation, too, another thread may go on.
extern crate model_core as core;

#[path = "../../../rust/tracking/changes.rs"]
mod changes;
#[path = "../../../rust/tracking/channel.rs"]
mod channel;
#[path = "../../../rust/tracking/cld.rs"]
mod cld;
#[path = "../../../rust/base/index.rs"]
mod index;
#[path = "../../../rust/tracking/keeper.rs"]
mod keeper;
#[path = "../../../rust/tracking/records.rs"]
mod records;
#[path = "../../../rust/tracking/state.rs"]
mod state;
#[path = "../../../rust/tracking/tracker.rs"]
mod tracker;
#[path = "../../../rust/tracking/upcall.rs"]
mod upcall;
#[path = "../../../rust/tracking/xid.rs"]
mod xid;

mod clock;
mod module_ref;
mod nfs4_client;
mod nfsd;
mod params;
mod pipe;
mod private;
mod siphash;

#[cfg(test)]
mod book;
#[cfg(test)]
mod channel_test;
#[cfg(test)]
mod daemon;
#[cfg(test)]
mod explore;
#[cfg(test)]
mod nfsdcld;
#[cfg(test)]
mod tracker_test;
