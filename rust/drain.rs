// SPDX-License-Identifier: GPL-2.0

//! Server addresses that are drained, so that they can go without a request that is lost or repeated.

pub(crate) mod addresses;
pub(crate) mod drainer;
pub(crate) mod incoming;
pub(crate) mod look;
pub(crate) mod order;
pub(crate) mod table;
pub(crate) mod transport;
