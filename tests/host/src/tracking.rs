// SPDX-License-Identifier: GPL-2.0

//! The room of the same name.

#[path = "../../../rust/tracking/attributes.rs"]
pub(crate) mod attributes;
#[path = "../../../rust/tracking/changes.rs"]
pub(crate) mod changes;
#[path = "../../../rust/tracking/cld.rs"]
pub(crate) mod cld;
#[path = "../../../rust/tracking/holds.rs"]
pub(crate) mod holds;
#[path = "../../../rust/tracking/xid.rs"]
pub(crate) mod xid;
