// SPDX-License-Identifier: GPL-2.0
//! The server: its scope, its times, and the daemons that NFSv3 needs.

use super::{conf, processes, word, Finding, Node, Tree, Unreadable};
use crate::mounts::unescape;

/// How many threads nfsd has; none if it does not run.
pub(super) fn threads(tree: &Tree) -> Result<u32, Unreadable> {
    Ok(number(tree, "/proc/fs/nfsd/threads")?.unwrap_or(0))
}

/// A file that is a number, if it is there.
pub(super) fn number(tree: &Tree, path: &str) -> Result<Option<u32>, Unreadable> {
    Ok(tree.word(path)?.and_then(|word| word.parse().ok()))
}

/// Is the server scope one that another node can have, too (RFC 8881, 2.10.4)? By default it is the
/// host's name.
pub(super) fn scope(node: &Node) -> Result<Vec<Finding>, Unreadable> {
    let tree = &node.tree;
    let host = tree.word("/proc/sys/kernel/hostname")?.unwrap_or_default();
    let told = conf::value(tree, "nfsd", "scope")?;
    let plain = |scope: String| String::from_utf8_lossy(&unescape(scope.as_bytes())).into_owned();
    let scope = match node.tracking()?.and_then(|tracking| tracking.server_scope) {
        Some(scope) => plain(scope),
        // There is no server: this is what it will get.
        None => told.clone().unwrap_or_else(|| host.clone()),
    };
    let mut found = Vec::new();
    let why = "A client of NFSv4.1 or later that finds another server scope after a move does not reclaim, and loses all.";
    if let Some(theirs) = node
        .list
        .as_ref()
        .and_then(|list| list.server_scope.clone())
        .map(plain)
        .filter(|theirs| *theirs != scope)
    {
        let what = format!(
            "the server scope is {scope} here, and {theirs} on the node that wrote the list"
        );
        found.push(Finding::error("scope-differs", what, why).fix(set_scope(&theirs)));
    } else if scope == host && told.as_deref() != Some(host.as_str()) {
        let what = format!("the server scope is the host's name, {host}");
        found.push(
            Finding::error("scope-default", what, why)
                .fix(set_scope("nfs-ha") + "  # on both nodes"),
        );
    } else if let Some(told) = told.filter(|told| *told != scope) {
        let what = format!(
            "the server scope is {scope}, and will be {told} after a restart, as nfs.conf says"
        );
        found.push(
            Finding::warning("scope-changes", what, why)
                .fix("systemctl restart nfs-server  # while no client is there"),
        );
    }
    Ok(found)
}

fn set_scope(scope: &str) -> String {
    format!("printf '[nfsd]\\nscope=%s\\n' {} > /etc/nfs.conf.d/nfsd-ha.conf; systemctl restart nfs-server", word(scope))
}

/// Is a grace period as long as a lease? A client that is idle finds out that it must reclaim when
/// it renews its lease.
pub(super) fn grace(node: &Node) -> Result<Vec<Finding>, Unreadable> {
    let seconds = |name: &str| number(&node.tree, &format!("/proc/fs/nfsd/{name}"));
    let (Some(lease), Some(grace)) = (seconds("nfsv4leasetime")?, seconds("nfsv4gracetime")?)
    else {
        return Ok(Vec::new());
    };
    if grace >= lease {
        return Ok(Vec::new());
    }
    let why = "A client that is idle learns of a move when it renews its lease, and the grace period may be over by then.";
    let what = format!("the grace period of {grace} s is shorter than the lease of {lease} s");
    let fix = format!(
        "printf '[nfsd]\\ngrace-time={lease}\\nlease-time={lease}\\n' > /etc/nfs.conf.d/nfsd-ha-time.conf; \
         systemctl restart nfs-server"
    );
    Ok(vec![Finding::error("grace-short", what, why).fix(fix)])
}

/// Does the server run, with NFSv3?
pub(super) fn serves_nfs3(tree: &Tree) -> Result<bool, Unreadable> {
    let versions = tree.text("/proc/fs/nfsd/versions")?.unwrap_or_default();
    Ok(threads(tree)? > 0 && versions.split_whitespace().any(|version| version == "+3"))
}

/// Do the daemons run that NFSv3 needs, if it is served?
pub(super) fn nfs3(node: &Node) -> Result<Vec<Finding>, Unreadable> {
    let tree = &node.tree;
    if !serves_nfs3(tree)? {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for (daemon, unit, why) in [
        (
            "rpcbind",
            "rpcbind",
            "Clients of NFSv3 do not find lockd, and get no locks.",
        ),
        (
            "rpc.statd",
            "rpc-statd",
            "lockd cannot have a client of NFSv3 monitored, and refuses its locks.",
        ),
    ] {
        if processes::daemon(tree, daemon)?.is_none() {
            let what = format!("NFSv3 is served, and {daemon} does not run");
            found.push(Finding::error("nfs3-daemon", what, why).fix(format!(
                "systemctl start {unit}  # or vers3=n in the section [nfsd] of /etc/nfs.conf"
            )));
        }
    }
    Ok(found)
}
