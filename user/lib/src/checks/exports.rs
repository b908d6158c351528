// SPDX-License-Identifier: GPL-2.0
//! What is exported, and what would be after a restart or a boot.

use super::exports_file::{self, InFile};
use super::{pacemaker, shown, units, word, Finding, Moving, Node, Unreadable};
use crate::exports::{self, Export};
use crate::mounts::is_nfs;
use crate::scope::Fsid;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The unit of the NFS server.
const UNIT: &str = "nfs-server.service";
/// File systems that have a UUID, which rpc.mountd then puts into handles (`uuid_by_path()` of
/// nfs-utils).
const WITH_UUID: [&str; 9] = [
    "bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "gfs2", "ocfs2", "xfs",
];

/// Something that is exported now.
pub(super) struct Exported {
    pub(super) export: Export,
    /// The file system that it is on.
    pub(super) device: Option<(u32, u32)>,
    kind: String,
}

/// All that is exported now.
pub(super) fn exported(node: &Node) -> Result<Vec<Exported>, Unreadable> {
    let mounts = node.mounts()?;
    let all = exports::read(&node.tree.at(exports::ETAB))?;
    let on = |export: Export| {
        let mount = mounts.of(&export.path);
        let (device, kind) = (
            mount.map(|m| m.device),
            mount.map(|m| m.kind.clone()).unwrap_or_default(),
        );
        Exported {
            export,
            device,
            kind,
        }
    };
    Ok(all.into_iter().map(on).collect())
}

/// What moves between servers, as far as it is known: as the admin has said, a list says, or
/// Pacemaker's configuration.
pub(super) fn moving(node: &Node) -> Result<Vec<Moving>, Unreadable> {
    let mut all = node.moving.clone();
    for (fsid, path) in node.list.iter().flat_map(|list| &list.exports) {
        all.extend(fsid.map(Moving::Fsid));
        all.extend(path.clone().map(Moving::Path));
    }
    all.extend(pacemaker::moving(node)?);
    Ok(all)
}

/// Is an export one of those?
pub(super) fn is_one(all: &[Moving], export: &Export, device: Option<(u32, u32)>) -> bool {
    all.iter().any(|one| match one {
        Moving::Fsid(Fsid::Device { major, minor }) => device == Some((*major, *minor)),
        Moving::Fsid(fsid) => export.fsid() == Some(*fsid),
        Moving::Path(path) => export.path.starts_with(path),
    })
}

/// Is NFSv4's root on a file system that has another export?
pub(super) fn root(node: &Node) -> Result<Vec<Finding>, Unreadable> {
    let all = exported(node)?;
    let is_root = |one: &&Exported| one.export.fsid() == Some(Fsid::Number(0));
    let mut found = Vec::new();
    for root in all.iter().filter(is_root) {
        let beside = all.iter().find(|one| {
            one.device == root.device && one.device.is_some() && one.export.path != root.export.path
        });
        if let Some(other) = beside {
            let what = format!(
                "{} is exported with fsid=0, and {} is on the same file system",
                shown(&root.export.path),
                shown(&other.export.path)
            );
            let why = "Clients may hold locks there as a part of export 0, which a move of the other export leaves behind.";
            let fix = format!(
                "exportfs -u {}  # NFSv4 needs no fsid=0",
                word(&root.export.spec().to_string_lossy())
            );
            found.push(Finding::warning("root-shared", what, why).fix(fix));
        }
    }
    Ok(found)
}

/// Do two paths have one number?
pub(super) fn numbers(node: &Node) -> Result<Vec<Finding>, Unreadable> {
    let mut paths: BTreeMap<Fsid, BTreeSet<PathBuf>> = BTreeMap::new();
    let now = exported(node)?.into_iter().map(|one| one.export);
    let later = exports_file::read(&node.tree)?
        .into_iter()
        .map(|one| one.export);
    for export in now.chain(later) {
        if let Some(fsid) = export.fsid() {
            paths.entry(fsid).or_default().insert(export.path);
        }
    }
    let twice = paths.into_iter().filter(|(_, paths)| paths.len() > 1);
    let finding = |(fsid, paths): (Fsid, BTreeSet<PathBuf>)| {
        let paths = paths
            .iter()
            .map(|path| shown(path))
            .collect::<Vec<_>>()
            .join(" and ");
        let why = "A handle of the one may lead to the other, and a release of the one takes the other's locks.";
        Finding::error(
            "fsid-twice",
            format!("{paths} are exported with fsid={fsid}"),
            why,
        )
        .fix("exportfs -s; editor /etc/exports; exportfs -ra  # give one of them another fsid=")
    };
    Ok(twice.map(finding).collect())
}

/// Would handles of an export name another file system after a boot, or on the other node?
pub(super) fn unnamed(node: &Node) -> Result<Vec<Finding>, Unreadable> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for one in exported(node)? {
        let kind = one.kind.as_str();
        // What is on NFS is looked at in `reexport`.
        let named = one.export.fsid().is_some() || WITH_UUID.contains(&kind) || is_nfs(kind);
        if named || one.device.is_none() || !seen.insert(one.export.path.clone()) {
            continue;
        }
        let path = shown(&one.export.path);
        let what = format!(
            "{path} is exported without fsid=, and is on {}, which may have no UUID",
            one.kind
        );
        let why = "Its handles have the device's number, which may be another one after a boot or on the other node.";
        let fix = format!("editor /etc/exports; exportfs -ra  # add fsid=NUMBER to the options of {path}, on both nodes");
        found.push(Finding::warning("no-fsid", what, why).fix(fix));
    }
    Ok(found)
}

/// Has the node that wrote the list the same number and path?
pub(super) fn as_listed(node: &Node) -> Result<Vec<Finding>, Unreadable> {
    let Some(list) = &node.list else {
        return Ok(Vec::new());
    };
    let now = exported(node)?.into_iter().map(|one| one.export);
    let later = exports_file::read(&node.tree)?
        .into_iter()
        .map(|one| one.export);
    let ours: BTreeSet<_> = now
        .chain(later)
        .filter_map(|export| Some((export.fsid()?, export.path)))
        .collect();
    let why = "Clients find other handles, or another path, and get errors instead of their locks.";
    let mut found = Vec::new();
    for (fsid, path) in &list.exports {
        let (Some(fsid), Some(path)) = (fsid, path) else {
            continue;
        };
        for (here, at) in &ours {
            let what = match (here == fsid, at == path) {
                (true, false) => format!(
                    "export {fsid} is {} here, and {} on the list",
                    shown(at),
                    shown(path)
                ),
                (false, true) => format!(
                    "{} has fsid={here} here, and fsid={fsid} on the list",
                    shown(at)
                ),
                _ => continue,
            };
            let fix = format!(
                "exportfs -s  # export {} with fsid={fsid} on both nodes",
                shown(path)
            );
            found.push(Finding::error("list-differs", what, why).fix(fix));
        }
    }
    Ok(found)
}

/// Would the server's unit export what the cluster gives to one node?
pub(super) fn at_boot(node: &Node) -> Result<Vec<Finding>, Unreadable> {
    let (moving, mounts) = (moving(node)?, node.mounts()?);
    let would = |one: &InFile| {
        let device = mounts.of(&one.export.path).map(|mount| mount.device);
        !one.waits_for_mount() && is_one(&moving, &one.export, device)
    };
    let finding = |one: InFile| {
        let path = shown(&one.export.path);
        let what = format!(
            "{}, line {}, exports {path} at boot, also on a node that does not have it",
            one.file, one.line
        );
        let why = "Clients that come to such a node see the directory below the mount point, and get ESTALE for their files.";
        Finding::error("export-at-boot", what, why).fix(format!(
            "editor {}; exportfs -ra  # take the line out, or add the option mp to it",
            one.file
        ))
    };
    Ok(exports_file::read(&node.tree)?
        .into_iter()
        .filter(would)
        .map(finding)
        .collect())
}

/// Would a restart or reload of the server's unit end exports that are in no file?
pub(super) fn flushed(node: &Node) -> Result<Vec<Finding>, Unreadable> {
    let in_files: BTreeSet<_> = exports_file::read(&node.tree)?
        .into_iter()
        .map(|one| one.export.path)
        .collect();
    let lost: BTreeSet<_> = exported(node)?
        .into_iter()
        .map(|one| one.export.path)
        .filter(|path| !in_files.contains(path))
        .collect();
    let names = ["ExecStartPre", "ExecStop", "ExecStopPost", "ExecReload"];
    let flushes = units::commands(&node.tree, UNIT, &names)?
        .into_iter()
        .any(|command| is_flush(&command));
    if lost.is_empty() || !flushes {
        return Ok(Vec::new());
    }
    let lost = lost
        .iter()
        .map(|path| shown(path))
        .collect::<Vec<_>>()
        .join(", ");
    let what = format!("a restart or reload of {UNIT} ends exports that are in no file: {lost}");
    let why = "Clients wait, and after the server's grace period they get ESTALE, until somebody exports them again.";
    let fix = "mkdir -p /etc/systemd/system/nfs-server.service.d; \
               printf '[Service]\\nExecStartPre=\\nExecStartPre=-/usr/sbin/exportfs -a\\nExecReload=\\n\
               ExecReload=-/usr/sbin/exportfs -a\\nExecStopPost=\\n' \
               > /etc/systemd/system/nfs-server.service.d/nfsd-ha.conf; systemctl daemon-reload";
    Ok(vec![Finding::note("exports-flushed", what, why).fix(fix)])
}

/// Does a command end exports: `exportfs -r`, `exportfs -au`?
fn is_flush(command: &str) -> bool {
    let mut words = command
        .split_whitespace()
        .map(|word| word.trim_start_matches(['-', '@', '+', '!', ':']));
    let is_exportfs = words.next().is_some_and(|word| {
        Path::new(word)
            .file_name()
            .is_some_and(|name| name == "exportfs")
    });
    let flags: String = words.collect();
    is_exportfs && (flags.contains('r') || flags.contains('a') && flags.contains('u'))
}
