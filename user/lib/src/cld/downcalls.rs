// SPDX-License-Identifier: GPL-2.0
//! The records that a GraceStart asks for, in as few answers as its version allows.

use super::{attributes, fixed, with_status, Upcall};
use crate::records::Client;
use rustix::io::Errno;

/// The longest answer of version 3, in bytes (`NFSD_HA_CLD_DOWNCALL_MAX`). A client takes less than 1200, so there is
/// room for some in any case.
const DOWNCALL_MAX: usize = 32768;

/// Answers with clients, as they become full.
#[derive(Debug)]
pub struct Downcalls<'a> {
    upcall: &'a Upcall,
    /// The one that is being filled: empty, or a header with clients behind it.
    next: Vec<u8>,
}

impl<'a> Downcalls<'a> {
    pub(super) fn new(upcall: &'a Upcall) -> Self {
        Self {
            upcall,
            next: Vec::new(),
        }
    }

    /// Adds a client. Returns an answer that has no more room, if there is one.
    #[must_use]
    pub fn add(&mut self, client: &Client) -> Option<Vec<u8>> {
        if !self.upcall.has_attributes() {
            return Some(fixed::record(&self.upcall.message, client));
        }
        let mut bytes = Vec::new();
        attributes::write_client(&mut bytes, client);
        let full = if self.next.len() + bytes.len() > DOWNCALL_MAX {
            Some(std::mem::take(&mut self.next))
        } else {
            None
        };
        if self.next.is_empty() {
            self.next = with_status(&self.upcall.message, Errno::INPROGRESS);
        }
        self.next.extend(bytes);
        full
    }

    /// The last answer with clients, if some are left.
    #[must_use]
    pub fn rest(self) -> Option<Vec<u8>> {
        Some(self.next).filter(|next| !next.is_empty())
    }
}
