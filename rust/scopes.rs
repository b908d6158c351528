// SPDX-License-Identifier: GPL-2.0

//! What a command or a request is about: scopes, those in grace, and exports.

pub(crate) mod compound;
pub(crate) mod exempt;
pub(crate) mod expected;
pub(crate) mod exported;
pub(crate) mod exports;
pub(crate) mod grace;
pub(crate) mod in_grace;
pub(crate) mod local;
pub(crate) mod place;
pub(crate) mod received;
pub(crate) mod request;
pub(crate) mod roots;
pub(crate) mod scope;
pub(crate) mod scoped;
pub(crate) mod subject;
pub(crate) mod svc_export;
pub(crate) mod was_held;
pub(crate) mod wish;
