// SPDX-License-Identifier: GPL-2.0
//! What programs for nfsd-ha share.
//!
//! ```text
//!   takeover                    letting those on a list reclaim
//!     │
//!   list ──── database          who may reclaim: the file that moves with an export
//!     │          │
//!   control ─── owner, amount   what the module says in /proc/fs/nfsd, and takes
//!     │
//!   scope                       an export, a file system or an address
//!
//!   statd, nsm                  records of NLM clients, and the notices that they get
//!   net                         addresses, their announcement, connections
//!   mounts, exports             file systems, and what is exported
//!   files                       files that others can reach, opened so that they cannot cheat
//! ```

#![warn(missing_docs)]
#![forbid(unsafe_code)]

pub mod amount;
pub mod checks;
pub mod control;
pub mod database;
pub mod exports;
pub mod files;
pub mod journal;
pub mod list;
pub mod mounts;
pub mod net;
pub mod nsm;
pub mod owner;
pub mod scope;
pub mod statd;
pub mod takeover;
pub mod users;
