// SPDX-License-Identifier: GPL-2.0
//! What this node has mounted from another server by NFS, and exports again.
//!
//! The other one is the original server. The clients of this node lock there by NFSv4.1 and later,
//! if the module was loaded with `reexport=1`, and reclaim through this node after its reboot.

use super::exports;
use super::mountstats::{MountStats, Stats};
use super::{handles, processes, server, shown, word, Finding, Node, Unreadable};
use crate::exports::Export;
use crate::mounts::Mount;
use crate::scope::Fsid;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The module's parameter, which can only be set when it is loaded.
const PARAMETER: &str = "/sys/module/nfsd_ha/parameters/reexport";
/// The words that the module of an original server adds to the name of its implementation, if a
/// client of it keeps its locks when it reboots.
const KEEPS_LOCKS: &str = " nfsd_ha former_selves";
/// What the original servers have answered.
const ORIGINALS: &str = "/proc/fs/nfsd/originals";
/// The seconds that may pass from the mount to the server's start.
const START: u32 = 10;
/// The shortest lease and grace period that nfsd takes, in seconds (`__nfsd4_write_time()` of
/// `fs/nfsd/nfsctl.c`).
const SHORTEST: u32 = 10;
/// The longest handle of NFSv3, in bytes.
const NFS3_HANDLE: usize = 64;
/// What comes before the fsid in a handle, in bytes (`struct knfsd_fh` of `fs/nfsd/nfsfh.h`).
const HEAD: usize = 4;
/// What the export option `sign_fh` adds to it.
const SIGNATURE: usize = 8;

/// A path of a mount of NFS, which is exported to somebody.
struct Reexported {
    export: Export,
    mount: Mount,
    /// It is the root of the file system, as nfsd has it (`is_root_export()` of `fs/nfsd/nfsfh.c`):
    /// what was mounted first.
    is_root: bool,
}

impl Reexported {
    fn path(&self) -> String {
        shown(&self.export.path)
    }

    /// The version of NFS that it is mounted by (`nfs_show_nfs_version()` of `fs/nfs/super.c`).
    fn version(&self) -> Option<(u32, u32)> {
        let version = self.mount.super_option("vers")?;
        let (major, minor) = version.split_once('.').unwrap_or((version, "0"));
        Some((major.parse().ok()?, minor.parse().ok()?))
    }

    /// Can the module take its clients' locks to the original server?
    fn has_locks(&self) -> bool {
        self.version().is_some_and(|version| version >= (4, 1))
    }

    /// The original server, as it was given to mount(8).
    fn original(&self) -> String {
        let source = self.mount.source.to_string_lossy();
        let (server, _) = source.split_once(":/").unwrap_or((&source, ""));
        shown(Path::new(server))
    }

    /// Does a handle name the export: has it a number, or does rpc.mountd choose one (`reexport=`)?
    fn is_named(&self) -> bool {
        let chosen = self.export.option("reexport");
        self.export.fsid().is_some() || chosen.is_some_and(|how| how != "none")
    }

    /// The length of its handles but for what the NFS client has in them, in bytes (`key_len()` of
    /// `fs/nfsd/nfsfh.h`).
    fn head(&self) -> usize {
        let fsid = match (self.export.fsid(), self.is_root) {
            (Some(Fsid::Uuid(_)), true) => 16,
            (Some(Fsid::Uuid(_)), false) => 24,
            _ => 4,
        };
        let mut options = self.export.options.split(',');
        let signature = options.find(|option| *option == "sign_fh");
        HEAD + fsid + signature.map_or(0, |_| SIGNATURE)
    }
}

/// All that is exported again, by path, a few times if it is so to a few clients.
fn all(node: &Node) -> Result<Vec<Reexported>, Unreadable> {
    let mounts = node.mounts()?;
    let again = |export: Export| {
        let mount = mounts
            .of(&export.path)
            .filter(|mount| mount.is_nfs())?
            .clone();
        let first = mounts.iter().find(|other| other.device == mount.device);
        // A bind mount of a directory has another source.
        let is_root = export.path == mount.point && first.is_some_and(|f| f.source == mount.source);
        Some(Reexported {
            export,
            mount,
            is_root,
        })
    };
    let exported = exports::exported(node)?.into_iter().map(|one| one.export);
    let mut all: Vec<_> = exported.filter_map(again).collect();
    all.sort_by(|a, b| a.export.path.cmp(&b.export.path));
    Ok(all)
}

/// The first one at each mount point.
fn by_mount(all: Vec<Reexported>) -> BTreeMap<PathBuf, Reexported> {
    let mut mounts = BTreeMap::new();
    for one in all {
        mounts.entry(one.mount.point.clone()).or_insert(one);
    }
    mounts
}

/// What is wrong with each original server, by what the NFS client says of a mount of it, and that mount.
fn originals<T>(
    node: &Node,
    wrong: impl Fn(&[&Stats]) -> Option<T>,
) -> Result<BTreeMap<String, (Reexported, T)>, Unreadable> {
    let mounts = by_mount(all(node)?);
    if mounts.is_empty() {
        return Ok(BTreeMap::new());
    }
    let known = MountStats::read(&node.tree)?;
    let found = mounts.into_values().filter_map(|one| {
        let wrong = wrong(&known.of(&one.mount.point)).filter(|_| one.has_locks())?;
        Some((one.original(), (one, wrong)))
    });
    Ok(found.collect())
}

/// Was the module told that clients lock what is exported again?
pub(super) fn off(node: &Node) -> Result<Vec<Finding>, Unreadable> {
    let again = all(node)?.into_iter().find(Reexported::has_locks);
    let is_loaded = node.tree.exists("/sys/module/nfsd_ha");
    let Some(one) = again.filter(|_| is_loaded) else {
        return Ok(Vec::new());
    };
    if node.tree.word(PARAMETER)?.as_deref() == Some("1") {
        return Ok(Vec::new());
    }
    let what = format!(
        "{} is mounted from {} and exported again, and the module was loaded without reexport=1",
        one.path(),
        one.original()
    );
    let why = "Clients cannot lock files there.";
    let fix = "echo options nfsd_ha reexport=1 > /etc/modprobe.d/nfsd-ha-reexport.conf  # it takes effect when the module is \
               loaded next: reboot, or rmmod and modprobe while nothing moves";
    Ok(vec![Finding::warning("reexport-off", what, why).fix(fix)])
}

/// Is it mounted by a version of NFS whose locks can be passed on?
pub(super) fn version(node: &Node) -> Result<Vec<Finding>, Unreadable> {
    let mut found = Vec::new();
    for one in by_mount(all(node)?).values() {
        let (version, why) = match one.version() {
            Some((major @ ..=3, _)) => (
                format!("NFSv{major}"),
                "Clients cannot lock files there, as only NFSv4.1 and later can tell the original server who reclaims.",
            ),
            Some((4, 0)) => (
                "NFSv4.0".to_owned(),
                "The kernel cannot export it, so that clients get errors.",
            ),
            _ => continue,
        };
        let point = &one.mount.point;
        let what = format!(
            "{} is exported again, and {} is mounted by {version}",
            one.path(),
            shown(point)
        );
        let fix = format!(
            "umount {0}; mount -o vers=4.2 {1} {0}  # and vers=4.2 in /etc/fstab",
            word(&point.to_string_lossy()),
            word(&one.mount.source.to_string_lossy())
        );
        found.push(Finding::error("reexport-version", what, why).fix(fix));
    }
    Ok(found)
}

/// Has each of them an `fsid=`?
pub(super) fn unnamed(node: &Node) -> Result<Vec<Finding>, Unreadable> {
    let unnamed = all(node)?.into_iter().filter(|one| !one.is_named());
    let paths: BTreeSet<_> = unnamed.map(|one| one.path()).collect();
    let finding = |path: String| {
        let what = format!("{path} is exported again without fsid=");
        let why = "A mount of NFS has neither a UUID nor a device that stays, so the kernel refuses to export it.";
        let fix = format!("editor /etc/exports; exportfs -ra  # add fsid=NUMBER to the options of {path}, which stays the same");
        Finding::error("reexport-no-fsid", what, why).fix(fix)
    };
    Ok(paths.into_iter().map(finding).collect())
}

/// Has a handle of NFSv3 room for that of the original server?
pub(super) fn handle(node: &Node) -> Result<Vec<Finding>, Unreadable> {
    handles_by(node, |one| {
        handles::longest(&node.tree.at(&one.export.path), one.mount.device)
    })
}

/// The same, with who says how long the NFS client's handles are.
fn handles_by(
    node: &Node,
    length: impl Fn(&Reexported) -> Result<Option<usize>, Unreadable>,
) -> Result<Vec<Finding>, Unreadable> {
    if !server::serves_nfs3(&node.tree)? {
        return Ok(Vec::new());
    }
    let mut longest: BTreeMap<PathBuf, Reexported> = BTreeMap::new();
    for one in all(node)?.into_iter().filter(Reexported::is_named) {
        let known = longest.get(&one.export.path);
        if known.is_none_or(|known| known.head() < one.head()) {
            longest.insert(one.export.path.clone(), one);
        }
    }
    let mut found = Vec::new();
    for one in longest.values() {
        let Some(bytes) = length(one)?.map(|length| one.head() + length) else {
            continue;
        };
        if bytes <= NFS3_HANDLE {
            continue;
        }
        let path = one.path();
        let what = format!("handles of {path} have {bytes} bytes, and NFSv3 is served");
        let why =
            "A handle of NFSv3 has 64 bytes at most, so clients of NFSv3 get errors for files there.";
        let fix = format!(
            "editor /etc/exports; exportfs -ra  # give {path} a number, fsid=NUMBER, in place of a UUID, here and at {}",
            one.original()
        );
        found.push(Finding::warning("reexport-handle", what, why).fix(fix));
    }
    Ok(found)
}

/// Does an original server keep locks until the clients here have reclaimed?
pub(super) fn lease(node: &Node) -> Result<Vec<Finding>, Unreadable> {
    let Some(grace) = server::number(&node.tree, "/proc/fs/nfsd/nfsv4gracetime")? else {
        return Ok(Vec::new());
    };
    let needed = grace.saturating_add(START);
    let short = originals(node, |stats| {
        let lease = stats.iter().filter_map(|one| one.lease).min();
        lease.filter(|lease| *lease < needed)
    })?;
    let mut found = Vec::new();
    for (original, (_, lease)) in short {
        let what = format!(
            "the lease of {original} is {lease} s, and the grace period here is {grace} s: it should be {START} s shorter"
        );
        let why = "The original server keeps locks for a lease after this node's mount, so clients may reclaim too late.";
        let mut fix = format!(
            "editor /etc/nfs.conf  # at {original}: lease-time={needed}, grace-time={needed}"
        );
        let here = lease.saturating_sub(START);
        if here >= SHORTEST {
            fix += &format!("; or here: lease-time={here}, grace-time={here}");
        }
        found.push(Finding::warning("reexport-lease", what, why).fix(fix));
    }
    Ok(found)
}

/// Does an original server keep the locks of a client that reboots, as this node is one?
pub(super) fn original(node: &Node) -> Result<Vec<Finding>, Unreadable> {
    let keeps = |one: &&Stats| {
        let name = one.implementation.as_ref();
        name.is_some_and(|name| name.ends_with(KEEPS_LOCKS))
    };
    let unable = originals(node, |stats| (!stats.iter().all(keeps)).then_some(()))?;
    let finding = |(original, (one, ())): (String, (Reexported, ()))| {
        let what = format!(
            "{original}, from which {} is mounted, does not keep the locks of a client that reboots",
            shown(&one.mount.point)
        );
        let why = "When this node reboots, its clients lose their locks there to others.";
        Finding::warning("reexport-original", what, why).fix(format!(
            "nfsd-ha check  # at {original}, where the module nfsd_ha has to be loaded; then mount again here"
        ))
    };
    Ok(unable.into_iter().map(finding).collect())
}

/// Has a process of this machine a file open there?
pub(super) fn local(node: &Node) -> Result<Vec<Finding>, Unreadable> {
    let again = by_mount(all(node)?);
    if again.is_empty() {
        return Ok(Vec::new());
    }
    let mounts = node.mounts()?;
    let mut devices = BTreeSet::new();
    let mut found = Vec::new();
    for one in again.values().filter(|one| one.has_locks()) {
        let device = one.mount.device;
        if !devices.insert(device) {
            continue;
        }
        let Some(open) = processes::opens(&node.tree, |file| mounts.is_on(file, device))? else {
            continue;
        };
        let what = format!(
            "process {} has {} open, and {} is exported again",
            open.pid,
            shown(&open.file),
            one.path()
        );
        let why = "If a process of this machine opens a file there after a boot, before the server's grace period is over, \
                   clients cannot reclaim any more.";
        let fix = format!(
            "fuser -vm {}  # have these start after the server's grace period",
            word(&one.mount.point.to_string_lossy())
        );
        found.push(Finding::note("reexport-local", what, why).fix(fix));
    }
    Ok(found)
}

/// Has an original server refused to let clients reclaim?
pub(super) fn refused(node: &Node) -> Result<Vec<Finding>, Unreadable> {
    if all(node)?.is_empty() {
        return Ok(Vec::new());
    }
    let text = node.tree.text(ORIGINALS)?.unwrap_or_default();
    let is_over = |line: &str| {
        let words: Vec<_> = line.split(' ').collect();
        // server minor reexported complete milliseconds reclaims granted refused
        let is_line = words.len() >= 8 && !line.starts_with('#');
        (is_line && words[5] == "over").then(|| shown(Path::new(words[0])))
    };
    let refusing: BTreeSet<_> = text.lines().filter_map(is_over).collect();
    let finding = |original: String| {
        let what = format!("{original} took no reclaims after this machine's last boot, or the last start of its server");
        let why = "Clients of this node have lost what they had opened and locked there before.";
        Finding::warning("reexport-refused", what, why).fix(format!(
            "cat {ORIGINALS}; nfsd-ha check  # do faults that begin with reexport say why? Restart nfs-server only with the machine"
        ))
    };
    Ok(refusing.into_iter().map(finding).collect())
}

#[cfg(test)]
mod tests;
