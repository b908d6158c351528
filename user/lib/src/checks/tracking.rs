// SPDX-License-Identifier: GPL-2.0
//! Client tracking and its daemon, nfsdcld or nfsd-had.

use super::{conf, processes, Finding, Node, Tree, Unreadable};
use std::path::{Path, PathBuf};

/// nfs-server.service wants it, so it is masked where nfsd-had takes its place.
const UNIT: &str = "/etc/systemd/system/nfsdcld.service";

/// Does the server use the module's tracking, and has it a daemon?
pub(super) fn state(node: &Node) -> Result<Vec<Finding>, Unreadable> {
    let Some(tracking) = node.tracking()? else {
        return Ok(Vec::new());
    };
    let restart = "systemctl restart nfs-server  # all its exports will be in grace";
    let found = match tracking.state.as_str() {
        "stock" => {
            let why = "After a restart of the daemon or of the server, clients may be missing on its record.";
            let what = "the server was started before the module was loaded, and keeps the kernel's own client tracking";
            Finding::warning("tracking-stock", what, why).fix(restart)
        }
        "failed" => {
            let why = "No client gets its opens and locks back after a restart.";
            Finding::error(
                "tracking-failed",
                "the server runs without client tracking",
                why,
            )
            .fix(restart)
        }
        "off" => {
            let why = "Its server scope is not known, and an export that comes here is not served.";
            Finding::error("server-off", "the NFS server does not run", why)
                .fix("systemctl start nfs-server")
        }
        _ if tracking.daemon == Some(false) => {
            let why = "Clients are not recorded, so that they cannot reclaim after a restart.";
            let name = recorder(&node.tree)?;
            Finding::error("daemon-absent", format!("{name} does not run"), why)
                .fix(format!("systemctl start {name}"))
        }
        _ => return Ok(Vec::new()),
    };
    Ok(vec![found])
}

/// Which daemon is to have this machine's records?
fn recorder(tree: &Tree) -> Result<&'static str, Unreadable> {
    let masked = tree.link(UNIT).as_deref() == Some(Path::new("/dev/null"));
    let had = masked || processes::daemon(tree, "nfsd-had")?.is_some();
    Ok(if had { "nfsd-had" } else { "nfsdcld" })
}

/// Are there two daemons, of which each records some clients?
pub(super) fn daemons(node: &Node) -> Result<Vec<Finding>, Unreadable> {
    for name in ["nfsdcld", "nfsd-had"] {
        if processes::daemon(&node.tree, name)?.is_none() {
            return Ok(Vec::new());
        }
    }
    let why =
        "Each records some of the clients, so that the others cannot reclaim after a restart.";
    let what = "nfsdcld runs beside nfsd-had";
    let fix = "systemctl mask --now nfsdcld; systemctl restart nfs-server  # all its exports will be in grace";
    Ok(vec![Finding::error("daemons-two", what, why).fix(fix)])
}

/// Are there changes of a client's record that the daemon has not stored?
pub(super) fn unstored(node: &Node) -> Result<Vec<Finding>, Unreadable> {
    let numbers = node
        .tracking()?
        .map(|tracking| tracking.numbers)
        .unwrap_or_default();
    let count = |name| numbers.get(name).copied().unwrap_or(0);
    let (due, lost) = (count("to_store"), count("lost"));
    let mut found = Vec::new();
    if due > 0 {
        let why = "If the server restarts now, they lose their opens and locks.";
        let (name, place) = match recorder(&node.tree)? {
            had @ "nfsd-had" => (had, "/var/lib/nfsd-ha"),
            other => (other, "/var/lib/nfs/nfsdcld"),
        };
        let what =
            format!("{due} NFSv4 clients are not on record yet, as {name} could not store them");
        found.push(
            Finding::error("unstored", what, why).fix(format!("journalctl -u {name}; df {place}")),
        );
    }
    if lost > 0 {
        let why =
            "After a restart, some clients may not reclaim, or may though they have finished.";
        let what = format!("{lost} changes of clients' records are lost, as there was no memory");
        let fix = format!("systemctl restart {}", recorder(&node.tree)?);
        found.push(Finding::error("records-lost", what, why).fix(fix));
    }
    Ok(found)
}

/// Does nfsdcld's database keep its last record through a power cut? (docs/nfsdcld.md)
pub(super) fn journal(node: &Node) -> Result<Vec<Finding>, Unreadable> {
    if recorder(&node.tree)? != "nfsdcld" {
        return Ok(Vec::new());
    }
    let file = directory(&node.tree)?.join("main.sqlite");
    // <https://www.sqlite.org/fileformat.html>, 1.3: the versions for writing and for reading are 2
    // with WAL.
    let is_other = match node.tree.head(&file, 20)?.as_deref() {
        Some([start @ .., write, read])
            if start.len() == 18 && start.starts_with(b"SQLite format 3\0") =>
        {
            (*write, *read) != (2, 2)
        }
        _ => false,
    };
    if !is_other {
        return Ok(Vec::new());
    }
    let file = file.display();
    let why = "After a power cut, the client that was recorded last may be on record no more, and loses its locks.";
    let what = format!("{file} is not in the journal mode WAL");
    let fix = format!("systemctl stop nfs-server nfsdcld; sqlite3 {file} 'PRAGMA journal_mode=WAL'; systemctl start nfs-server");
    Ok(vec![Finding::warning("journal-mode", what, why).fix(fix)])
}

/// Where nfsdcld keeps its database (nfsdcld(8)): as it was told when it was started, else as
/// nfs.conf says.
fn directory(tree: &Tree) -> Result<PathBuf, Unreadable> {
    let args = processes::daemon(tree, "nfsdcld")?.unwrap_or_default();
    let mut told = None;
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        told = match arg.as_str() {
            "-s" | "--storagedir" => rest.next().cloned(),
            _ => arg
                .strip_prefix("--storagedir=")
                .or_else(|| arg.strip_prefix("-s"))
                .map(str::to_owned)
                .or(told),
        };
    }
    let told = match told {
        None => conf::value(tree, "nfsdcld", "storagedir")?,
        told => told,
    };
    Ok(told
        .unwrap_or_else(|| "/var/lib/nfs/nfsdcld".to_owned())
        .into())
}
