// SPDX-License-Identifier: GPL-2.0
//! What programs for nfsd-ha share.
//!
//! ```text
//!   checks                      what is wrong on a node before it matters
//!     │
//!   takeover                    letting those on a list reclaim
//!     │
//!   list ──── database          who may reclaim: the file that moves with an export
//!     │          │
//!   control ─── owner, amount   what the module says in /proc/fs/nfsd, and takes
//!     │
//!   scope                       an export, a file system or an address
//!
//!   cld ──── records            what the kernel asks of nfsd-had, and where it stores that; a database of it is read
//!                               as those of nfsdcld are
//!
//!   journal                     how far a move is, and what it has to put back
//!   statd, nsm                  records of NLM clients, and the notices that they get
//!   net                         addresses, their announcement, connections
//!   mounts, exports, users      file systems, what is exported, and who keeps one from being unmounted
//!   causes                      what an error and its causes say
//!   config, systemd             how the programs are configured; what a service manager is told
//!   files                       files that others can reach, opened so that they cannot cheat
//! ```
//!
//! Each `laws` says what must hold of the parsers beside it, whatever they are given: for tests only.

#![warn(missing_docs)]
#![forbid(unsafe_code)]

pub mod amount;
pub mod causes;
pub mod checks;
pub mod cld;
pub mod config;
pub mod control;
pub mod database;
pub mod exports;
pub mod files;
pub mod journal;
#[cfg(any(test, fuzzing))]
pub mod laws;
pub mod list;
pub mod mounts;
pub mod net;
pub mod nsm;
pub mod owner;
pub mod records;
pub mod scope;
pub mod statd;
pub mod systemd;
pub mod takeover;
pub mod users;
