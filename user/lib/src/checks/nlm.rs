// SPDX-License-Identifier: GPL-2.0
//! Clients of NLM, and the records of them.

use super::{conf, exports, processes, server, shown, word, Finding, Node, Unreadable};
use crate::statd;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What a recorder keeps open.
const CLIENTS: &str = "/proc/fs/nfsd/nlm_clients";
/// Where the records were before: a directory or a link for each fsid, as in [`statd::directory`].
const FORMER: &str = "/var/lib/nfs/nfsd-ha";

/// Is there a recorder, if there are clients?
pub(super) fn recorded(node: &Node) -> Result<Vec<Finding>, Unreadable> {
    let Some(clients) = node
        .nlm_clients()?
        .map(|nlm| nlm.clients.len())
        .filter(|clients| *clients > 0)
    else {
        return Ok(Vec::new());
    };
    if processes::writes(&node.tree, Path::new(CLIENTS))? {
        return Ok(Vec::new());
    }
    let what = format!("nobody records the clients of NLM, and there are {clients}");
    let why =
        "After a crash of this node, nobody can tell them to reclaim, and they lose their locks.";
    Ok(vec![Finding::error("recorder", what, why).fix(
        "systemd-run --unit=nfsd-ha-record --property=Restart=always nfsd-ha record",
    )])
}

/// Has lockd a TCP port of its own, the same on all nodes? A client that was connected goes to the same port of the next
/// node, as `nlm_rebind_host()` in fs/lockd/host.c asks for the port again for UDP only, and otherwise when nobody listens
/// there.
pub(super) fn port(node: &Node) -> Result<Vec<Finding>, Unreadable> {
    let tree = &node.tree;
    let is_any = |port: Option<String>| port.is_none_or(|port| port == "0");
    // There is no such file before lockd is loaded.
    let is_told = !is_any(conf::value(tree, "lockd", "port")?);
    if is_told || !server::serves_nfs3(tree)? || !is_any(tree.word("/proc/sys/fs/nfs/nlm_tcpport")?)
    {
        return Ok(Vec::new());
    }
    let what = "lockd's TCP port is another one after each start";
    let why = "A client of NFSv3 connects to the same port of the next node, and loses its locks if something else listens there.";
    Ok(vec![Finding::warning("lockd-port", what, why).fix(
        "echo options lockd nlm_tcpport=4045 nlm_udpport=4045 > /etc/modprobe.d/nfsd-ha-lockd.conf; \
         sysctl -q fs.nfs.nlm_tcpport=4045 fs.nfs.nlm_udpport=4045; systemctl restart nfs-server  # on all nodes",
    )])
}

/// Are there clients that the recorder could not store?
pub(super) fn unstored(node: &Node) -> Result<Vec<Finding>, Unreadable> {
    let text = node
        .tree
        .text("/run/nfsd-ha/record.json")?
        .unwrap_or_default();
    let unstored = serde_json::from_str::<statd::Report>(&text)
        .map(|said| said.unstored)
        .unwrap_or_default();
    let Some(first) = unstored.first() else {
        return Ok(Vec::new());
    };
    // One that was killed leaves its file behind.
    if !processes::writes(&node.tree, Path::new(CLIENTS))? {
        return Ok(Vec::new());
    }
    let what = format!(
        "{} clients of NLM are not recorded: {}",
        unstored.len(),
        shown(Path::new(&first.error))
    );
    let why = "They get no locks, and after a crash of this node nobody can tell them to reclaim.";
    Ok(vec![Finding::error("nlm-unstored", what, why).fix(
        "nfsd-ha status; df /var/lib/nfsd-ha  # the recorder goes on trying",
    )])
}

/// Are the records out of reach of the clients?
pub(super) fn records(node: &Node) -> Result<Vec<Finding>, Unreadable> {
    let (mut found, mut devices) = (Vec::new(), BTreeSet::new());
    let exported = exports::exported(node)?;
    let mounts = node.mounts()?;
    let mut places: Vec<PathBuf> = vec![statd::directory(), FORMER.into()];
    for directory in places.clone() {
        places.extend(
            node.tree
                .names(&directory)?
                .into_iter()
                .map(|name| directory.join(name)),
        );
    }
    for place in places {
        let Some(real) = node.tree.real(&place) else {
            continue;
        };
        let device = mounts.of(&real).map(|mount| mount.device);
        let there = exported
            .iter()
            .find(|one| one.device.is_some() && one.device == device);
        if let Some(there) = there.filter(|one| devices.insert(one.device)) {
            let why = "A client that guesses a handle, or mounts what is above, can remove and forge records, so that others \
                       lose their locks.";
            let what = format!(
                "the records of clients of NLM in {} are on the file system that is exported as {}",
                shown(&real),
                shown(&there.export.path)
            );
            let fix = format!(
                "mv {} /srv/meta/  # a file system that is not exported",
                word(&real.to_string_lossy())
            );
            found.push(Finding::warning("records-exported", what, why).fix(fix));
        }
    }
    Ok(found)
}

/// Does the kernel still let everybody bind to addresses that are not here? sm-notify needed that.
pub(super) fn nonlocal_bind(node: &Node) -> Result<Vec<Finding>, Unreadable> {
    let mut found = Vec::new();
    for version in ["ipv4", "ipv6"] {
        if node
            .tree
            .word(format!("/proc/sys/net/{version}/ip_nonlocal_bind"))?
            .as_deref()
            == Some("1")
        {
            let what = format!("net.{version}.ip_nonlocal_bind is on");
            let why = "Daemons bind to addresses that are not here without an error; sm-notify needed that, nfsd-ha notify does not.";
            let fix = format!("sysctl net.{version}.ip_nonlocal_bind=0; grep -r ip_nonlocal_bind /etc/sysctl.conf /etc/sysctl.d");
            found.push(Finding::note("nonlocal-bind", what, why).fix(fix));
        }
    }
    Ok(found)
}
