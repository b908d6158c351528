// SPDX-License-Identifier: GPL-2.0

//! As `rust/nfs4_client.rs`.

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClientRef(usize);
