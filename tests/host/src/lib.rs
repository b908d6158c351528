// SPDX-License-Identifier: GPL-2.0

//! The module's own files, as they are; the tests stand beside them.

// What the module uses from other files is not used here.
#![allow(dead_code)]

#[path = "../../../rust/tracking/changes.rs"]
mod changes;
#[path = "../../../rust/tracking/cld.rs"]
mod cld;
#[path = "../../../rust/scope/grace.rs"]
mod grace;
#[path = "../../../rust/nfs4/identity.rs"]
mod identity;
#[path = "../../../rust/base/index.rs"]
mod index;
#[path = "../../../rust/nfs4/reclaim.rs"]
mod reclaim;
#[path = "../../../rust/tracking/records.rs"]
mod records;
#[path = "../../../rust/scope/scope.rs"]
mod scope;
#[path = "../../../rust/nlm/seen.rs"]
mod seen;
#[path = "../../../rust/tracking/xid.rs"]
mod xid;

#[cfg(test)]
mod changes_test;
#[cfg(test)]
mod cld_test;
#[cfg(test)]
mod grace_test;
#[cfg(test)]
mod reclaim_test;
#[cfg(test)]
mod records_test;
#[cfg(test)]
mod scope_test;
#[cfg(test)]
mod seen_test;
#[cfg(test)]
mod xid_test;
