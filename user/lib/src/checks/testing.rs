// SPDX-License-Identifier: GPL-2.0
//! A machine that is made up.

use super::{Moving, Node, Tree};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use tempfile::TempDir;

/// Its files are in a directory that goes with it.
pub(super) struct Machine(TempDir);

impl Machine {
    pub(super) fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    /// One on which nothing is wrong: a server with an export of NFSv3 and 4 that moves, and its
    /// address.
    pub(super) fn well() -> Self {
        let machine = Self::new();
        for (path, text) in [
            ("/etc/modules-load.d/nfsd_ha.conf", "nfsd_ha\n"),
            ("/etc/exports", "# nothing\n"),
            ("/etc/nfs.conf", "[nfsd]\nscope=nfs-ha\n"),
            (
                "/lib/systemd/system/nfs-server.service",
                "[Service]\nExecStop=/usr/sbin/rpc.nfsd 0\n",
            ),
            (
                "/proc/fs/nfsd/client_tracking",
                "state active\ndaemon present\nto_store 0\nlost 0\nserver_scope nfs-ha\n",
            ),
            ("/proc/fs/nfsd/floating_addresses", "192.0.2.50\n"),
            ("/proc/fs/nfsd/fsid_grace", ""),
            ("/proc/fs/nfsd/nfs4_clients", "# fsid client\n"),
            ("/proc/fs/nfsd/nfsv4gracetime", "90\n"),
            ("/proc/fs/nfsd/nfsv4leasetime", "90\n"),
            (
                "/proc/fs/nfsd/nlm_clients",
                "sequence 1\n1234 192.0.2.50 192.0.2.17 4 1 0 0 client 1\n",
            ),
            ("/proc/fs/nfsd/nlm_unlock", ""),
            ("/proc/fs/nfsd/reclaim_clients", ""),
            ("/proc/fs/nfsd/threads", "8\n"),
            ("/proc/fs/nfsd/versions", "+3 +4 +4.1 +4.2\n"),
            (
                "/proc/fs/nfsd/clients/1/info",
                "clientid: 0x1\naddress: \"192.0.2.18:790\"\nname: \"x\"\n",
            ),
            ("/proc/sys/fs/nfs/nlm_tcpport", "4045\n"),
            ("/proc/sys/kernel/hostname", "a\n"),
            ("/proc/sys/net/ipv4/ip_nonlocal_bind", "0\n"),
            ("/proc/sys/net/ipv6/ip_nonlocal_bind", "0\n"),
            ("/sys/kernel/livepatch/nfsd_ha/enabled", "1\n"),
            ("/sys/kernel/livepatch/nfsd_ha/transition", "0\n"),
            ("/sys/kernel/livepatch/nfsd_ha/stack_order", "1\n"),
            ("/sys/kernel/livepatch/nfsd_ha/nfsd/patched", "1\n"),
            ("/sys/kernel/livepatch/nfsd_ha/nfsd/set_client,1/x", ""),
            ("/sys/module/nfsd/x", ""),
            ("/sys/module/nfsd_ha/version", env!("CARGO_PKG_VERSION")),
            ("/var/lib/nfs/etab", "/srv/ha\t*(rw,fsid=1234)\n"),
            ("/var/lib/nfsd-ha/1234/sm/192.0.2.17", ""),
        ] {
            machine.write(path, text);
        }
        machine.database(2);
        machine.mounts("31 22 8:16 / /srv/ha rw - ext4 /dev/sdb rw\n");
        machine.process(7, "/usr/sbin/rpcbind", &["rpcbind", "-w"]);
        machine.process(8, "/usr/sbin/rpc.statd", &["rpc.statd"]);
        machine.process(9, "/usr/sbin/nfsd-ha", &["nfsd-ha", "record"]);
        machine.link("/proc/9/fd/3", "/proc/fs/nfsd/nlm_clients");
        machine.write("/proc/9/fdinfo/3", "pos:\t0\nflags:\t0100002\n");
        machine
    }

    /// The head of a database of SQLite with this version of the format: 2 is WAL.
    pub(super) fn database(&self, version: u8) {
        let head = [
            b"SQLite format 3\0\x10\0".as_slice(),
            &[version, version],
            &[0; 80],
        ]
        .concat();
        self.write("/var/lib/nfs/nfsdcld/main.sqlite", head);
    }

    /// What is mounted, beside the root.
    pub(super) fn mounts(&self, lines: &str) {
        self.write(
            "/proc/self/mountinfo",
            format!("22 1 254:0 / / rw - ext4 /dev/vda rw\n{lines}"),
        );
    }

    pub(super) fn tree(&self) -> Tree {
        Tree::new(self.0.path())
    }

    pub(super) fn node(&self) -> Node {
        let [own, floating] = ["192.0.2.1", "192.0.2.50"].map(|address| address.parse().unwrap());
        Node {
            tree: self.tree(),
            local: vec![own, floating],
            floating: vec![floating],
            moving: vec![Moving::Path("/srv/ha".into())],
            list: None,
        }
    }

    fn place(&self, path: &str) -> PathBuf {
        let place = self.tree().at(path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        place
    }

    pub(super) fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        fs::write(self.place(path), text).unwrap();
    }

    /// Adds to a file.
    pub(super) fn add(&self, path: &str, text: &str) {
        let before = fs::read_to_string(self.tree().at(path)).unwrap_or_default();
        self.write(path, before + text);
    }

    pub(super) fn link(&self, path: &str, to: &str) {
        symlink(to, self.place(path)).unwrap();
    }

    pub(super) fn remove(&self, path: &str) {
        let place = self.tree().at(path);
        if place.is_dir() {
            fs::remove_dir_all(place).unwrap();
        } else {
            fs::remove_file(place).unwrap();
        }
    }

    /// A process that runs a program.
    pub(super) fn process(&self, pid: u32, program: &str, args: &[&str]) {
        self.link(&format!("/proc/{pid}/exe"), program);
        self.write(&format!("/proc/{pid}/cmdline"), args.join("\0") + "\0");
    }
}
