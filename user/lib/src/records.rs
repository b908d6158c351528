// SPDX-License-Identifier: GPL-2.0
//! The records of nfsd-had: who may reclaim after this server restarts, in one file of SQLite.
//!
//! ```text
//!   schema       one row: the version of these tables
//!   epochs       each start of the server that asked who may reclaim, and when its grace period was over
//!   clients      NFSv4 clients, each with the epoch in which it was last stored
//!   holds        on which exports clients have state, or clients of NLM have
//!   nlm          clients of NLM: who must be told when somebody takes over after a crash
//!   connections  who is connected to floating addresses
//! ```
//!
//! An epoch begins when a server starts and asks for its records. Whoever is stored in it, because it is new or has
//! reclaimed, belongs to it. When its grace period is over, those of older epochs may not reclaim any more: so a client
//! may reclaim if its epoch is not older than the last one that has ended. A server that crashes in its grace period
//! leaves an epoch that has not ended, and nobody loses anything by it.
//!
//! A change is stored when [`Batch::commit`] has returned: SQLite has synced its log then (WAL, `synchronous=FULL`).
//! What is in one batch costs one sync, however much it is.
//!
//! Another program may read the file meanwhile ([`Reader`]); that the daemon is the only writer is seen to by a lock beside
//! it. [`import`] and [`export`] are for the change from nfsdcld, and back.

mod check;
mod error;
mod export;
mod hold;
mod import;
mod in_use;
mod nlm;
mod place;
mod reader;
mod schema;
mod store;
mod upgrade;

pub use check::{check, Fault};
pub use error::Error;
pub use export::{export, ExportError};
pub use hold::{ExportName, FileSystem, Held, Hold, Holders};
pub use import::{import, ImportError, Imported};
pub use in_use::is_in_use;
pub use nlm::{Connected, NlmRecord};
pub use reader::{HoldRecord, Reader, Record, Start};
pub use schema::VERSION;
pub use store::{Batch, NlmId, Store};
pub use upgrade::upgrade;

use crate::owner::Owner;
use std::net::IpAddr;

/// Where the records are, if nobody says otherwise.
pub const DEFAULT: &str = "/var/lib/nfsd-ha/records.sqlite";

/// A start of the server, counted from 1.
pub type Epoch = i64;

/// What names an epoch to the kernel, which only compares it: the number, when it started, and which file that is
/// in. An equal number alone does not prove that it is the same file, and a copy that was put back has the same start. Zeros
/// if no epoch has begun.
pub type EpochName = [u8; 16];

/// A client as a record names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Its name, with `@` and the address if it came to a floating one.
    pub owner: Owner,
    /// The SHA-256 of its principal, if it has one.
    pub principal: Option<[u8; 32]>,
    /// The minor version of NFSv4, if the kernel has told.
    pub minor: Option<u8>,
    /// The server's address that it came to, if the kernel has told.
    pub address: Option<IpAddr>,
}

impl Client {
    /// One of which only this is known, as in an upcall of version 1 or 2.
    pub fn new(owner: Owner, principal: Option<[u8; 32]>) -> Self {
        Self {
            owner,
            principal,
            minor: None,
            address: None,
        }
    }
}

#[cfg(test)]
mod tests;
