// SPDX-License-Identifier: GPL-2.0
//! Addresses that move, and who comes to them.

use super::{exports, shown, word, Finding, Node, Unreadable};
use crate::control::{Control, Drain};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

/// Does the module know which addresses move?
pub(super) fn floating(node: &Node) -> Result<Vec<Finding>, Unreadable> {
    let Some(known) = node.floating_addresses()? else {
        return Ok(Vec::new());
    };
    let file = "/proc/fs/nfsd/floating_addresses";
    let why = "A client that uses both servers is one client to the one that takes over, and loses what moves.";
    let mut found = Vec::new();
    for address in node
        .floating
        .iter()
        .filter(|address| !known.contains(address))
    {
        let what = format!("{address} moves, and the module does not know that");
        found.push(
            Finding::warning("not-floating", what, why)
                .fix(format!("echo {address} > {file}  # before clients come")),
        );
    }
    for address in known
        .iter()
        .filter(|address| !node.floating.is_empty() && !node.floating.contains(address))
    {
        let what = format!("{address} is a floating address, and none of those that you gave");
        let why = "Clients that come to it are clients of their own.";
        found.push(Finding::note("floating-besides", what, why).fix(format!(
            "echo -{address} > {file}  # unless it moves with another export"
        )));
    }
    if known.is_empty() && node.floating.is_empty() {
        found.push(
            Finding::note(
                "no-floating",
                "the module knows of no address that moves",
                why,
            )
            .fix(format!(
                "echo ADDRESS > {file}  # for each address that moves, before clients come"
            )),
        );
    }
    Ok(found)
}

/// Is an export here whose address is not? Then a load balancer may have it, or a router that
/// translates addresses.
pub(super) fn elsewhere(node: &Node) -> Result<Vec<Finding>, Unreadable> {
    if node.floating.is_empty()
        || node
            .floating
            .iter()
            .any(|address| node.local.contains(address))
    {
        return Ok(Vec::new());
    }
    let moving = exports::moving(node)?;
    let is_ours = |one: &exports::Exported| {
        moving.is_empty() || exports::is_one(&moving, &one.export, one.device)
    };
    let Some(there) = exports::exported(node)?.into_iter().find(is_ours) else {
        return Ok(Vec::new());
    };
    let addresses = node
        .floating
        .iter()
        .map(IpAddr::to_string)
        .collect::<Vec<_>>()
        .join(", ");
    let what = format!(
        "{} is exported here, and {addresses} is not an address of this node",
        shown(&there.export.path)
    );
    let why = "If a load balancer or DNAT leads its clients here, taking the address away does not disconnect them.";
    let finding = Finding::warning("address-elsewhere", what, why);
    Ok(vec![finding.fix("nfsd-ha status  # to which address do clients come? See \"Behind a load balancer\" in docs/moving.md")])
}

/// Are clients refused at an address of this node, as somebody has drained it, and not ended that?
pub(super) fn drained(node: &Node) -> Result<Vec<Finding>, Unreadable> {
    let drains = node.ask(Control::drains)?.flatten().unwrap_or_default();
    let is_here = |drain: &Drain| drain.is_over() && node.local.contains(&drain.address);
    let finding = |Drain { address, .. }| {
        Finding::warning(
            "address-drained",
            format!("clients are refused at {address}, which is an address of this node"),
            "It was drained before a move, and refuses clients until somebody ends that, also when it has come back.",
        )
        .fix(format!("nfsd-ha drain --end {address}"))
    };
    Ok(drains.into_iter().filter(is_here).map(finding).collect())
}

/// Does this node mount its own exports by an address of its own?
pub(super) fn own_mounts(node: &Node) -> Result<Vec<Finding>, Unreadable> {
    let mut ours: BTreeSet<IpAddr> = node.local.iter().copied().collect();
    ours.extend(&node.floating);
    ours.extend(node.floating_addresses()?.unwrap_or_default());
    let is_ours = |address: &IpAddr| address.is_loopback() || ours.contains(address);
    let why = "It is in the way of a move, and when memory is short the node may wait for itself.";
    let mut found = Vec::new();
    for mount in node.mounts()?.iter().filter(|mount| mount.is_nfs()) {
        let server = mount
            .super_option("addr")
            .and_then(|address| address.parse().ok());
        if let Some(server) = server.filter(is_ours) {
            let what = format!(
                "{} is mounted from {server}, which is this node or may become it",
                shown(&mount.point)
            );
            found.push(
                Finding::warning("own-mount", what, why)
                    .fix(format!("umount {}", word(&mount.point.to_string_lossy()))),
            );
        }
    }
    if !found.is_empty() {
        return Ok(found);
    }
    // In another mount namespace, or by a program.
    let nlm = node
        .nlm_clients()?
        .unwrap_or_default()
        .clients
        .into_iter()
        .map(|client| client.peer.client);
    let clients: BTreeSet<_> = nlm.chain(nfs4_addresses(node)?).filter(is_ours).collect();
    let finding = |client| {
        let what = format!("a client comes from {client}, an address of this node");
        Finding::warning("own-mount", what, why)
            .fix("grep -E ' nfs4? ' /proc/[0-9]*/mounts  # and umount that")
    };
    Ok(clients.into_iter().map(finding).collect())
}

/// Where the clients of NFSv4 come from (`client_info_show()` of `fs/nfsd/nfs4state.c`: `address:
/// "ADDRESS:PORT"`).
fn nfs4_addresses(node: &Node) -> Result<Vec<IpAddr>, Unreadable> {
    let mut found = Vec::new();
    for client in node.tree.names("/proc/fs/nfsd/clients")? {
        let info = node
            .tree
            .text(format!("/proc/fs/nfsd/clients/{client}/info"))?
            .unwrap_or_default();
        let address = info
            .lines()
            .find_map(|line| line.strip_prefix("address: \"")?.strip_suffix('"'));
        found.extend(
            address
                .and_then(|text| text.parse::<SocketAddr>().ok())
                .map(|socket| socket.ip().to_canonical()),
        );
    }
    Ok(found)
}
