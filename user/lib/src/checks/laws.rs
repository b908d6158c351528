// SPDX-License-Identifier: GPL-2.0
//! What must hold of a machine's configuration, whatever it says: see [`crate::laws`].

use super::{conf, exports_file, mountstats, pacemaker, units};

/// exports(5)
pub fn exports(text: &str) {
    let lines = text.lines().count();
    for (line, export) in exports_file::parse(text) {
        assert!((1..=lines).contains(&line));
        assert!(export.path.is_absolute());
        export.fsid();
    }
}

/// nfs.conf(5): what comes last counts.
pub fn nfs_conf(text: &str) {
    conf::last(text, "nfsd", "scope");
    let more = format!("{text}\n[nfsd]\nscope = nfs-ha\n");
    assert_eq!(
        conf::last(&more, "nfsd", "scope").as_deref(),
        Some("nfs-ha")
    );
}

/// systemd.unit(5)
pub fn unit(text: &str) {
    let all = units::all(&[text.to_owned()], "ExecStop");
    assert!(all.iter().all(|command| !command.is_empty()));
}

/// Pacemaker's configuration.
pub fn cib(text: &str) {
    for one in pacemaker::resources(text).into_iter().flatten() {
        assert!(one.directory.is_none_or(|path| path.starts_with('/')));
    }
}

/// What the NFS client says of its mounts.
pub fn mountstats(text: &str) {
    let mounts = text.lines().filter(|line| line.starts_with("device "));
    assert!(mountstats::parse(text).len() <= mounts.count());
}
