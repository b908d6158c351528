// SPDX-License-Identifier: GPL-2.0

//! A look at what clients hold, and on which exports, one after the other.
//!
//! It takes nfsd's locks for a part of one client at a time, however much that holds.

use crate::nfs4::client_table::Confirmed;
use crate::nfs4::nfs4_client::ClientRef;
use crate::nfs4::nfsd::Tracked;
use crate::nfs4::record::NAME_MAX;
use crate::scopes::place::ExportId;
use kernel::prelude::*;

/// Exports that there is room for in the beginning.
const ROOM: usize = 64;
/// Exports that may be compared under a client's lock in one go, and stateids that may be looked at.
const PART: usize = 4_096;

/// How far a look is.
pub(crate) struct Look {
    /// The name of the client, or of the last one.
    name: KVec<u8>,
    client: Option<ClientRef>,
    /// The number of its next stateid; nothing if all of it was looked at.
    next: Option<usize>,
    exports: KVVec<ExportId>,
}

/// What one step has brought.
pub(crate) enum Step {
    /// A part of a client.
    Part,
    /// The rest of one.
    Client,
    /// Nothing: all were looked at.
    End,
}

/// What was found under the locks.
enum Found {
    Step(Step),
    /// There was no room for another export.
    Full,
}

impl Look {
    /// One that begins. Fails with `ENOMEM`. May sleep.
    pub(crate) fn new() -> Result<Self> {
        Ok(Look {
            name: KVec::with_capacity(NAME_MAX, GFP_KERNEL)?,
            client: None,
            next: None,
            exports: KVVec::with_capacity(ROOM, GFP_KERNEL)?,
        })
    }

    /// The client's name.
    pub(crate) fn name(&self) -> &[u8] {
        &self.name
    }

    /// The client, to be compared.
    pub(crate) fn client(&self) -> Option<ClientRef> {
        self.client
    }

    /// The exports that it holds something on.
    pub(crate) fn exports(&self) -> &[ExportId] {
        &self.exports
    }

    /// Adds the exports that `others` says, of its name. Fails with `ENOMEM`, and as `others` does. May sleep.
    pub(crate) fn add(
        &mut self,
        others: impl FnOnce(&[u8], &mut dyn FnMut(ExportId) -> Result) -> Result,
    ) -> Result {
        let Look { name, exports, .. } = self;
        others(name, &mut |export| {
            if !exports.contains(&export) {
                exports.push(export, GFP_KERNEL)?;
            }
            Ok(())
        })
    }

    /// Begins with a client. Does not allocate.
    fn begin(&mut self, client: &Confirmed<'_>) -> Option<usize> {
        self.name.clear();
        // nfsd has no longer ones.
        self.name
            .extend_from_slice(client.name(), GFP_ATOMIC)
            .ok()?;
        self.client = Some(ClientRef::new(client));
        self.exports.clear();
        Some(0)
    }

    /// Looks at a part of a client, from a stateid on. Does not allocate.
    fn part(&mut self, client: &Confirmed<'_>, first: usize) -> Found {
        self.next = None;
        let state = client.lock_state();
        let mut steps = 0;
        for (number, stateid) in state.stateids_from(first) {
            steps += 1 + self.exports.len();
            if steps > PART && number > first {
                self.next = Some(number);
                return Found::Step(Step::Part);
            }
            let export = match stateid.kind() {
                Some(_) if !stateid.is_of_directory() => stateid.place().export_id(),
                _ => None,
            };
            let Some(export) = export.filter(|export| !self.exports.contains(export)) else {
                continue;
            };
            if self.exports.len() == self.exports.capacity() {
                self.next = Some(number);
                return Found::Full;
            }
            let _ = self.exports.push(export, GFP_ATOMIC);
        }
        Found::Step(Step::Client)
    }
}

impl Tracked<'_> {
    /// Goes on with a look. Fails with `ENOMEM`. May sleep; takes `client_lock`.
    pub(crate) fn look_on(&self, look: &mut Look) -> Result<Step> {
        let found = {
            let table = self.clients();
            let same = look.next.and_then(|next| {
                let client = table.with_name(&look.name)?;
                let is_same = look.client == Some(ClientRef::new(&client));
                Some((client, if is_same { next } else { 0 }))
            });
            let next = || {
                let last = Some(&look.name[..]).filter(|name| !name.is_empty());
                table.find_after(last, |_| Some(0))
            };
            match same.or_else(next) {
                Some((client, 0)) => match look.begin(&client) {
                    Some(first) => look.part(&client, first),
                    None => return Err(EINVAL),
                },
                Some((client, first)) => look.part(&client, first),
                None => return Ok(Step::End),
            }
        };
        match found {
            Found::Step(step) => Ok(step),
            Found::Full => {
                look.exports.reserve(look.exports.len(), GFP_KERNEL)?;
                Ok(Step::Part)
            }
        }
    }
}
