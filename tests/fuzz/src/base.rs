// SPDX-License-Identifier: GPL-2.0

//! The room of the same name.

#[path = "../../../rust/base/amount.rs"]
pub(crate) mod amount;
#[path = "../../../rust/base/index.rs"]
pub(crate) mod index;
#[path = "../../../rust/base/table.rs"]
pub(crate) mod table;
#[path = "../../../rust/base/text.rs"]
pub(crate) mod text;
