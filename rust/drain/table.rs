// SPDX-License-Identifier: GPL-2.0

//! What is known of each address that drains.

use crate::base::clock::since_boot as now;
use crate::base::in_force;
use crate::base::net::Net;
use crate::base::text::Text;
use crate::drain::addresses::{self, Address, List, Prepared};
use crate::drain::look::{Found, Target};
use crate::drain::order::{Then, DEFAULT_SECONDS};
use core::fmt::Write;
use core::net::IpAddr;
use kernel::prelude::*;
use kernel::sync::Arc;

/// Addresses at most, in a namespace and in all: bounds on memory, and on what a request costs that looks for its own.
const MAX_IN_NET: usize = 64;
const MAX: usize = 1024;

const SECOND: i64 = 1_000_000_000;

/// An address that drains; or that did, until the connections are closed that were told so.
struct Entry {
    shared: Arc<Address>,
    /// When its time is over.
    ends: i64,
    /// What becomes of its connections.
    then: Then,
    /// What the last look has found, if there was one.
    seen: Option<Found>,
    /// Connections that were closed in order, and that were reset.
    closed: u64,
    reset: u64,
    /// Connections that were refused, as far as pollers know.
    refused: u64,
}

impl Entry {
    fn is_of(&self, net: Net<'_>) -> bool {
        self.shared.net() == net.cookie()
    }

    fn is_over(&self) -> bool {
        now() >= self.ends
    }

    /// Has it no connections but those that are kept, as far as is known?
    fn is_drained(&self) -> bool {
        self.seen.is_some_and(|seen| seen.connections == seen.kept)
    }

    /// Adds its line to a text.
    fn show(&self, out: &mut Text) -> Result {
        let address = self.shared.address();
        if self.is_drained() {
            let (closed, reset, refused) = (self.closed, self.reset, self.shared.refused());
            write!(
                out,
                "{address} drained closed {closed} reset {reset} refused {refused}"
            )?;
            match (self.then, self.seen) {
                (Then::Keep, Some(seen)) => writeln!(out, " kept {}", seen.kept)?,
                _ => writeln!(out)?,
            }
        } else {
            let seen = self.seen.unwrap_or_default();
            let (connections, requests) = (seen.connections, seen.requests);
            let left = ((self.ends - now()).max(0) + SECOND - 1) / SECOND;
            writeln!(
                out,
                "{address} draining connections {connections} requests {requests} left {left}"
            )?;
        }
        Ok(())
    }
}

/// The addresses of all namespaces.
#[derive(Default)]
pub(crate) struct Table {
    entries: KVVec<Entry>,
    /// The number of the last change that a line shows.
    pub(crate) sequence: u64,
}

impl Table {
    /// Are there none?
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Is one waited for: not drained yet, or not forgotten?
    pub(crate) fn is_waiting(&self) -> bool {
        let is_waiting = |entry: &Entry| !entry.shared.refuses() || !entry.is_drained();
        self.entries.iter().any(is_waiting)
    }

    /// Publishes the addresses as they are, and one more. Fails with `ENOMEM`; then nothing is changed. May sleep.
    fn publish(&self, more: Option<&Arc<Address>>) -> Result {
        if self.entries.is_empty() && more.is_none() {
            addresses::publish(Prepared::EMPTY);
            return Ok(());
        }
        let mut list = List::with_capacity(self.entries.len() + 1, GFP_KERNEL_ACCOUNT)?;
        let all = self.entries.iter().map(|entry| &entry.shared);
        for one in Iterator::chain(all, more) {
            list.push(one.clone(), GFP_KERNEL_ACCOUNT)?;
        }
        addresses::publish(Prepared::new(list)?);
        Ok(())
    }

    /// An address begins to drain, or goes on with another limit. Fails with `ENOMEM`, with `ENOSPC` if there are too many, and
    /// with `ENODEV` if the livepatch is being switched off. May sleep.
    pub(crate) fn begin(
        &mut self,
        net: Net<'_>,
        address: IpAddr,
        seconds: u32,
        then: Then,
    ) -> Result {
        let cookie = net.cookie();
        let ends = now() + i64::from(seconds) * SECOND;
        let found = self
            .entries
            .iter_mut()
            .find(|entry| entry.shared.is(cookie, address));
        if let Some(entry) = found {
            in_force::check()?;
            if !entry.shared.refuses() {
                (entry.closed, entry.reset, entry.refused) = (0, 0, 0);
                entry.shared.renew();
            }
            (entry.ends, entry.then) = (ends, then);
            self.sequence += 1;
            return Ok(());
        }
        let count = self.entries.iter().filter(|entry| entry.is_of(net)).count();
        if count >= MAX_IN_NET || self.entries.len() >= MAX {
            return Err(ENOSPC);
        }
        self.entries.reserve(1, GFP_KERNEL_ACCOUNT)?;
        let shared = Arc::new(Address::new(cookie, address), GFP_KERNEL_ACCOUNT)?;
        in_force::check()?;
        self.publish(Some(&shared))?;
        let entry = Entry {
            shared,
            ends,
            then,
            seen: None,
            closed: 0,
            reset: 0,
            refused: 0,
        };
        self.entries.push(entry, GFP_KERNEL_ACCOUNT)?;
        self.sequence += 1;
        Ok(())
    }

    /// An address drains no more. Returns whether it did. Connections that were told to drain are still closed, also those
    /// that were kept, as their clients may wait for answers that do not come. Does not sleep.
    pub(crate) fn end(&mut self, net: Net<'_>, address: IpAddr) -> bool {
        let mut was = false;
        for entry in &mut self.entries {
            if entry.shared.is(net.cookie(), address) {
                was |= entry.shared.refuses();
                entry.shared.set_refuses(false);
                if entry.then == Then::Keep {
                    // Only now is it said to them.
                    entry.ends = now() + i64::from(DEFAULT_SECONDS) * SECOND;
                    entry.then = Then::Close;
                }
            }
        }
        self.sequence += 1;
        was
    }

    /// Ends all of them, at once: what is left of their connections is reset at the next look. Returns how many were
    /// draining. Does not sleep.
    pub(crate) fn end_all(&mut self) -> usize {
        let mut count = 0;
        for entry in &mut self.entries {
            count += usize::from(entry.shared.refuses());
            entry.shared.set_refuses(false);
            (entry.ends, entry.then) = (0, Then::Close);
        }
        self.sequence += 1;
        count
    }

    /// Forgets those for which `is_gone` says so. May sleep.
    fn forget(&mut self, is_gone: impl Fn(&Entry) -> bool) {
        let before = self.entries.len();
        self.entries.retain(|entry| !is_gone(entry));
        if self.entries.len() != before {
            self.sequence += 1;
            if self.publish(None).is_err() {
                // They stay in the list, where they refuse nothing.
                pr_debug!("no memory for a shorter list\n");
            }
        }
    }

    /// A namespace ends, or without one all is forgotten. May sleep.
    pub(crate) fn forget_all(&mut self, net: Option<Net<'_>>) {
        let is_of = |entry: &Entry| net.is_none_or(|net| entry.is_of(net));
        for entry in self.entries.iter().filter(|entry| is_of(entry)) {
            entry.shared.set_refuses(false);
        }
        self.forget(is_of);
    }

    /// What to look for in a namespace. Fails with `ENOMEM`. May sleep.
    pub(crate) fn targets(&self, net: Net<'_>) -> Result<KVec<Target>> {
        let mut targets = KVec::new();
        for entry in self.entries.iter().filter(|entry| entry.is_of(net)) {
            let shared = &entry.shared;
            let (address, refuses) = (shared.address(), shared.refuses());
            let target = Target::new(address, refuses, entry.is_over(), entry.then);
            targets.push(target, GFP_KERNEL)?;
        }
        Ok(targets)
    }

    /// Notes what was found in a namespace. May sleep.
    pub(crate) fn found(&mut self, net: Net<'_>, targets: &[Target]) {
        for target in targets {
            let found = target.found;
            let entry = self
                .entries
                .iter_mut()
                .find(|entry| entry.shared.is(net.cookie(), target.address));
            let Some(entry) = entry else {
                continue;
            };
            // Those that the client has closed, and sunrpc with it.
            let before = entry.seen.map_or(0, |seen| seen.open);
            let now = found.open + found.closed + found.reset;
            let gone = before.saturating_sub(now);
            entry.closed += u64::from(found.closed + gone);
            entry.reset += u64::from(found.reset);
            let refused = entry.shared.refused();
            let is_same = |seen: Found| {
                (seen.connections, seen.requests, seen.kept)
                    == (found.connections, found.requests, found.kept)
            };
            if entry.refused != refused || !entry.seen.is_some_and(is_same) {
                self.sequence += 1;
            }
            entry.refused = refused;
            entry.seen = Some(found);
        }
        self.forget(|entry| entry.is_of(net) && !entry.shared.refuses() && entry.is_drained());
    }

    /// Adds the lines of a namespace's addresses that drain to a text, or that of one of them. May sleep.
    pub(crate) fn show(&self, net: Net<'_>, only: Option<IpAddr>, out: &mut Text) -> Result {
        for entry in self.entries.iter().filter(|entry| entry.is_of(net)) {
            let is_wanted = only.is_none_or(|address| entry.shared.address() == address);
            if is_wanted && entry.shared.refuses() {
                entry.show(out)?;
            }
        }
        Ok(())
    }
}
