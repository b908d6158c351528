// SPDX-License-Identifier: GPL-2.0
//! How a kernel and a daemon agree on version 3 (`struct nfsd_ha_cld_version`).
//!
//! ```text
//!  offset  8              9         17      33
//!          +--------------+---------+-------+--------+
//!          | the highest  | magic   | epoch | zeros  |
//!          +--------------+---------+-------+--------+
//! ```

use super::{attributes, HEADER};
use crate::records::EpochName;

/// What a kernel that knows version 3 asks by.
const QUESTION: &[u8; 8] = b"nfsd-ha?";
/// What a daemon that knows it answers.
const ANSWER: &[u8; 8] = b"nfsd-ha!";

/// Has a GetVersion the question, behind its header?
pub(super) fn is_asked(body: &[u8]) -> bool {
    body[1..].starts_with(QUESTION)
}

/// Answers it, in a message that has the length of the upcall.
pub(super) fn answer(message: &mut [u8], epoch: &EpochName) {
    let body = &mut message[HEADER..];
    body.fill(0);
    body[0] = attributes::VERSION;
    body[1..9].copy_from_slice(ANSWER);
    body[9..25].copy_from_slice(epoch);
}
