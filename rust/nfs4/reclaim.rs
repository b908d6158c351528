// SPDX-License-Identifier: GPL-2.0

//! Who may reclaim the NFSv4 state of single scopes, in their grace periods.
//!
//! A server's own records say who may reclaim after it has restarted. They know nothing of the
//! clients of an export that comes from another server: an admin lists those, scope by scope.
//! A list is *closed* when its admin has said that nobody else is expected, also no client of
//! NLM; when all clients of a closed list have finished, nothing can wait for the grace period's
//! end any more. A client of NFSv4.0 cannot say that it has finished (RFC 7530, 9.6.2), one of a
//! later version does so with RECLAIM_COMPLETE (RFC 8881, 18.51). One that cannot say so, as also one of
//! NLM, may be listed with how much it held: it has finished once it was seen with as much.
//!
//! This file makes no kernel calls; it is also compiled and tested on the host.

use crate::base::amount::Amount;
use crate::base::index::KeyedHash;
use crate::nfs4::due::{Due, Missing, Pace, Wanted};
use crate::nfs4::reclaim_line::{Line, NlmClient, Who};
use crate::nfs4::record::{Client, OwnedClient};
use crate::nfs4::records::{Progress, RecordTable};
use crate::scopes::scope::Scope;
use crate::scopes::subject::Subject;
use kernel::prelude::*;

/// The list of one scope.
struct List<H> {
    /// No other list ever has it.
    number: u64,
    net: u64,
    scope: Scope,
    clients: RecordTable<H>,
    /// Of each of these, in their order.
    dues: KVVec<Due>,
    nlm: KVVec<(NlmClient, Due)>,
    /// How many of all these were seen with as much as they held.
    seen: usize,
    closed: bool,
    pace: Pace,
}

impl<H: KeyedHash> List<H> {
    fn is_of(&self, net: u64, scope: &Scope) -> bool {
        self.net == net && self.scope == *scope
    }

    /// The clients of NFSv4.
    fn nfs4(&self) -> impl Iterator<Item = (Client<'_>, Progress, &Due)> {
        let clients = self.clients.iter().zip(&self.dues);
        clients.map(|((client, progress), due)| (client, progress, due))
    }

    /// Adds a line, or what it says of who is listed already. Fails with `ENOMEM`. May sleep.
    fn add(&mut self, line: &Line) -> Result {
        self.pace.restart();
        let due = match &line.who {
            Who::Nfs4(name, hash) => {
                self.dues.reserve(1, GFP_KERNEL)?;
                self.clients.insert(Client { name, hash }, true)?;
                if self.clients.counts().known > self.dues.len() {
                    self.dues.push(Due::default(), GFP_KERNEL)?;
                }
                let at = self.clients.position(name).ok_or(ENOMEM)?;
                self.dues.get_mut(at).ok_or(ENOMEM)?
            }
            Who::Nlm(who) => {
                let at = match self.nlm.iter().position(|(known, _)| known == who) {
                    Some(at) => at,
                    None => {
                        self.nlm.push((*who, Due::default()), GFP_KERNEL)?;
                        self.nlm.len() - 1
                    }
                };
                &mut self.nlm.get_mut(at).ok_or(ENOMEM)?.1
            }
        };
        self.seen -= usize::from(due.seen);
        due.say(line.holds);
        self.seen += usize::from(due.seen);
        Ok(())
    }

    fn is_finished(&self) -> bool {
        let counts = self.clients.counts();
        if counts.complete + self.seen < counts.known + self.nlm.len() {
            return false;
        }
        // Some may have finished in both ways.
        let has_finished =
            |(_, progress, due): (_, _, &Due)| progress == Progress::Complete || due.seen;
        self.closed && self.nlm.iter().all(|(_, due)| due.seen) && self.nfs4().all(has_finished)
    }

    /// Is it closed, and waits for somebody who is to be looked for?
    fn waits(&self) -> bool {
        let is_waited_for =
            |(_, progress, due): (_, _, &Due)| progress != Progress::Complete && due.is_open();
        self.closed
            && (self.nlm.iter().any(|(_, due)| due.is_open()) || self.nfs4().any(is_waited_for))
    }

    /// Who is to be looked for. A client of NFSv4 that has not reclaimed anything has nothing back, whatever it holds.
    fn wanted(&self) -> Result<Wanted> {
        let mut wanted = Wanted {
            number: self.number,
            scope: self.scope,
            nfs4: KVVec::new(),
            nlm: KVVec::new(),
        };
        for (at, (client, progress, due)) in self.nfs4().enumerate() {
            if let (Some(holds), Progress::Reclaimed, true) = (due.holds, progress, due.is_open()) {
                let one = Missing::new(at, OwnedClient::new(client)?, holds);
                wanted.nfs4.push(one, GFP_KERNEL)?;
            }
        }
        for (at, (client, due)) in self.nlm.iter().enumerate() {
            if let (Some(holds), true) = (due.holds, due.is_open()) {
                let one = Missing::new(at, *client, holds);
                wanted.nlm.push(one, GFP_KERNEL)?;
            }
        }
        Ok(wanted)
    }
}

/// Whether a client may reclaim something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// It may.
    May,
    /// It has said that it has reclaimed all there (RFC 8881, 18.51.3).
    Finished,
    /// It is not listed.
    Unlisted,
}

/// The lists of all scopes. A server takes over few exports at a time: they are looked at one
/// by one.
pub(crate) struct Lists<H> {
    lists: KVVec<List<H>>,
    made: u64,
}

impl<H: KeyedHash> Lists<H> {
    /// Without lists.
    pub(crate) const fn new() -> Self {
        Lists {
            lists: KVVec::new(),
            made: 0,
        }
    }

    /// Is there none?
    pub(crate) fn is_empty(&self) -> bool {
        self.lists.is_empty()
    }

    /// The list of a scope, made with the hash if there is none. Fails with `ENOMEM`. May sleep.
    fn list(&mut self, net: u64, scope: &Scope, hash: H) -> Result<&mut List<H>> {
        let known = self.lists.iter().position(|list| list.is_of(net, scope));
        let at = match known {
            Some(at) => at,
            None => {
                self.made += 1;
                let list = List {
                    number: self.made,
                    net,
                    scope: *scope,
                    clients: RecordTable::new(hash),
                    dues: KVVec::new(),
                    nlm: KVVec::new(),
                    seen: 0,
                    closed: false,
                    pace: Pace::default(),
                };
                self.lists.push(list, GFP_KERNEL)?;
                self.lists.len() - 1
            }
        };
        self.lists.get_mut(at).ok_or(ENOMEM)
    }

    /// Lists a client. Fails with `ENOMEM`. May sleep.
    pub(crate) fn add(&mut self, net: u64, line: &Line, hash: H) -> Result {
        self.list(net, &line.scope, hash)?.add(line)
    }

    /// Nobody else is expected. Returns whether all have finished. Fails with `ENOMEM`. May sleep.
    pub(crate) fn close(&mut self, net: u64, scope: &Scope, hash: H) -> Result<bool> {
        let list = self.list(net, scope, hash)?;
        list.closed = true;
        list.pace.restart();
        Ok(list.is_finished())
    }

    /// Forgets the lists that are not wanted any more. May sleep.
    pub(crate) fn retain(&mut self, mut want: impl FnMut(u64, &Scope) -> bool) {
        self.lists.retain(|list| want(list.net, &list.scope));
    }

    /// May a client reclaim what a request is about? Yes if it is listed, by one of these names,
    /// in a scope that covers the request and is in grace, has the listed principal if there is one, and has
    /// not finished there.
    pub(crate) fn claim(
        &mut self,
        net: u64,
        subject: &Subject,
        in_grace: impl Fn(&Scope) -> bool,
        names: &[&[u8]],
        principal: Option<&[u8]>,
    ) -> Claim {
        let mut claim = Claim::Unlisted;
        for list in &mut self.lists {
            if list.net != net || !subject.is_of(&list.scope) || !in_grace(&list.scope) {
                continue;
            }
            for name in names {
                match list.clients.is_complete(name, principal) {
                    Some(false) if list.clients.claim(name, principal) => claim = Claim::May,
                    Some(true) if claim != Claim::May => claim = Claim::Finished,
                    _ => (),
                }
            }
        }
        claim
    }

    /// A client has finished reclaiming: everything, or what `subject` is about if it is there.
    /// Calls `ended` with each scope that nobody is waited for any more. Returns whether it is listed, and had
    /// finished all of that before.
    pub(crate) fn complete(
        &mut self,
        net: u64,
        subject: Option<&Subject>,
        names: &[&[u8]],
        principal: Option<&[u8]>,
        mut ended: impl FnMut(&Scope),
    ) -> bool {
        let (mut first, mut again) = (false, false);
        for list in self.lists.iter_mut().filter(|list| list.net == net) {
            if subject.is_some_and(|subject| !subject.is_of(&list.scope)) {
                continue;
            }
            let was_finished = list.is_finished();
            for name in names {
                match list.clients.is_complete(name, principal) {
                    Some(true) => again = true,
                    Some(false) => first = true,
                    None => (),
                }
                list.clients.complete(name, principal);
            }
            if list.is_finished() && !was_finished {
                ended(&list.scope);
            }
        }
        again && !first
    }

    /// Does a list of a namespace wait for somebody who is to be looked for?
    pub(crate) fn waits(&self, net: u64) -> bool {
        self.lists
            .iter()
            .any(|list| list.net == net && list.waits())
    }

    /// A tick: who is to be looked for now in a namespace, list by list. `reclaims` says how often somebody has
    /// reclaimed in a scope. Fails with `ENOMEM`. May sleep.
    pub(crate) fn wanted(
        &mut self,
        net: u64,
        reclaims: impl Fn(&Scope) -> u64,
    ) -> Result<KVVec<Wanted>> {
        let mut wanted = KVVec::new();
        for list in self.lists.iter_mut().filter(|list| list.net == net) {
            if list.waits() && list.pace.tick(reclaims(&list.scope)) {
                wanted.push(list.wanted()?, GFP_KERNEL)?;
            }
        }
        Ok(wanted)
    }

    /// Notes who of those that were looked for has all. If `all` could not be looked for, it is tried again soon. Returns
    /// whether nobody is waited for any more on the list, which may have gone meanwhile.
    pub(crate) fn found(&mut self, wanted: &Wanted, all: bool) -> bool {
        let number = wanted.number;
        let Some(list) = self.lists.iter_mut().find(|list| list.number == number) else {
            return false;
        };
        for one in wanted.nfs4.iter().filter(|one| one.found) {
            if let Some(due) = list.dues.get_mut(one.at) {
                list.seen += usize::from(due.see(one.holds));
            }
        }
        for one in wanted.nlm.iter().filter(|one| one.found) {
            if let Some((_, due)) = list.nlm.get_mut(one.at) {
                list.seen += usize::from(due.see(one.holds));
            }
        }
        if !all {
            list.pace.restart();
        }
        list.is_finished()
    }

    /// Shows a namespace's lists: calls `f` with each scope, who is listed, how much that one held and how far it is.
    /// Fails as `f` does.
    pub(crate) fn each<E>(
        &self,
        net: u64,
        mut f: impl FnMut(&Scope, Listed<'_>, Option<Amount>, Progress) -> Result<(), E>,
    ) -> Result<(), E> {
        for list in self.lists.iter().filter(|list| list.net == net) {
            for (client, progress, due) in list.nfs4() {
                let progress = if due.seen {
                    Progress::Complete
                } else {
                    progress
                };
                f(&list.scope, Listed::Nfs4(client), due.holds, progress)?;
            }
            for (client, due) in &list.nlm {
                let progress = match due.seen {
                    true => Progress::Complete,
                    false => Progress::Waiting,
                };
                f(&list.scope, Listed::Nlm(*client), due.holds, progress)?;
            }
        }
        Ok(())
    }
}

/// Who is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listed<'a> {
    /// A client of NFSv4.
    Nfs4(Client<'a>),
    /// A client of NLM.
    Nlm(NlmClient),
}
