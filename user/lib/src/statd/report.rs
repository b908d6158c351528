// SPDX-License-Identifier: GPL-2.0
//! What the recorder tells others about itself.

use super::{Record, Unstored};
use crate::files::{Directory, Error};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::net::IpAddr;
use std::path::PathBuf;

/// What a recorder tells others, in `record.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Its process.
    pub pid: u32,
    /// How many records it knows to be on the disk, of all exports.
    pub recorded: usize,
    /// Clients that are not on the disk, and get no new locks.
    pub unstored: Vec<Waiting>,
}

/// A client that is not on the disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// The export, as the module writes it.
    pub scope: String,
    /// The client's address.
    pub client: IpAddr,
    /// The server's address that it uses.
    pub server: IpAddr,
    /// Why.
    pub error: String,
    /// Since when, in seconds since 1970.
    pub since: u64,
}

impl Waiting {
    /// A client that could not be stored now.
    pub fn new(unstored: Unstored, since: u64) -> Self {
        let Unstored {
            scope,
            record: Record { client, server },
            error,
        } = unstored;
        Self {
            scope: scope.to_string(),
            client,
            server,
            error,
            since,
        }
    }
}

impl Report {
    /// The directory that it is in, of root's, which is gone after a boot.
    const DIRECTORY: &'static str = "/run/nfsd-ha";
    /// The environment variable that names another one, for tests.
    const VARIABLE: &'static str = "NFSD_HA_RUN";
    const FILE: &'static str = "record.json";
    /// The longest one that is read, in bytes.
    const MAX: usize = 256 << 20;

    fn path() -> PathBuf {
        std::env::var_os(Self::VARIABLE)
            .unwrap_or_else(|| Self::DIRECTORY.into())
            .into()
    }

    /// Opens the directory, and makes it if it is not there.
    pub fn directory() -> Result<Directory, Error> {
        Directory::make(Self::path())
    }

    /// Writes it in place of the last one.
    pub fn write(&self, directory: &Directory) -> Result<(), Error> {
        // These are plain words and numbers, which always become JSON.
        directory.replace(Self::FILE, &serde_json::to_vec(self).unwrap_or_default())
    }

    /// The recorder ends.
    pub fn remove(directory: &Directory) -> Result<(), Error> {
        directory.remove(Self::FILE)
    }

    /// What the recorder has said last; `None` if there is none, or it does not run any more.
    pub fn read() -> Result<Option<Self>, Error> {
        let directory = match Directory::open(Self::path()) {
            Ok(directory) => directory,
            Err(Error::Missing { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        if directory.try_lock("record.lock")?.is_some() {
            return Ok(None);
        }
        let bytes = directory.read(Self::FILE, Self::MAX)?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    /// Keeps others from being the recorder until the result is closed; `None` if somebody is.
    pub fn only_one(directory: &Directory) -> Result<Option<File>, Error> {
        directory.try_lock("record.lock")
    }
}
