// SPDX-License-Identifier: GPL-2.0

//! The room of the same name.

#[path = "../../../rust/nfs4/due.rs"]
pub(crate) mod due;
#[path = "../../../rust/nfs4/identity.rs"]
pub(crate) mod identity;
#[path = "../../../rust/nfs4/reclaim.rs"]
pub(crate) mod reclaim;
#[path = "../../../rust/nfs4/reclaim_line.rs"]
pub(crate) mod reclaim_line;
#[path = "../../../rust/nfs4/record.rs"]
pub(crate) mod record;
#[path = "../../../rust/nfs4/records.rs"]
pub(crate) mod records;
