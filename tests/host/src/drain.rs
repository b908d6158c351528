// SPDX-License-Identifier: GPL-2.0

//! The room of the same name.

#[path = "../../../rust/drain/order.rs"]
pub(crate) mod order;
