// SPDX-License-Identifier: GPL-2.0

//! The module's own files, as they are; the tests stand beside them.

// What the module uses from other files is not used here.
#![allow(dead_code)]

#[path = "../../../rust/changes.rs"]
mod changes;
#[path = "../../../rust/cld.rs"]
mod cld;
#[path = "../../../rust/grace.rs"]
mod grace;
#[path = "../../../rust/identity.rs"]
mod identity;
#[path = "../../../rust/index.rs"]
mod index;
#[path = "../../../rust/reclaim.rs"]
mod reclaim;
#[path = "../../../rust/records.rs"]
mod records;
#[path = "../../../rust/scope.rs"]
mod scope;
#[path = "../../../rust/seen.rs"]
mod seen;
#[path = "../../../rust/xid.rs"]
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
