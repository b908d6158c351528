// SPDX-License-Identifier: GPL-2.0

//! The module's concurrent files, as they are, with models of what is around them.

// What the module uses from other files is not used here.
#![allow(dead_code)]

// At each atomic operation, too, another thread may go on.
extern crate model_core as core;

#[path = "../../../rust/changes.rs"]
mod changes;
#[path = "../../../rust/channel.rs"]
mod channel;
#[path = "../../../rust/cld.rs"]
mod cld;
#[path = "../../../rust/index.rs"]
mod index;
#[path = "../../../rust/keeper.rs"]
mod keeper;
#[path = "../../../rust/records.rs"]
mod records;
#[path = "../../../rust/state.rs"]
mod state;
#[path = "../../../rust/tracker.rs"]
mod tracker;
#[path = "../../../rust/upcall.rs"]
mod upcall;
#[path = "../../../rust/xid.rs"]
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
