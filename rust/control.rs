// SPDX-License-Identifier: GPL-2.0

//! Our files in nfsd's mounts, and what a write to them does.

pub(crate) mod files;
pub(crate) mod fsid_grace;
pub(crate) mod mounts;
pub(crate) mod recount;
pub(crate) mod release;
pub(crate) mod umount;
