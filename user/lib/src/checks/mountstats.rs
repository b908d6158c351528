// SPDX-License-Identifier: GPL-2.0
//! What the NFS client knows of the servers that it has mounted something from.
//!
//! The kernel writes the name of a server's implementation as it came (`show_implementation_id()` of
//! `fs/nfs/super.c`), so a server can make up lines, also such of other mounts. Who asks of a mount
//! therefore gets all that is said of it.

use super::{Tree, Unreadable};
use crate::mounts::unescape;
use std::path::Path;

/// What is said of a mount of NFS (`nfs_show_stats()` of `fs/nfs/super.c`).
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Stats {
    /// Where it is mounted, with other bytes than UTF-8 replaced.
    point: String,
    /// The server's lease in seconds, if it is one of NFSv4.
    pub(super) lease: Option<u32>,
    /// The name of the server's implementation, if it says one.
    pub(super) implementation: Option<String>,
}

/// All of `/proc/self/mountstats`.
pub(super) struct MountStats(Vec<Stats>);

impl MountStats {
    pub(super) fn read(tree: &Tree) -> Result<Self, Unreadable> {
        let text = tree.text("/proc/self/mountstats")?.unwrap_or_default();
        Ok(Self(parse(&text)))
    }

    /// All that is said of what is mounted on a path.
    pub(super) fn of(&self, point: &Path) -> Vec<&Stats> {
        let point = point.to_string_lossy();
        self.0.iter().filter(|one| one.point == point).collect()
    }
}

/// The mounts of NFS, in the order of the text.
pub(super) fn parse(text: &str) -> Vec<Stats> {
    let mut all: Vec<Stats> = Vec::new();
    let mut is_nfs = false;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("device ") {
            let words: Vec<_> = rest.split(' ').collect();
            // The device, as /proc/self/mountinfo has it, and where it is mounted.
            is_nfs = matches!(
                words[..],
                [_, "mounted", "on", _, "with", "fstype", "nfs" | "nfs4", ..]
            );
            if is_nfs {
                let point = unescape(words[3].as_bytes());
                all.push(Stats {
                    point: String::from_utf8_lossy(&point).into_owned(),
                    ..Stats::default()
                });
            }
            continue;
        }
        let Some(one) = all.last_mut().filter(|_| is_nfs) else {
            continue;
        };
        if let Some(name) = line.strip_prefix("\timpl_id:\tname='") {
            one.implementation = name.split_once("',domain='").map(|(n, _)| n.to_owned());
        } else if let Some(facts) = line.strip_prefix("\tnfsv4:\t") {
            let lease = facts
                .split(',')
                .find_map(|fact| fact.strip_prefix("lease_time="));
            one.lease = lease.and_then(|seconds| seconds.parse().ok());
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_text_is_read(text in "((device | mounted on |/a| with fstype nfs4|\timpl_id:\tname='|',domain='|\tnfsv4:\t|lease_time=9|,|\n)|.)*") {
            super::super::laws::mountstats(&text);
        }
    }

    #[test]
    fn what_the_kernel_writes() {
        let text = "device proc mounted on /proc with fstype proc\n\
            device o:/x mounted on /srv/a\\040b with fstype nfs4 statvers=1.1\n\
            \topts:\trw,vers=4.2\n\
            \timpl_id:\tname='Linux nfsd_ha former_selves',domain='kernel.org',date='0,0'\n\
            \tcaps:\tcaps=0x1\n\
            \tnfsv4:\tbm0=0xfd,sessions,pnfs=not configured,lease_time=90,lease_expired=0\n\
            device /dev/vda mounted on /srv/c with fstype ext4\n\
            \tnfsv4:\tlease_time=1\n\
            device o:/y mounted on /srv/d with fstype nfs statvers=1.1\n";
        let [first, second] = &parse(text)[..] else {
            panic!("{:?}", parse(text));
        };
        assert_eq!((first.point.as_str(), first.lease), ("/srv/a b", Some(90)));
        assert_eq!(
            first.implementation.as_deref(),
            Some("Linux nfsd_ha former_selves")
        );
        let none = Stats {
            point: "/srv/d".into(),
            ..Stats::default()
        };
        assert_eq!(*second, none);
    }
}
