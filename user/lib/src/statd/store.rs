// SPDX-License-Identifier: GPL-2.0
//! What the recorder knows to be on the disk, and how it gets there.
//!
//! A record is looked for once: then it is known to be there, for as long as nobody else changes the
//! directory. That costs the same however many records there are. A record is a new file, and its
//! directory's new name; all that a call stores of one list is synced at once. Nothing stays open between
//! two calls, so that file systems can be unmounted.

use super::list::{lines, read};
use super::{List, Record};
use crate::control::NlmClient;
use crate::files::{Directory, Error, Version};
use crate::scope::Fsid;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::path::{Path, PathBuf};

/// The lists of all exports.
#[derive(Debug)]
pub struct Store {
    base: PathBuf,
    lists: HashMap<Fsid, Known>,
}

/// What is known of a list.
#[derive(Debug, Default)]
struct Known {
    /// Its directory, as we have left it.
    version: Option<Version>,
    /// Records that are on the disk there.
    stored: HashSet<Record>,
}

/// A client that is not on the disk.
#[derive(Debug)]
pub struct Unstored {
    /// The export.
    pub scope: Fsid,
    /// The client, and the server's address.
    pub record: Record,
    /// Why, and what to do.
    pub error: String,
}

impl Store {
    /// The lists in a directory, which has one for each export or a link to it.
    pub fn new(base: impl Into<PathBuf>) -> Self {
        Self {
            base: base.into(),
            lists: HashMap::new(),
        }
    }

    /// How many records are known to be on the disk.
    pub fn len(&self) -> usize {
        self.lists.values().map(|known| known.stored.len()).sum()
    }

    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Has somebody else changed a list that was used before? Its clients may have been told, or it was lost.
    pub fn is_stale(&self) -> bool {
        self.lists
            .iter()
            .any(|(scope, known)| match self.version(scope) {
                _ if known.version.is_none() => false,
                // Its file system has moved away.
                Err(Error::LeadsNowhere { .. }) => false,
                version => version.ok() != known.version,
            })
    }

    fn version(&self, scope: &Fsid) -> Result<Version, Error> {
        Directory::open(&self.base)?
            .child(&scope.to_string())?
            .child("sm")?
            .version()
    }

    /// Stores the clients that are not stored yet. Returns those who could not be: the others are on the
    /// disk.
    pub fn record(&mut self, clients: &[NlmClient]) -> Vec<Unstored> {
        let mut by_scope = BTreeMap::<&Fsid, Vec<&NlmClient>>::new();
        for client in clients {
            by_scope.entry(&client.fsid).or_default().push(client);
        }
        let mut unstored = Vec::new();
        for (scope, clients) in by_scope {
            let mut records: Vec<_> = clients.iter().map(|client| Record::of(client)).collect();
            // A client with two versions or transports is there twice.
            records.sort();
            records.dedup();
            let known = self.lists.entry(*scope).or_default();
            let failed = match open(&self.base, scope) {
                Ok(list) => known.store(&list, &records),
                Err(error) => {
                    // What was stored has moved away with its file system, and is there when that is back.
                    if !matches!(error, Error::LeadsNowhere { .. }) {
                        *known = Known::default();
                    }
                    let error = error.to_string();
                    records.retain(|record| !known.stored.contains(record));
                    records
                        .into_iter()
                        .map(|record| (record, error.clone()))
                        .collect()
                }
            };
            let failed = failed.into_iter();
            unstored.extend(failed.map(|(record, error)| Unstored {
                scope: *scope,
                record,
                error,
            }));
        }
        unstored
    }
}

fn open(base: &Path, scope: &Fsid) -> Result<List, Error> {
    List::open(Directory::make(base)?.make_child(&scope.to_string())?)
}

impl Record {
    /// The record of a client of NLM.
    pub fn of(client: &NlmClient) -> Self {
        Self {
            client: client.peer.client,
            server: client.peer.server,
        }
    }
}

/// Records, each with why it is not stored.
type Failed = Vec<(Record, String)>;

impl Known {
    /// Stores what is not there yet; returns what failed.
    fn store(&mut self, list: &List, records: &[Record]) -> Failed {
        let locked = match list.lock() {
            Ok(locked) => locked,
            Err(error) => {
                let error = error.to_string();
                return records
                    .iter()
                    .map(|record| (*record, error.clone()))
                    .collect();
            }
        };
        if list.sm().version().ok() != self.version {
            self.stored.clear();
            self.version = None;
        }
        let missing: Vec<_> = records
            .iter()
            .filter(|record| !self.stored.contains(record))
            .collect();
        let (mut written, mut files, mut failed) = (Vec::new(), Vec::new(), Failed::new());
        for of_client in missing.chunk_by(|a, b| a.client == b.client) {
            match write(list.sm(), of_client) {
                Ok(file) => {
                    written.extend(of_client.iter().map(|record| **record));
                    // Of several none is needed, and there are not so many open files.
                    files.truncate(1);
                    files.push(file);
                }
                Err(error) => {
                    let error = error.to_string();
                    failed.extend(of_client.iter().map(|record| (**record, error.clone())));
                }
            }
        }
        let version = sync(list.sm(), &files).and_then(|()| list.sm().version());
        drop(locked);
        match version {
            Ok(version) => {
                self.version = Some(version);
                self.stored.extend(written);
            }
            Err(error) => {
                *self = Self::default();
                let error = error.to_string();
                failed.extend(written.into_iter().map(|record| (record, error.clone())));
            }
        }
        failed
    }
}

/// Has a client's file have these records, which it may have already. It is to be synced then.
pub(super) fn write(sm: &Directory, records: &[&Record]) -> Result<File, Error> {
    let name = records[0].file();
    let Some(file) = sm.find(&name)? else {
        return sm.create(&name, &lines(records.iter().copied()));
    };
    let mut all = read(sm, &name)?;
    let missing: Vec<_> = records
        .iter()
        .filter(|record| !all.contains(record))
        .collect();
    if missing.is_empty() {
        // Somebody who was interrupted may have written it a moment ago.
        return Ok(file);
    }
    all.extend(missing.into_iter().copied().copied());
    sm.replace(&name, &lines(&all))?;
    sm.find(&name)?.ok_or_else(|| Error::Missing {
        path: sm.path().join(&name),
    })
}

/// Returns when files in a directory of a list are on the disk, with their names.
pub(super) fn sync(directory: &Directory, files: &[File]) -> Result<(), Error> {
    match files {
        [] => Ok(()),
        [file] => {
            let error = |source| Error::Io {
                path: directory.path().to_owned(),
                source,
            };
            file.sync_all().map_err(error)?;
            directory.sync()
        }
        // One after the other, each would be a transaction of the file system.
        _ => directory.sync_file_system(),
    }
}
