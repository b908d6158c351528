// SPDX-License-Identifier: GPL-2.0
//! The records that a GraceStart asks for, in as few answers as its version allows.

use super::{attributes, fixed, with_status, Upcall};
use crate::records::{Client, ExportName, FileSystem, Holders};
use rustix::io::Errno;

/// The longest answer of version 3, in bytes (`NFSD_HA_CLD_DOWNCALL_MAX`). A client takes less than 1200, so there is
/// room for some in any case.
const DOWNCALL_MAX: usize = 32768;

/// Answers with records, as they become full.
#[derive(Debug)]
pub struct Downcalls<'a> {
    upcall: &'a Upcall,
    /// The one that is being filled: empty, or a header with records behind it.
    next: Vec<u8>,
}

impl<'a> Downcalls<'a> {
    pub(super) fn new(upcall: &'a Upcall) -> Self {
        Self {
            upcall,
            next: Vec::new(),
        }
    }

    /// Adds a client, and on how many exports it held something, if that is known. Returns an answer that has no more
    /// room, if there is one.
    #[must_use]
    pub fn add(&mut self, client: &Client, holds: Option<u32>) -> Option<Vec<u8>> {
        if !self.upcall.has_attributes() {
            return Some(fixed::record(&self.upcall.message, client));
        }
        let mut bytes = Vec::new();
        attributes::write_client(&mut bytes, client, holds);
        self.record(&bytes)
    }

    /// Adds an export that somebody held something on, with its file system, if that is known; of the old versions, nobody
    /// asks for these. Returns an answer as above.
    #[must_use]
    pub fn add_export(
        &mut self,
        export: &ExportName,
        file_system: Option<FileSystem>,
        holders: Holders,
    ) -> Option<Vec<u8>> {
        if !self.upcall.has_attributes() {
            return None;
        }
        let mut bytes = Vec::new();
        attributes::write_export(&mut bytes, export, file_system, holders);
        self.record(&bytes)
    }

    fn record(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
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

    /// The last answer with records, if some are left.
    #[must_use]
    pub fn rest(self) -> Option<Vec<u8>> {
        Some(self.next).filter(|next| !next.is_empty())
    }
}
