// SPDX-License-Identifier: GPL-2.0

//! The kernel's ways in, and what has nothing to do with NFS.

pub(crate) mod amount;
pub(crate) mod backing;
pub(crate) mod clock;
pub(crate) mod former_param;
pub(crate) mod fsfile;
pub(crate) mod global;
pub(crate) mod in_force;
pub(crate) mod index;
pub(crate) mod klp;
pub(crate) mod module_ref;
pub(crate) mod mounted;
pub(crate) mod net;
pub(crate) mod net_end;
pub(crate) mod params;
pub(crate) mod posix_locks;
pub(crate) mod private;
pub(crate) mod raw;
pub(crate) mod recent;
pub(crate) mod requests;
pub(crate) mod setup;
pub(crate) mod siphash;
pub(crate) mod sockaddr;
pub(crate) mod submounts;
pub(crate) mod syscall;
pub(crate) mod table;
pub(crate) mod tasks;
pub(crate) mod text;
pub(crate) mod transport;
pub(crate) mod user;
pub(crate) mod users;
pub(crate) mod vfs;
