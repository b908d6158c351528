// SPDX-License-Identifier: GPL-2.0

//! Grace periods of single scopes.
//!
//! A table of scopes by net namespace, and for each the time until which it is in grace. Whether
//! it is over is decided when somebody asks, by the clock; nothing has to happen at that time.
//! An [`Index`] leads from what a file's scope may be written as, or the address that a request came to, to
//! the scope, so that the cost of asking does not grow with their number.
//!
//! A scope may also be *held*, for as long as its locks are being released: then it is in grace,
//! but who reclaims is told that it is not, so that nobody gets a lock.
//!
//! The table is looked into where nobody may sleep, so it never allocates: who adds a scope
//! gives it a bigger table first ([`GraceTable::adopt`]).
//!
//! Times are nanoseconds of the kernel's boot time, which is never set back. Namespaces are
//! named by their cookies, which are never used again.
//!
//! This file makes no kernel calls; it is also compiled and tested on the host.

use crate::base::index::{Index, KeyedHash};
use crate::scopes::place::Place;
use crate::scopes::scope::{address_key, Fsid, Scope, KEY_LEN};
use crate::scopes::scoped::Scoped;
use crate::scopes::subject::Subject;
use kernel::prelude::*;

/// Positions of a scope in the index: a UUID has three forms, and local processes ask by its device.
const KEYS: usize = 4;

/// The scopes in grace.
pub(crate) struct GraceTable<H> {
    hash: H,
    index: Index,
    entries: KVVec<Scoped>,
    room: usize,
    /// No scope is in grace from this time on.
    deadline: i64,
    /// Scopes that no command has ended.
    live: usize,
    /// There is, or was, a scope of a device: else, to look for one is in vain.
    devices: bool,
    /// The same for an address.
    addresses: bool,
    /// No local process is kept out from this time on.
    local_deadline: i64,
}

impl<H: KeyedHash> GraceTable<H> {
    /// An empty table, without room.
    pub(crate) const fn new(hash: H) -> Self {
        GraceTable {
            hash,
            index: Index::new(),
            entries: KVVec::new(),
            room: 0,
            deadline: 0,
            live: 0,
            devices: false,
            addresses: false,
            local_deadline: 0,
        }
    }

    /// An empty table with room for `n` scopes. Fails with `ENOMEM`. May sleep.
    pub(crate) fn with_room(hash: H, n: usize) -> Result<Self> {
        let mut table = Self::new(hash);
        table.index = Index::with_room(n.saturating_mul(KEYS))?;
        table.entries = KVVec::with_capacity(n, GFP_KERNEL)?;
        table.room = n;
        Ok(table)
    }

    /// How many scopes a table should have room for that takes over from this one: none if this
    /// one has room for another.
    pub(crate) fn wanted(&self, now: i64) -> Option<usize> {
        if self.entries.len() < self.room && self.index.has_room(KEYS) {
            return None;
        }
        let used = self.entries.iter().filter(|e| e.in_grace(now)).count();
        Some((used + 1) * 2)
    }

    /// Moves what is in grace to `bigger`, which takes this table's place; returns the old one,
    /// for the caller to drop where it may sleep. Does nothing if `bigger` is too small.
    pub(crate) fn adopt(&mut self, mut bigger: Self, now: i64) -> Self {
        let used = self.entries.iter().filter(|e| e.in_grace(now));
        if used.clone().count() < bigger.room {
            for entry in used {
                bigger.add(*entry);
            }
            core::mem::swap(self, &mut bigger);
        }
        bigger
    }

    fn hash(&self, net: u64, key: &[u8; KEY_LEN]) -> u64 {
        let mut bytes = [0; 8 + KEY_LEN];
        bytes[..8].copy_from_slice(&net.to_ne_bytes());
        bytes[8..].copy_from_slice(key);
        self.hash.hash(&bytes)
    }

    fn add(&mut self, entry: Scoped) {
        let at = self.entries.len();
        if at < self.room && self.entries.push(entry, GFP_KERNEL).is_ok() {
            self.devices |= matches!(entry.scope, Scope::Export(Fsid::Dev { .. }));
            self.addresses |= matches!(entry.scope, Scope::Server(_));
            for key in entry.scope.keys() {
                self.index.insert(self.hash(entry.net, &key), at);
            }
            if let Some(device) = entry.local {
                self.index.insert(self.local_hash(&device), at);
                self.local_deadline = self.local_deadline.max(entry.until);
            }
            self.live += 1;
            let until = if entry.holds > 0 {
                i64::MAX
            } else {
                entry.until
            };
            self.deadline = self.deadline.max(until);
        }
    }

    /// That of a device, by which local processes ask, whose net namespace does not matter.
    fn local_hash(&self, device: &Fsid) -> u64 {
        let mut key = device.key();
        key[0] = b'l';
        self.hash(0, &key)
    }

    fn position(&self, net: u64, scope: &Scope) -> Option<usize> {
        let hash = self.hash(net, &scope.keys().next()?);
        let entries = &self.entries;
        let same = |at: usize| entries[at].net == net && entries[at].scope == *scope;
        self.index.find(hash, same)
    }

    fn find(&mut self, net: u64, scope: &Scope) -> Option<&mut Scoped> {
        let at = self.position(net, scope)?;
        self.entries.get_mut(at)
    }

    /// The scope's entry, made if there is none. Fails with `ENOSPC` if that takes more room.
    fn entry(&mut self, net: u64, scope: &Scope) -> Result<&mut Scoped> {
        if self.find(net, scope).is_none() {
            if self.entries.len() == self.room {
                return Err(ENOSPC);
            }
            self.add(Scoped::new(net, scope));
            self.live -= 1;
        }
        self.find(net, scope).ok_or(ENOSPC)
    }

    /// Puts a scope in grace until a time ([`Scoped::start`]); one that is in grace stays so at least until then.
    /// Returns whether it was in grace. Fails with `ENOSPC` if the table has no room.
    pub(crate) fn start(&mut self, now: i64, net: u64, scope: &Scope, until: i64) -> Result<bool> {
        let entry = self.entry(net, scope)?;
        let dormant = entry.is_dormant();
        let was = entry.in_grace(now);
        entry.start(now, until);
        self.live += usize::from(dormant);
        self.deadline = self.deadline.max(until);
        Ok(was)
    }

    /// While the scope is in grace by command, local processes are kept out of this device, or of none. There must be
    /// room as for another scope.
    pub(crate) fn keep_out(&mut self, net: u64, scope: &Scope, device: Option<Fsid>) {
        let Some(at) = self.position(net, scope) else {
            return;
        };
        let entry = &mut self.entries[at];
        let was = core::mem::replace(&mut entry.local, device);
        if let Some(device) = device {
            self.local_deadline = self.local_deadline.max(entry.until);
            let hash = self.local_hash(&device);
            if self.index.find(hash, |other| other == at).is_none() {
                self.index.insert(hash, at);
            }
        } else if was.is_some() {
            self.find_local_deadline();
        }
    }

    /// Somebody is let in again: looks until when others are kept out.
    fn find_local_deadline(&mut self) {
        if self.local_deadline > 0 {
            let local = self.entries.iter().filter(|e| e.local.is_some());
            self.local_deadline = local.map(|e| e.until).max().unwrap_or(0);
        }
    }

    /// Are local processes kept out of a device?
    pub(crate) fn keeps_out(&self, now: i64, device: &Fsid) -> bool {
        let keeps = |at: usize| {
            let entry = &self.entries[at];
            now < entry.until && entry.local.as_ref() == Some(device)
        };
        self.index.find(self.local_hash(device), keeps).is_some()
    }

    /// From this time on, no local process is kept out.
    pub(crate) fn local_deadline(&self) -> i64 {
        self.local_deadline
    }

    /// Ends all grace periods of a net namespace.
    pub(crate) fn end_all(&mut self, net: u64) {
        for at in 0..self.entries.len() {
            if self.entries[at].net == net {
                self.end_at(at);
            }
        }
        self.find_local_deadline();
    }

    /// Ends a scope's grace period.
    pub(crate) fn end(&mut self, net: u64, scope: &Scope) {
        if let Some(at) = self.position(net, scope) {
            self.end_at(at);
            self.find_local_deadline();
        }
    }

    fn end_at(&mut self, at: usize) {
        let entry = &mut self.entries[at];
        let live = !entry.is_dormant();
        (entry.until, entry.local) = (0, None);
        let sleeps = live && entry.holds == 0;
        self.lose(sleeps);
    }

    /// Holds a scope in grace, until as many calls of [`GraceTable::let_go`]. Fails as
    /// [`GraceTable::start`].
    pub(crate) fn hold(&mut self, net: u64, scope: &Scope) -> Result {
        let entry = self.entry(net, scope)?;
        let dormant = entry.is_dormant();
        entry.holds += 1;
        self.live += usize::from(dormant);
        self.deadline = i64::MAX;
        Ok(())
    }

    /// Ends a hold.
    pub(crate) fn let_go(&mut self, net: u64, scope: &Scope) {
        if let Some(entry) = self.find(net, scope) {
            entry.holds -= 1;
            let sleeps = entry.is_dormant();
            self.lose(sleeps);
        }
        let held = self.entries.iter().any(|e| e.holds > 0);
        let last = self.entries.iter().map(|e| e.until).max().unwrap_or(0);
        self.deadline = if held { i64::MAX } else { last };
    }

    /// Notes that a scope has ended by command, if it has; with the last one, nobody needs to
    /// look into the table.
    fn lose(&mut self, one: bool) {
        self.live -= usize::from(one);
        if self.live == 0 {
            self.deadline = 0;
        }
    }

    /// From this time on, no scope is in grace.
    pub(crate) fn deadline(&self) -> i64 {
        self.deadline
    }

    /// The position of a scope in grace that a request is about, of those that are not skipped.
    fn covering(
        &self,
        now: i64,
        net: u64,
        subject: &Subject,
        skip: impl Fn(&Scoped) -> bool,
    ) -> Option<usize> {
        let fsids = subject.files.iter().flat_map(Place::fsids);
        let keys = fsids
            .filter(|fsid| self.devices || !matches!(fsid, Fsid::Dev { .. }))
            .map(|fsid| fsid.key());
        let server = subject.server.filter(|_| self.addresses);
        let mut keys = Iterator::chain(keys, server.map(address_key));
        keys.find_map(|key| {
            let covers = |at: usize| {
                let entry = &self.entries[at];
                entry.net == net
                    && entry.in_grace(now)
                    && !skip(entry)
                    && entry.scope.keys().any(|k| k == key)
            };
            self.index.find(self.hash(net, &key), covers)
        })
    }

    /// Is a request's scope in grace?
    pub(crate) fn covers(&self, now: i64, net: u64, subject: &Subject) -> bool {
        self.covering(now, net, subject, |_| false).is_some()
    }

    /// Is a request's scope in grace? If so the request counts there. For one that reclaims it is
    /// not if it is only held.
    pub(crate) fn ask(&mut self, now: i64, net: u64, subject: &Subject) -> bool {
        if subject.reclaim_asks.is_some() {
            let by_command = |entry: &Scoped| now < entry.until;
            if self.covering(now, net, subject, by_command).is_some() {
                return false;
            }
        }
        let found = self.covering(now, net, subject, |_| false);
        let Some(entry) = found.and_then(|at| self.entries.get_mut(at)) else {
            return false;
        };
        match subject.reclaim_asks {
            Some(asks) => {
                entry.reclaim(now, asks);
                self.deadline = self.deadline.max(entry.until);
                if entry.local.is_some() {
                    self.local_deadline = self.local_deadline.max(entry.until);
                }
            }
            None => entry.refused += 1,
        }
        true
    }

    /// Somebody has found an export.
    pub(crate) fn found(&mut self, now: i64, net: u64, at: &Place) {
        let subject = Subject {
            files: [*at, Place::default()],
            ..Subject::default()
        };
        while let Some(at) = self.covering(now, net, &subject, |entry| entry.found) {
            self.entries[at].found = true;
        }
    }

    /// Is an export in grace by command that nobody has found yet?
    pub(crate) fn any_missing(&self, now: i64, net: u64) -> bool {
        let is_export = |scope: &Scope| matches!(scope, Scope::Export(fsid) if !matches!(fsid, Fsid::Dev { .. }));
        self.list(now, net)
            .any(|entry| is_export(&entry.scope) && !entry.found)
    }

    /// A number that grows when somebody reclaims in a scope.
    pub(crate) fn reclaims(&mut self, net: u64, scope: &Scope) -> u64 {
        self.find(net, scope).map_or(0, |entry| entry.half_reclaims)
    }

    /// Is a scope in grace by command?
    pub(crate) fn is_in_grace(&mut self, now: i64, net: u64, scope: &Scope) -> bool {
        self.find(net, scope).is_some_and(|entry| now < entry.until)
    }

    /// Is a file system in grace, whatever its exports are?
    pub(crate) fn any_device(&self, now: i64, net: u64) -> bool {
        let mut entries = self.entries.iter().filter(|_| self.devices);
        entries.any(|entry| {
            entry.net == net
                && entry.in_grace(now)
                && matches!(entry.scope, Scope::Export(Fsid::Dev { .. }))
        })
    }

    /// The scopes of a namespace in grace by command.
    pub(crate) fn list(&self, now: i64, net: u64) -> impl Iterator<Item = &Scoped> {
        self.all(now).filter(move |e| e.net == net)
    }

    /// The scopes of all namespaces in grace by command.
    pub(crate) fn all(&self, now: i64) -> impl Iterator<Item = &Scoped> {
        self.entries.iter().filter(move |e| now < e.until)
    }
}
