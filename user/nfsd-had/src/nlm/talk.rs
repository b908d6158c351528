// SPDX-License-Identifier: GPL-2.0
//! What a recorder of `nlm_clients` says to the kernel, and when.
//!
//! ```text
//!   the kernel has news  ->  ask()   ->  waiting  ->  part()   ->  a transaction
//!   settle()             <-  all up to there is stored     <-  stored()
//!   settle(): but for these exports                        <-  failed(), and again after a second
//! ```
//!
//! What is acknowledged is on the disk. Who is on none is refused at once, and not when the kernel has waited for us: its
//! export is excepted, until all is stored. If more exports had to be named than fit into a command, we are silent: then
//! the kernel waits once, and refuses all who are new until we say something.

use crate::beside::PART;
use nfsd_ha::control::{Error, NlmClient, NlmClients, NlmPeer, Recorder};
use nfsd_ha::records::Store;
use nfsd_ha::scope::Fsid;
use nfsd_ha::statd::{Record, Unstored, Waiting};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::{Duration, Instant, UNIX_EPOCH};

/// How long after a failure it tries again.
const AGAIN: Duration = Duration::from_secs(1);

/// Whom we talk with.
pub trait Kernel {
    /// All clients.
    fn all(&mut self) -> Result<NlmClients, Error>;
    /// Says that all up to a change is stored, but for some exports; returns who has come since.
    fn stored(&mut self, change: u64, except: &BTreeSet<Fsid>) -> Result<NlmClients, Error>;
}

/// A talk with the kernel.
pub struct Talk<K> {
    kernel: K,
    /// The last change that we know of.
    last: u64,
    /// What we have said last: all up to this change is stored, but for these exports.
    said: Option<(u64, BTreeSet<Fsid>)>,
    /// Who has come and is not stored.
    waiting: Vec<NlmClient>,
    failed: Option<Failed>,
}

/// The records could not be written.
struct Failed {
    /// When to try again; `None` if that goes well.
    again: Option<Instant>,
    /// Of whose clients some may not be stored.
    except: BTreeSet<Fsid>,
    unstored: BTreeMap<(Fsid, Record), Waiting>,
}

impl<K: Kernel> Talk<K> {
    /// Begins with who is there already. Nobody waits for us before [`Talk::settle`].
    pub fn begin(kernel: K, store: Option<&Store>) -> Result<Self, Error> {
        let mut talk = Self {
            kernel,
            last: 0,
            said: None,
            waiting: Vec::new(),
            failed: None,
        };
        talk.look(store)?;
        Ok(talk)
    }

    /// Looks at all clients. Returns who is there.
    pub fn look(&mut self, store: Option<&Store>) -> Result<HashSet<(Fsid, NlmPeer)>, Error> {
        let all = self.kernel.all()?;
        self.came(&all, store);
        Ok(all.clients.iter().map(|one| (one.fsid, one.peer)).collect())
    }

    /// The other end.
    pub fn kernel(&self) -> &K {
        &self.kernel
    }

    /// Are there news that we want to hear? Not while we have something to do, or have to be silent.
    pub fn is_listening(&self) -> bool {
        self.said.is_some()
            && (self.failed.is_some() || self.waiting.is_empty())
            && !self.is_silent()
    }

    /// Who has come, if we want to hear it? Also says again what was said last, and so that we are there.
    pub fn ask(&mut self, store: Option<&Store>) -> Result<(), Error> {
        if let Some((change, except)) = self.said.clone().filter(|_| self.is_listening()) {
            let came = self.kernel.stored(change, &except)?;
            self.came(&came, store);
        }
        Ok(())
    }

    /// Says what is stored, if that has not been said.
    pub fn settle(&mut self, store: Option<&Store>) -> Result<(), Error> {
        if let Some((change, except)) = self.to_say() {
            let came = self.kernel.stored(change, &except)?;
            self.said = Some((change, except));
            self.came(&came, store);
        }
        Ok(())
    }

    /// When there is something to do without news.
    pub fn next(&self) -> Option<Instant> {
        let failed = self.failed.as_ref();
        match failed.and_then(|failed| failed.again) {
            _ if self.to_say().is_some() => Some(Instant::now()),
            Some(again) => Some(again),
            None => (!self.waiting.is_empty()).then(Instant::now),
        }
    }

    /// Those who are to be stored now. After a failure and some time, these are all who are there then.
    pub fn part(&mut self, store: Option<&Store>) -> Result<&[NlmClient], Error> {
        if let Some(failed) = &mut self.failed {
            if failed.again.is_some_and(|again| Instant::now() < again) {
                return Ok(&[]);
            }
            if failed.again.take().is_some() {
                self.waiting.clear();
                self.look(store)?;
                self.is_over();
            }
        }
        Ok(&self.waiting[..self.waiting.len().min(PART)])
    }

    /// The first ones of those who waited are stored.
    pub fn stored(&mut self, number: usize) {
        self.waiting.drain(..number);
        self.is_over();
    }

    /// They could not be.
    pub fn failed(&mut self, why: &str) {
        let now = UNIX_EPOCH.elapsed().unwrap_or_default().as_secs();
        let before = self.failed.take().map(|failed| failed.unstored);
        let before = before.unwrap_or_default();
        let unstored = self.waiting.iter().map(|client| {
            let (scope, record) = (client.fsid, Record::of(client));
            let since = before.get(&(scope, record)).map_or(now, |one| one.since);
            let error = why.to_owned();
            let unstored = Unstored {
                scope,
                record,
                error,
            };
            ((scope, record), Waiting::new(unstored, since))
        });
        self.failed = Some(Failed {
            again: Some(Instant::now() + AGAIN),
            except: self.waiting.iter().map(|client| client.fsid).collect(),
            unstored: unstored.collect(),
        });
    }

    /// Is somebody not stored who could not be? Then nobody else should be kept from it by these.
    pub fn has_failed(&self) -> bool {
        self.failed.is_some()
    }

    /// Those who could not be stored.
    pub fn unstored(&self) -> Vec<Waiting> {
        let failed = self.failed.as_ref();
        let unstored = failed.map(|failed| failed.unstored.values().cloned().collect());
        unstored.unwrap_or_default()
    }

    fn came(&mut self, came: &NlmClients, store: Option<&Store>) {
        self.last = came.sequence;
        // If nobody can look, they are stored again.
        let missing = store.and_then(|store| store.nlm_missing(&came.clients).ok());
        let missing = missing.unwrap_or_else(|| came.clients.clone());
        if let Some(failed) = &mut self.failed {
            failed
                .except
                .extend(missing.iter().map(|client| client.fsid));
        }
        self.waiting.extend(missing);
    }

    fn is_over(&mut self) {
        if self.waiting.is_empty() {
            self.failed = None;
        }
    }

    fn is_silent(&self) -> bool {
        let failed = self.failed.as_ref();
        failed.is_some_and(|failed| !Recorder::can_except(&failed.except))
    }

    fn to_say(&self) -> Option<(u64, BTreeSet<Fsid>)> {
        let except = match &self.failed {
            Some(failed) => failed.except.clone(),
            None if self.waiting.is_empty() => BTreeSet::new(),
            None => return None,
        };
        let say = (self.last, except);
        let is_said = self.said.as_ref() == Some(&say);
        (!is_said && !self.is_silent()).then_some(say)
    }
}

#[cfg(test)]
mod tests;
