// SPDX-License-Identifier: GPL-2.0
//! Letting the clients on a list reclaim here, before they come (docs/moving.md, B-2).

use crate::control::{self, Control, Reclaimer, Who};
use crate::list::List;
use crate::owner::Owner;
use crate::scope::Scope;
use std::collections::HashSet;
use std::net::IpAddr;

/// The longest grace period, in seconds (`rust/scopes/wish.rs`).
pub const SECONDS_MAX: u32 = 3600;

/// Why it was not done, or not all of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// NFSv4.1 clients would not reclaim (RFC 8881, 2.10.4). Nothing is changed.
    #[error(
        "the server scope is {ours} here and was {theirs} there: NFSv4.1 clients will not reclaim. Start \
         both servers with the same rpc.nfsd -S NAME, or use --force"
    )]
    OtherScope {
        /// This server's.
        ours: String,
        /// That of the server that wrote the list.
        theirs: String,
    },
    /// There is no server here yet, so that nobody knows its scope. Nothing is changed.
    #[error(
        "nfsd does not run here, so its server scope is not known: start it (rpc.nfsd -S {theirs}, as on \
         the other server), then try again. Or use --force: then it must get that scope"
    )]
    NoServer {
        /// That of the server that wrote the list.
        theirs: String,
    },
    /// The module does not take the scope or the time. Nothing is changed.
    #[error("the grace period of {scope} has not begun: {source}")]
    NotBegun {
        /// The scope.
        scope: Scope,
        /// Why.
        source: control::Error,
    },
    /// Some are not listed.
    #[error("the module did not take all clients: {0}; their grace period goes on: try again")]
    NotAll(#[source] control::Error),
    /// It has ended meanwhile.
    #[error("the grace period has ended already: {0}; try again")]
    Ended(#[source] control::Error),
    /// A control file.
    #[error(transparent)]
    Control(#[from] control::Error),
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct TakenOver {
    /// What is in grace now.
    pub scope: Scope,
    /// For how long, in seconds, unless clients reclaim.
    pub seconds: u64,
    /// Clients of NFSv4 that may reclaim.
    pub nfs4_clients: usize,
    /// Clients of NLM that are waited for.
    pub nlm_clients: usize,
    /// Nobody else is expected: it ends when all of them have finished.
    pub nobody_else: bool,
    /// How many of them are clients of this server, too, and would lose what they hold there.
    pub also_clients_here: usize,
    /// The servers' scopes, if they differ, or if this server has none yet.
    #[serde(skip)]
    pub other_scope: Option<(String, String)>,
}

/// Begins or extends the grace period of a scope, of 1 to 3600 s or as long as the server's own, and lets
/// the clients on a list reclaim. The list may have been written for another scope.
///
/// `force`: also if the servers' scopes differ, which is right if all clients are of NFSv4.0 or NLM.
pub fn take_over(
    control: &Control,
    list: &List,
    scope: &Scope,
    seconds: Option<u32>,
    force: bool,
) -> Result<TakenOver, Error> {
    let nfs4_clients = list.nfs4().count();
    let other_scope = other_scope(list, control.tracking()?.server_scope, nfs4_clients > 0);
    if let (Some((ours, theirs)), false) = (&other_scope, force) {
        let (ours, theirs) = (ours.clone(), theirs.clone());
        return Err(match ours.is_empty() {
            true => Error::NoServer { theirs },
            false => Error::OtherScope { ours, theirs },
        });
    }
    let both = also_here(list, &control.own_names()?, &control.floating_addresses()?);
    let begun = control.begin_grace(scope, seconds);
    let begun = begun.map_err(|source| Error::NotBegun {
        scope: *scope,
        source,
    })?;
    let clients = expected(list);
    control.list(scope, &clients).map_err(Error::NotAll)?;
    let nlm = |one: &&Reclaimer| matches!(one.who, Who::Nlm(_));
    let nlm_counted = clients
        .iter()
        .filter(nlm)
        .filter(|one| one.holds.is_some())
        .count();
    let nobody_else = list.nlm_clients == Some(nlm_counted as u64);
    if nobody_else {
        control.expect_nobody_else(scope).map_err(Error::Ended)?;
    }
    Ok(TakenOver {
        scope: *scope,
        seconds: begun.map_or(0, |grace| grace.left),
        nfs4_clients,
        nlm_clients: clients.iter().filter(nlm).count(),
        nobody_else,
        also_clients_here: both,
        other_scope,
    })
}

/// This server's scope and that of the list, if NFSv4 clients are listed and will find another one.
fn other_scope(list: &List, ours: Option<String>, nfs4: bool) -> Option<(String, String)> {
    let theirs = list.server_scope.clone()?;
    let ours = ours.unwrap_or_default();
    (nfs4 && ours != theirs).then_some((ours, theirs))
}

/// Who is to be listed. How much they held is good only if it was all that was released; else those of
/// NLM, who may reclaim without being listed, would be waited for in vain.
fn expected(list: &List) -> Vec<Reclaimer> {
    if list.released {
        return list.clients.clone();
    }
    list.nfs4()
        .map(|one| Reclaimer {
            holds: None,
            ..one.clone()
        })
        .collect()
}

/// How many of the listed clients are clients of this server, too, and would be taken for these when they
/// come. At a floating address, one is a client of its own.
fn also_here(list: &List, own: &[Owner], floating: &[IpAddr]) -> usize {
    let own: HashSet<&[u8]> = own.iter().map(Owner::bytes).collect();
    let is_here = |client: &Owner| match client.split() {
        Some((_, address)) if floating.contains(&address) => false,
        Some((name, _)) => own.contains(client.bytes()) || own.contains(name),
        None => floating.is_empty() && own.contains(client.bytes()),
    };
    let clients = list.nfs4().filter_map(|one| match &one.who {
        Who::Nfs4 { client, .. } => Some(client),
        Who::Nlm(_) => None,
    });
    clients.filter(|client| is_here(client)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> List {
        List::parse(text.as_bytes()).unwrap()
    }

    const LIST: &str = "# nfsd-ha clients 2\n# released\n# server-scope a\n# nlm-clients 1\n\
                        # held 1 0 1 1 9\n1 one holds=8\n1 two@192.0.2.50\n\
                        1 nlm 192.0.2.50 192.0.2.17 4 holds=1\n# end 3\n";

    #[test]
    fn amounts_and_clients_of_nlm_count_if_that_was_released() {
        assert_eq!(expected(&list(LIST)).len(), 3);
        let unconfirmed = expected(&list(&LIST.replace("# released\n", "")));
        assert_eq!(unconfirmed.len(), 2);
        assert!(unconfirmed.iter().all(|one| one.holds.is_none()));
    }

    #[test]
    fn a_client_of_both_servers_is_found_unless_its_address_is_floating() {
        let own: Vec<Owner> = ["one", "two", "three"]
            .map(|name| name.parse().unwrap())
            .into();
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(also_here(&list(LIST), &own, &[]), 2);
        assert_eq!(also_here(&list(LIST), &own, &[address("192.0.2.50")]), 0);
        // `one` would come to the floating address, and `two` to one that is none here.
        assert_eq!(also_here(&list(LIST), &own, &[address("192.0.2.51")]), 1);
        assert_eq!(also_here(&list(LIST), &own[2..], &[]), 0);
    }

    #[test]
    fn scopes_are_compared_where_it_matters() {
        let differ = |ours: Option<&str>, list: &List, nfs4| {
            other_scope(list, ours.map(str::to_owned), nfs4)
        };
        let known = list(LIST);
        assert_eq!(differ(Some("a"), &known, true), None);
        assert_eq!(
            differ(Some("b"), &known, true),
            Some(("b".into(), "a".into()))
        );
        assert_eq!(
            differ(None, &known, true),
            Some((String::new(), "a".into()))
        );
        assert_eq!(differ(Some("b"), &known, false), None);
        assert_eq!(
            differ(None, &list(&LIST.replace("scope a", "scope -")), true),
            None
        );
    }
}
