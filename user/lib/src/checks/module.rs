// SPDX-License-Identifier: GPL-2.0
//! The kernel module: loaded, whole, in force, and there again after a boot.

use super::{Finding, Node, Unreadable};

/// The module's livepatch (`Documentation/ABI/testing/sysfs-kernel-livepatch` of the kernel).
const LIVEPATCHES: &str = "/sys/kernel/livepatch";
/// The kernel's modules in which functions are replaced.
const OBJECTS: [&str; 4] = ["grace", "lockd", "nfsd", "sunrpc"];
/// The files that this program needs in nfsd's file system.
const FILES: [&str; 7] = [
    "client_tracking",
    "floating_addresses",
    "fsid_grace",
    "nfs4_clients",
    "nlm_clients",
    "nlm_unlock",
    "reclaim_clients",
];

/// The program's version, which a module of the same release has, too.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Is the module loaded, and are the files there that this program needs?
pub(super) fn loaded(node: &Node) -> Result<Vec<Finding>, Unreadable> {
    let tree = &node.tree;
    let found = if !tree.exists("/sys/module/nfsd_ha") {
        let why = "Without it, exports cannot be moved, and a restart of the server uses the kernel's own client tracking.";
        Finding::error("module", "the module nfsd_ha is not loaded", why)
            .fix("modprobe nfsd_ha; systemctl restart nfs-server")
    } else if !tree.exists("/proc/fs/nfsd/threads") {
        let why = "The control files are in it.";
        Finding::error(
            "nfsd-mount",
            "nfsd's file system is not mounted on /proc/fs/nfsd",
            why,
        )
        .fix("mount -t nfsd nfsd /proc/fs/nfsd")
    } else {
        let missing: Vec<_> = FILES
            .into_iter()
            .filter(|file| !tree.exists(format!("/proc/fs/nfsd/{file}")))
            .collect();
        if missing.is_empty() || !tree.exists(LIVEPATCHES.to_owned() + "/nfsd_ha") {
            return Ok(version(tree.word("/sys/module/nfsd_ha/version")?));
        }
        let what = format!("the module that is loaded has no {}", missing.join(", "));
        let why = "It is older than this program, whose commands need these files.";
        Finding::error("module-version", what, why)
            .fix("modinfo nfsd_ha; nfsd-ha --version  # install those of one version, then reboot")
    };
    Ok(vec![found])
}

/// Is the module that is loaded of the program's version? One from before there were versions has none.
fn version(loaded: Option<String>) -> Vec<Finding> {
    let loaded = loaded.unwrap_or_else(|| "none".into());
    if loaded == VERSION {
        return Vec::new();
    }
    let what = format!(
        "the version of the module that is loaded is {loaded}, that of this program is {VERSION}"
    );
    let why = "What one of them does the other may not know: a grace period that is too long or too short loses locks.";
    // What is installed may be good, and only not loaded yet.
    let fix = "modinfo -F version nfsd_ha  # if it is not that of nfsd-ha --version, install it; then load it: reboot, or \
               rmmod and modprobe while nothing moves";
    vec![Finding::warning("version-differs", what, why).fix(fix)]
}

/// Do all threads run the module's functions, and nobody else's instead?
pub(super) fn in_force(node: &Node) -> Result<Vec<Finding>, Unreadable> {
    let tree = &node.tree;
    let own = format!("{LIVEPATCHES}/nfsd_ha");
    if !tree.exists("/sys/module/nfsd_ha") {
        return Ok(Vec::new());
    }
    if tree.word(format!("{own}/enabled"))?.as_deref() != Some("1") {
        let why =
            "The kernel runs its own functions, so that no grace period of an export is kept.";
        let finding = Finding::error(
            "livepatch-off",
            "the module is loaded, but its livepatch is switched off",
            why,
        );
        return Ok(vec![finding.fix("rmmod nfsd_ha; modprobe nfsd_ha")]);
    }
    let mut found = Vec::new();
    if tree.word(format!("{own}/transition"))?.as_deref() == Some("1") {
        let why = "Until they all do, no command is taken.";
        found.push(
            Finding::warning("livepatch-transition", "not all threads of the kernel run the module's functions yet", why)
                .fix("sleep 5; grep -H . /proc/*/patch_state | grep -v -- :-1  # these tasks keep it waiting"),
        );
    }
    for object in OBJECTS {
        // Kernels before 6.1 do not say it.
        let patched = tree.word(format!("{own}/{object}/patched"))?;
        if tree.exists(format!("/sys/module/{object}")) && patched.as_deref() == Some("0") {
            let why = "Requests that go through them do not know of grace periods, lists and floating addresses.";
            let what = format!("functions of {object} are not replaced");
            found.push(
                Finding::error("not-replaced", what, why)
                    .fix("rmmod nfsd_ha; modprobe nfsd_ha; dmesg | tail"),
            );
        }
    }
    found.extend(above(node, &own)?);
    Ok(found)
}

/// Other livepatches that replace a function of ours: the one that was enabled last is in force.
fn above(node: &Node, own: &str) -> Result<Vec<Finding>, Unreadable> {
    let tree = &node.tree;
    let stack = |patch: &str| -> Result<Option<u32>, Unreadable> {
        let order = tree.word(format!("{patch}/stack_order"))?;
        // Kernels before 6.14 do not say it: then any other one may be above.
        Ok(order.and_then(|order| order.parse().ok()))
    };
    let ours = stack(own)?;
    let mut found = Vec::new();
    for other in tree
        .names(LIVEPATCHES)?
        .into_iter()
        .filter(|name| name != "nfsd_ha")
    {
        let theirs = format!("{LIVEPATCHES}/{other}");
        if matches!((ours, stack(&theirs)?), (Some(ours), Some(theirs)) if theirs < ours) {
            continue;
        }
        for object in tree
            .names(own)?
            .into_iter()
            .filter(|object| tree.exists(format!("{theirs}/{object}")))
        {
            // The functions are directories, NAME,NUMBER.
            let functions = tree.names(format!("{own}/{object}")).unwrap_or_default();
            let both = functions
                .iter()
                .find(|f| f.contains(',') && tree.exists(format!("{theirs}/{object}/{f}")));
            if let Some(function) = both.and_then(|both| both.split(',').next()) {
                let why = "What the module does in it does not happen.";
                let what =
                    format!("the livepatch {other} has replaced {function} of {object}, too");
                found.push(
                    Finding::error("replaced-twice", what, why)
                        .fix("echo 0 > /sys/kernel/livepatch/nfsd_ha/enabled; rmmod nfsd_ha; modprobe nfsd_ha  # load it last"),
                );
            }
        }
    }
    Ok(found)
}

/// Will the module be loaded at the next boot?
pub(super) fn at_boot(node: &Node) -> Result<Vec<Finding>, Unreadable> {
    let tree = &node.tree;
    let mut files = vec!["/etc/modules".to_owned()];
    for directory in ["/etc", "/run", "/usr/lib", "/lib"].map(|d| format!("{d}/modules-load.d")) {
        files.extend(
            tree.names(&directory)?
                .into_iter()
                .map(|name| format!("{directory}/{name}")),
        );
    }
    for file in files {
        let text = tree.text(&file)?.unwrap_or_default();
        if text
            .lines()
            .any(|line| matches!(line.split_whitespace().next(), Some("nfsd_ha" | "nfsd-ha")))
        {
            return Ok(Vec::new());
        }
    }
    let why =
        "A server that starts without it uses the kernel's own client tracking, without a word.";
    let finding = Finding::warning("module-boot", "the module is not loaded at boot", why);
    Ok(vec![
        finding.fix("echo nfsd_ha > /etc/modules-load.d/nfsd_ha.conf")
    ])
}
