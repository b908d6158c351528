// SPDX-License-Identifier: GPL-2.0

//! Who may reclaim the NFSv4 state of single scopes, in their grace periods.
//!
//! A server's own records say who may reclaim after it has restarted. They know nothing of the
//! clients of an export that comes from another server: an admin lists those, scope by scope.
//! A list is *closed* when its admin has said that nobody else is expected, also no client of
//! NLM; when all clients of a closed list have finished, nothing can wait for the grace period's
//! end any more. A client of NFSv4.0 cannot say that it has finished (RFC 7530, 9.6.2), one of a
//! later version does so with RECLAIM_COMPLETE (RFC 8881, 18.51).
//!
//! This file makes no kernel calls; it is also compiled and tested on the host.

use crate::base::index::KeyedHash;
use crate::nfs4::record::{Client, HASH_LEN, NAME_MAX};
use crate::nfs4::records::{Progress, RecordTable};
use crate::scopes::grace::Subject;
use crate::scopes::scope::{command, Scope};
use kernel::prelude::*;

/// The list of one scope.
struct List<H> {
    net: u64,
    scope: Scope,
    clients: RecordTable<H>,
    closed: bool,
}

impl<H: KeyedHash> List<H> {
    fn is_of(&self, net: u64, scope: &Scope) -> bool {
        self.net == net && self.scope == *scope
    }

    fn is_finished(&self) -> bool {
        let counts = self.clients.counts();
        self.closed && counts.complete == counts.known
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
pub(crate) struct Lists<H>(KVVec<List<H>>);

impl<H: KeyedHash> Lists<H> {
    /// Without lists.
    pub(crate) const fn new() -> Self {
        Lists(KVVec::new())
    }

    /// Is there none?
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The list of a scope, made with the hash if there is none. Fails with `ENOMEM`. May sleep.
    fn list(&mut self, net: u64, scope: &Scope, hash: H) -> Result<&mut List<H>> {
        let at = match self.0.iter().position(|list| list.is_of(net, scope)) {
            Some(at) => at,
            None => {
                let list = List {
                    net,
                    scope: *scope,
                    clients: RecordTable::new(hash),
                    closed: false,
                };
                self.0.push(list, GFP_KERNEL)?;
                self.0.len() - 1
            }
        };
        self.0.get_mut(at).ok_or(ENOMEM)
    }

    /// Lists a client. Fails with `ENOMEM`. May sleep.
    pub(crate) fn add(&mut self, net: u64, scope: &Scope, client: Client<'_>, hash: H) -> Result {
        self.list(net, scope, hash)?.clients.insert(client)
    }

    /// Nobody else is expected. Returns whether all have finished. Fails with `ENOMEM`. May sleep.
    pub(crate) fn close(&mut self, net: u64, scope: &Scope, hash: H) -> Result<bool> {
        let list = self.list(net, scope, hash)?;
        list.closed = true;
        Ok(list.is_finished())
    }

    /// Forgets the lists that are not wanted any more. May sleep.
    pub(crate) fn retain(&mut self, mut want: impl FnMut(u64, &Scope) -> bool) {
        self.0.retain(|list| want(list.net, &list.scope));
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
        for list in &mut self.0 {
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
        for list in self.0.iter_mut().filter(|list| list.net == net) {
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

    /// The clients that are listed in a namespace, with their scopes.
    pub(crate) fn clients(&self, net: u64) -> impl Iterator<Item = (&Scope, Client<'_>, Progress)> {
        let lists = self.0.iter().filter(move |list| list.net == net);
        lists.flat_map(|list| {
            let clients = list.clients.iter();
            clients.map(|(client, progress)| (&list.scope, client, progress))
        })
    }
}

/// A line of a command: `SCOPE CLIENT-ID [PRINCIPAL-HASH]`.
pub(crate) struct Line {
    /// The scope.
    pub(crate) scope: Scope,
    name: KVec<u8>,
    hash: KVec<u8>,
}

impl Line {
    /// The client.
    pub(crate) fn client(&self) -> Client<'_> {
        Client {
            name: &self.name,
            hash: &self.hash,
        }
    }

    fn parse(line: &[u8]) -> Result<Self> {
        let mut words = command(line)?.split(' ');
        let (Some(scope), Some(id)) = (words.next(), words.next()) else {
            return Err(EINVAL);
        };
        let hash = words.next().map_or(Ok(KVec::new()), hex)?;
        let name = unescape(id)?;
        let lengths = (1..=NAME_MAX).contains(&name.len()) && [0, HASH_LEN].contains(&hash.len());
        if !lengths || words.next().is_some() {
            return Err(EINVAL);
        }
        let scope = Scope::parse(scope)?;
        Ok(Line { scope, name, hash })
    }
}

/// Reads the lines of a command. Fails with `EINVAL`, and with `ENOMEM`. May sleep.
pub(crate) fn parse(data: &[u8]) -> Result<KVVec<Line>> {
    let mut lines = KVVec::new();
    for line in data
        .strip_suffix(b"\n")
        .unwrap_or(data)
        .split(|c| *c == b'\n')
    {
        lines.push(Line::parse(line)?, GFP_KERNEL)?;
    }
    Ok(lines)
}

/// The bytes that pairs of hexadecimal digits stand for.
fn hex(digits: &str) -> Result<KVec<u8>> {
    if digits.is_empty() || digits.len() % 2 != 0 {
        return Err(EINVAL);
    }
    let mut bytes = KVec::with_capacity(digits.len() / 2, GFP_KERNEL)?;
    for pair in digits.as_bytes().chunks_exact(2) {
        let digit = |c: &u8| char::from(*c).to_digit(16).ok_or(EINVAL);
        bytes.push((digit(&pair[0])? << 4 | digit(&pair[1])?) as u8, GFP_KERNEL)?;
    }
    Ok(bytes)
}

/// The bytes that a word of nfsd's caches stands for (`qword_get()` in `net/sunrpc/cache.c`): after
/// `\x` all is hexadecimal, else `\ooo` is a byte in octal.
fn unescape(word: &str) -> Result<KVec<u8>> {
    if let Some(digits) = word.strip_prefix("\\x") {
        return hex(digits);
    }
    let mut bytes = KVec::with_capacity(word.len(), GFP_KERNEL)?;
    let mut rest = word.as_bytes();
    while let [first, tail @ ..] = rest {
        let (byte, tail) = match (first, tail) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..]) => {
                ((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'), tail)
            }
            (b'\\', _) => return Err(EINVAL),
            _ => (*first, tail),
        };
        bytes.push(byte, GFP_KERNEL)?;
        rest = tail;
    }
    Ok(bytes)
}
