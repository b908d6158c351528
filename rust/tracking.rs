// SPDX-License-Identifier: GPL-2.0

//! Client tracking and its daemon.

pub(crate) mod all_held;
pub(crate) mod attributes;
pub(crate) mod changes;
pub(crate) mod channel;
pub(crate) mod cld;
pub(crate) mod elsewhere;
pub(crate) mod grants;
pub(crate) mod holding;
pub(crate) mod holds;
pub(crate) mod jobs;
pub(crate) mod keeper;
pub(crate) mod message;
pub(crate) mod pipe;
pub(crate) mod state;
pub(crate) mod stats;
pub(crate) mod status;
pub(crate) mod tracker;
pub(crate) mod watch;
pub(crate) mod xid;
