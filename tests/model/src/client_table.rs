// SPDX-License-Identifier: GPL-2.0

//! As `rust/nfs4/client_table.rs` and `stateids.rs`: the confirmed clients, and what they hold.

use crate::nfs4::nfs4_client::{Nfs4Client, Stateids};
use crate::nfs4::nfsd::{NfsdNet, Tracked};
use crate::scopes::place::{ExportId, Place};
use core::ops::Deref;
use kernel::sync::lock::{mutex::MutexBackend, Guard};
use kernel::sync::Arc;

type Clients = Vec<Arc<Nfs4Client>>;

/// The confirmed clients, with `client_lock`.
pub(crate) struct ClientTable<'a>(pub(crate) Guard<'a, Clients, MutexBackend>);

/// One of them.
pub(crate) struct Confirmed<'a>(&'a Arc<Nfs4Client>);

impl Deref for Confirmed<'_> {
    type Target = Nfs4Client;

    fn deref(&self) -> &Nfs4Client {
        self.0
    }
}

impl ClientTable<'_> {
    pub(crate) fn find_after<R>(
        &self,
        last: Option<&[u8]>,
        mut f: impl FnMut(&Confirmed<'_>) -> Option<R>,
    ) -> Option<(Confirmed<'_>, R)> {
        let is_past = |client: &&Arc<Nfs4Client>| last.is_none_or(|last| client.name() > last);
        let mut rest: Vec<_> = self.0.iter().filter(is_past).collect();
        rest.sort_by_key(|client| client.name());
        rest.into_iter().map(Confirmed).find_map(|client| {
            let found = f(&client)?;
            Some((client, found))
        })
    }

    pub(crate) fn with_name(&self, name: &[u8]) -> Option<Confirmed<'_>> {
        let is = |client: &&Arc<Nfs4Client>| client.name() == name;
        self.0.iter().find(is).map(Confirmed)
    }
}

impl Confirmed<'_> {
    /// Takes `cl_lock`.
    pub(crate) fn lock_state(&self) -> State<'_> {
        State(self.0.stateids())
    }
}

/// A client's state, with `cl_lock`.
pub(crate) struct State<'a>(Guard<'a, Stateids, MutexBackend>);

/// Before each stateid that is one there are so many that hold nothing, so that a look takes a part for each.
const OTHERS: usize = 255;

impl State<'_> {
    pub(crate) fn stateids_from(
        &self,
        first: usize,
    ) -> impl Iterator<Item = (usize, Stateid)> + '_ {
        let all = self.0.all.iter().flat_map(|(number, export)| {
            let first = number * (OTHERS + 1);
            let others = (first..first + OTHERS).map(|number| (number, Stateid(None)));
            others.chain([(first + OTHERS, Stateid(Some(*export)))])
        });
        all.skip_while(move |(number, _)| *number < first)
    }
}

/// What a stateid is: an open or a lock, or nothing.
pub(crate) struct Stateid(Option<ExportId>);

pub(crate) struct Kind;

impl Stateid {
    pub(crate) fn kind(&self) -> Option<Kind> {
        self.0.map(|_| Kind)
    }

    pub(crate) fn is_of_directory(&self) -> bool {
        false
    }

    pub(crate) fn place(&self) -> Place {
        self.0.map_or_else(Place::default, |export| Place {
            export: Some(export.fsid),
            file_system: Some(export.file_system),
            ..Place::default()
        })
    }
}

impl<'a> Tracked<'a> {
    pub(crate) fn clients(&self) -> ClientTable<'a> {
        let nn: &'a NfsdNet = self.nn();
        nn.client_table()
    }
}
