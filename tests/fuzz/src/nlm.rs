// SPDX-License-Identifier: GPL-2.0

//! The room of the same name.

#[path = "../../../rust/nlm/seen.rs"]
pub(crate) mod seen;
