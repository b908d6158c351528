// SPDX-License-Identifier: GPL-2.0
//! Who is to be on a list: who holds something, who may still reclaim, and who is on record.

use super::{Held, List};
use crate::control::{self, Control, Listed, Nfs4Client, NlmClient, Progress, Reclaimer, Who};
use crate::database::{self, Database, Taken, Wanted};
use crate::owner::Owner;
use crate::scope::{Fsid, Scope};
use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;

/// Why there is no list.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CollectError {
    /// A control file.
    #[error(transparent)]
    Control(#[from] control::Error),
    /// The daemon's database.
    #[error(transparent)]
    Database(#[from] database::Error),
    /// Who came to an address is known if it was floating.
    #[error(
        "which clients came to {address} is known if it is a floating address: echo {address} > {file}, \
         and let them come again"
    )]
    NotFloating {
        /// The address.
        address: IpAddr,
        /// The control file for it.
        file: String,
    },
}

/// Who was on record of a server that has crashed: `database` is that of its nfsdcld or nfsd-had, or its directory.
///
/// Names those who may have held something on what is wanted, if their server has said for now, in seconds since 1970, that
/// it stores this; else all of them. Says nothing of NLM.
pub fn of_database(
    database: &Path,
    scope: &Scope,
    wanted: &Wanted,
    now: i64,
) -> Result<(List, Taken), CollectError> {
    let mut clients = Clients::default();
    let database = Database::of_other(database)?;
    let taken = database.holders(wanted, now, |client, principal| {
        clients.add(&client, principal.as_deref(), None);
    })?;
    let list = List {
        clients: clients.in_order(),
        ..List::new(*scope)
    };
    Ok((list, taken))
}

/// Who holds something on this server; in its own grace period also who is on record in its daemon's
/// database: `database` is that, or its directory.
pub fn of_server(control: &Control, database: &Path, scope: &Scope) -> Result<List, CollectError> {
    if let Some(address) = scope.address() {
        if !control.floating_addresses()?.contains(&address) {
            let file = control.path("floating_addresses").display().to_string();
            return Err(CollectError::NotFloating { address, file });
        }
    }
    let tracking = control.tracking()?;
    let nlm: Vec<_> = control.nlm_clients()?.clients;
    let nlm: Vec<_> = nlm
        .into_iter()
        .filter(|one| is_of(scope, one.fsid, Some(one.peer.server)))
        .collect();
    let nfs4: Vec<_> = control
        .nfs4_clients()?
        .into_iter()
        .filter(|one| is_client_of(scope, one))
        .collect();
    let mut clients = Clients::default();
    nfs4.iter().for_each(|one| clients.add_holder(one, scope));
    // Who has not come back yet, after a move or a restart, may still do so.
    let listed = control.listed()?;
    listed
        .into_iter()
        .filter(|one| one.scope == *scope)
        .for_each(|one| clients.add_listed(one));
    let mut others = control.graces()?.iter().any(|grace| grace.scope == *scope);
    if control.in_own_grace()? {
        others = true;
        clients.add_recorded(&Database::of_own(database)?)?;
    }
    let mut clients = clients.in_order();
    if !others {
        clients.extend(nlm.iter().map(|one| Reclaimer {
            who: Who::Nlm(one.peer),
            holds: one.holds.filter(|_| scope.address().is_none()),
        }));
    }
    Ok(List {
        server_scope: tracking.server_scope,
        nlm_clients: (!others).then_some(nlm.len() as u64),
        held: Some(held(&nlm, &nfs4)),
        clients,
        ..List::new(*scope)
    })
}

fn is_of(scope: &Scope, fsid: Fsid, server: Option<IpAddr>) -> bool {
    match *scope {
        Scope::Export(export) => export == fsid,
        Scope::Address(address) => server == Some(address),
    }
}

/// Has a client something of a scope? Of an address: is it connected to it, or has it come to it?
fn is_client_of(scope: &Scope, one: &Nfs4Client) -> bool {
    let came_to = || one.client.split().map(|(_, address)| address);
    is_of(scope, one.fsid, one.address)
        || scope
            .address()
            .is_some_and(|address| came_to() == Some(address))
}

/// How much they hold, in all.
fn held(nlm: &[NlmClient], nfs4: &[Nfs4Client]) -> Held {
    let amounts = nlm
        .iter()
        .map(|one| one.holds)
        .chain(nfs4.iter().map(|one| one.holds));
    Held {
        locks: nlm.iter().map(|one| one.locks).sum(),
        shares: nlm.iter().map(|one| one.shares).sum(),
        nfs4_opens: nfs4.iter().map(|one| one.opens).sum(),
        nfs4_locks: nfs4.iter().map(|one| one.locks).sum(),
        amount: amounts
            .sum::<Option<crate::amount::Amount>>()
            .map(|amount| amount.checksum()),
    }
}

/// Clients of NFSv4, each once, with the hash of its principal and the amount that it held.
#[derive(Default)]
struct Clients(HashMap<Owner, (Option<String>, Option<crate::amount::Amount>)>);

impl Clients {
    /// One who holds something. A client of NFSv4.0 with a delegation may hold more than the server knows
    /// of; one of a later version says itself that it has finished. Of an address, a client may have
    /// something on several exports.
    fn add_holder(&mut self, one: &Nfs4Client, scope: &Scope) {
        let counted = one.minor == 0
            && one.delegations == Some(0)
            && one.layouts == Some(0)
            && scope.address().is_none();
        self.add(
            &one.client,
            one.principal.as_deref(),
            one.holds.filter(|_| counted),
        );
    }

    /// One who may still reclaim.
    fn add_listed(&mut self, one: Listed) {
        if let (Who::Nfs4 { client, principal }, true) =
            (one.reclaimer.who, one.state != Progress::Complete)
        {
            self.add(&client, principal.as_deref(), None);
        }
    }

    /// All who are on record.
    fn add_recorded(&mut self, database: &Database) -> Result<(), database::Error> {
        database.each(|client, principal| self.add(&client, principal.as_deref(), None))
    }

    /// Who may have more to reclaim than it holds is not counted.
    fn add(
        &mut self,
        client: &Owner,
        principal: Option<&str>,
        holds: Option<crate::amount::Amount>,
    ) {
        let principal = principal.map(str::to_ascii_lowercase);
        match self.0.get_mut(client) {
            None => {
                self.0.insert(client.clone(), (principal, holds));
            }
            Some(known) => {
                known.0 = principal.or(known.0.take());
                known.1 = known.1.filter(|_| known.1 == holds);
            }
        }
    }

    /// In the order of their lines.
    fn in_order(self) -> Vec<Reclaimer> {
        let reclaimer = |(client, (principal, holds))| Reclaimer {
            who: Who::Nfs4 { client, principal },
            holds,
        };
        let mut all: Vec<_> = self.0.into_iter().map(reclaimer).collect();
        all.sort_by_cached_key(ToString::to_string);
        all
    }
}
