// SPDX-License-Identifier: GPL-2.0
//! Who is to be on a list: who holds something, who may still reclaim, and who is on record.

use super::{Held, List};
use crate::control::{self, Control, Listed, Nfs4Client, NlmClient, Progress, Reclaimer, Who};
use crate::database::{self, Database, Taken, Wanted};
use crate::net::connections::Connection;
use crate::owner::Owner;
use crate::records::NlmRecord;
use crate::scope::{Fsid, Scope};
use std::collections::{BTreeSet, HashMap};
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

/// What is on record of a server that has crashed.
#[derive(Debug)]
pub struct OnRecord {
    /// Its clients of NFSv4 that may reclaim what is wanted.
    pub nfs4: List,
    /// Who these are.
    pub taken: Taken,
    /// Its clients of NLM, of all exports.
    pub nlm: Vec<NlmRecord>,
    /// Who was connected to its floating addresses.
    pub connections: Vec<Connection>,
}

/// Who was on record of a server that has crashed: `database` is that of its nfsdcld or nfsd-had, or its directory. nfsdcld
/// knows only clients of NFSv4.
///
/// Names those who may have held something on what is wanted, if their server has said for now, in seconds since 1970, that
/// it stores this; else all of them.
pub fn of_database(
    database: &Path,
    scope: &Scope,
    wanted: &Wanted,
    now: i64,
) -> Result<OnRecord, CollectError> {
    let mut clients = Clients::default();
    let database = Database::of_crashed(database)?;
    let taken = database.holders(wanted, now, |client, principal| {
        clients.add(&client, principal.as_deref(), None);
    })?;
    let nfs4 = List {
        clients: clients.in_order(),
        ..List::new(*scope)
    };
    Ok(OnRecord {
        nfs4,
        taken,
        nlm: database.nlm()?,
        connections: database.connections()?,
    })
}

impl OnRecord {
    /// The list of the scope that was asked for: clients of NLM are on it if they are on record for that scope. Nobody
    /// knows how much they held.
    pub fn list(self) -> List {
        let mut list = self.nfs4;
        let is_wanted = |one: &NlmRecord| {
            let scope = list.scope.as_ref();
            scope.is_some_and(|scope| is_of(scope, one.fsid, Some(one.peer.server)))
        };
        let peers: BTreeSet<_> = self
            .nlm
            .iter()
            .filter(|one| is_wanted(one))
            .map(|one| one.peer)
            .collect();
        list.clients.extend(peers.into_iter().map(|peer| Reclaimer {
            who: Who::Nlm(peer),
            holds: None,
        }));
        list
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::NlmClients;
    use crate::records::{Client, Store};

    #[test]
    fn a_list_after_a_crash_has_the_clients_of_nlm_of_its_scope() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("records.sqlite");
        let mut store = Store::open(&file).unwrap().0;
        let mut batch = store.begin().unwrap();
        batch.begin_epoch().unwrap();
        let owner = Owner::new("one").unwrap();
        batch.store(&Client::new(owner, None)).unwrap();
        let lines = "sequence 3\n1234 192.0.2.50 192.0.2.17 4 - - - a -\n5678 192.0.2.50 192.0.2.17 4 - - - a -\n\
            1234 192.0.2.51 192.0.2.18 1 - - - b -\ndev:8:1 fd00::50 fd00::17 4 - - - c -\n";
        for one in NlmClients::parse(lines).unwrap().clients {
            batch.store_nlm(&one).unwrap();
        }
        let connection = "192.0.2.50:2049 192.0.2.17:878".parse().unwrap();
        let address = "192.0.2.50".parse().unwrap();
        batch.store_connections(&[address], &[connection]).unwrap();
        batch.commit().unwrap();
        drop(store);
        for (scope, nlm) in [
            (
                "1234",
                &["192.0.2.50 192.0.2.17 4", "192.0.2.51 192.0.2.18 1"][..],
            ),
            ("5678", &["192.0.2.50 192.0.2.17 4"]),
            ("dev:8:1", &["fd00::50 fd00::17 4"]),
            ("ip:192.0.2.50", &["192.0.2.50 192.0.2.17 4"]),
            ("9", &[]),
        ] {
            let scope: Scope = scope.parse().unwrap();
            let found = of_database(directory.path(), &scope, &(&scope).into(), 0).unwrap();
            assert_eq!(
                (found.nlm.len(), &found.connections[..]),
                (4, &[connection][..])
            );
            let list = found.list();
            let listed: Vec<_> = list.clients.iter().map(Reclaimer::to_string).collect();
            let nlm = nlm.iter().map(|peer| format!("nlm {peer}"));
            let expected: Vec<_> = ["one".to_owned()].into_iter().chain(nlm).collect();
            assert_eq!(listed, expected, "{scope}");
            // Others may come, and nothing says what they held.
            assert_eq!((list.nlm_clients, list.released), (None, false));
            assert_eq!(List::parse(list.to_string().as_bytes()), Ok(list));
        }
    }
}
