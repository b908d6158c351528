// SPDX-License-Identifier: GPL-2.0

//! The room of the same name, or what stands in for it.

#[path = "../../../rust/nfs4/identity.rs"]
pub(crate) mod identity;
#[path = "nfs4_client.rs"]
pub(crate) mod nfs4_client;
#[path = "nfsd.rs"]
pub(crate) mod nfsd;
#[path = "../../../rust/nfs4/record.rs"]
pub(crate) mod record;
#[path = "../../../rust/nfs4/records.rs"]
pub(crate) mod records;
