// SPDX-License-Identifier: GPL-2.0

//! lockd and rpc.statd.

pub(crate) mod blocks;
pub(crate) mod clients;
pub(crate) mod host;
pub(crate) mod lines;
pub(crate) mod lockd;
pub(crate) mod locks;
pub(crate) mod monitor;
pub(crate) mod nlm_release;
pub(crate) mod openers;
pub(crate) mod seen;
pub(crate) mod shares;
pub(crate) mod statd;
pub(crate) mod statd_call;
