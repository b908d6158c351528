// SPDX-License-Identifier: GPL-2.0
//! A re-export server that is well, and what may be wrong with it.

use super::super::testing::Machine;
use super::super::tests::found;
use super::*;

const MOUNT: &str = "40 22 0:50 / /srv/re rw - nfs4 o:/x rw,vers=4.2,addr=192.0.2.60\n";
const WELL: &str = "Linux 7.3.4 nfsd_ha former_selves";

/// What is said of a mount.
fn stats(source: &str, point: &str, implementation: &str, lease: u32) -> String {
    format!(
        "device {source} mounted on {point} with fstype nfs4 statvers=1.1\n\topts:\trw,vers=4.2\n{implementation}\
         \tcaps:\tcaps=0x1\n\tnfsv4:\tbm0=0xf,sessions,lease_time={lease},lease_expired=0\n"
    )
}

/// The line with the name of an implementation.
fn named(name: &str) -> String {
    format!("\timpl_id:\tname='{name}',domain='kernel.org',date='0,0'\n")
}

fn mounts(machine: &Machine, lines: &str) {
    let own = "31 22 8:16 / /srv/ha rw - ext4 /dev/sdb rw\n";
    machine.mounts(&format!("{own}{lines}"));
}

/// Makes a machine a re-export server, on which nothing is wrong.
fn reexports(machine: &Machine) {
    machine.write(PARAMETER, "1\n");
    mounts(machine, MOUNT);
    machine.add("/var/lib/nfs/etab", "/srv/re\t*(rw,fsid=7)\n");
    machine.write(
        "/proc/self/mountstats",
        stats("o:/x", "/srv/re", &named(WELL), 100),
    );
    machine.write(
        ORIGINALS,
        "# server minor reexported complete milliseconds reclaims granted refused\n\
         o 2 yes sent 900 open 3 0\n",
    );
}

/// What is found after a change of such a machine.
fn after(change: impl FnOnce(&Machine)) -> Vec<&'static str> {
    found(|machine, _| {
        reexports(machine);
        change(machine);
    })
}

/// The findings of a check.
fn findings(
    check: impl Fn(&Node) -> Result<Vec<Finding>, Unreadable>,
    change: impl FnOnce(&Machine),
) -> Vec<Finding> {
    let machine = Machine::well();
    reexports(&machine);
    change(&machine);
    check(&machine.node()).unwrap()
}

/// What is exported beside the file system of the machine's own.
fn exports(machine: &Machine, lines: &str) {
    machine.write(
        "/var/lib/nfs/etab",
        format!("/srv/ha\t*(rw,fsid=1234)\n{lines}"),
    );
}

#[test]
fn nothing_is_wrong_with_one_that_is_well() {
    assert_eq!(after(|_| ()), [""; 0]);
}

/// What is wrong matters to nobody if it is not exported.
#[test]
fn a_mount_that_is_not_exported() {
    let quiet = after(|machine| {
        exports(machine, "");
        machine.write(PARAMETER, "0\n");
        machine.write("/proc/self/mountstats", stats("o:/x", "/srv/re", "", 1));
        machine.write(ORIGINALS, "o 2 yes sent 9 over 0 3\n");
        machine.process(20, "/srv/re/bin/x", &["x"]);
        mounts(machine, &MOUNT.replace("vers=4.2", "vers=3"));
    });
    assert_eq!(quiet, [""; 0]);
}

#[test]
fn the_parameter() {
    let off = |change: fn(&Machine)| after(change);
    assert_eq!(
        off(|machine| machine.write(PARAMETER, "0\n")),
        ["reexport-off"]
    );
    assert_eq!(off(|machine| machine.remove(PARAMETER)), ["reexport-off"]);
    let below = off(|machine| {
        machine.write(PARAMETER, "0\n");
        exports(machine, "/srv/re/a/b\t*(rw,fsid=7)\n");
    });
    assert_eq!(below, ["reexport-off"], "a directory of the mount");
    let absent = findings(off_without_module, |_| ());
    assert!(absent.is_empty(), "`module` says that");
}

fn off_without_module(node: &Node) -> Result<Vec<Finding>, Unreadable> {
    std::fs::remove_dir_all(node.tree.at("/sys/module/nfsd_ha")).unwrap();
    off(node)
}

#[test]
fn versions() {
    let mounted = |version: &'static str| {
        after(move |machine| mounts(machine, &MOUNT.replace("vers=4.2", version)))
    };
    for fault in ["vers=3", "vers=4.0"] {
        assert_eq!(mounted(fault), ["reexport-version"]);
    }
    for well in ["vers=4.1", "vers=4.2", "vers=4.10"] {
        assert_eq!(mounted(well), [""; 0]);
    }
    // A bind mount has the same kind, and the same options of the file system.
    let bound = after(|machine| {
        let bind = "41 22 0:50 / /srv/b rw - nfs o:/x/b rw,vers=3,addr=192.0.2.60\n";
        mounts(machine, &format!("{MOUNT}{bind}"));
        exports(machine, "/srv/b\t*(rw,fsid=7)\n");
    });
    assert_eq!(bound, ["reexport-version"]);
}

#[test]
fn names() {
    let exported = |options: &'static str| {
        after(move |machine| exports(machine, &format!("/srv/re\t*({options})\n")))
    };
    assert_eq!(exported("rw"), ["reexport-no-fsid"]);
    assert_eq!(exported("rw,reexport=none"), ["reexport-no-fsid"]);
    for well in [
        "rw,fsid=7",
        "rw,fsid=0d7bb6e8-0c1e-4e6a-9d61-3f9a1f6c1b1d",
        "rw,reexport=auto-fsidnum",
    ] {
        assert_eq!(exported(well), [""; 0]);
    }
    let one_of_two =
        after(|machine| machine.add("/var/lib/nfs/etab", "/srv/re\thost(ro)\n/srv/re\tb(ro)\n"));
    assert_eq!(one_of_two, ["reexport-no-fsid"]);
}

#[test]
fn handles() {
    let uuid = "fsid=0d7bb6e8-0c1e-4e6a-9d61-3f9a1f6c1b1d";
    let said = |path: &str, options: &str, length: usize| {
        let line = format!("{path}\t*(rw,{options})\n");
        findings(
            |node| handles_by(node, |_| Ok(Some(length))),
            |machine| exports(machine, &line),
        )
        .pop()
        .map(|finding| {
            assert_eq!(finding.id, "reexport-handle");
            finding.what
        })
    };
    assert_eq!(said("/srv/re", "fsid=7", 56), None);
    let long = said("/srv/re", "fsid=7", 60).unwrap();
    assert_eq!(
        long,
        "handles of /srv/re have 68 bytes, and NFSv3 is served"
    );
    assert_eq!(said("/srv/re", uuid, 44), None);
    assert!(said("/srv/re", uuid, 48).unwrap().contains("68 bytes"));
    assert!(said("/srv/re/a", uuid, 40).unwrap().contains("68 bytes"));
    assert!(said("/srv/re", "sign_fh,fsid=7", 52)
        .unwrap()
        .contains("68 bytes"));
    // Of two exports of a path, the longer one counts.
    let both = findings(
        |node| handles_by(node, |_| Ok(Some(48))),
        |machine| {
            exports(
                machine,
                &format!("/srv/re\ta(fsid=7)\n/srv/re\tb({uuid})\n/srv/re\tc(fsid=7)\n"),
            )
        },
    );
    assert_eq!(both.len(), 1);
    let nfs4 = findings(
        |node| handles_by(node, |_| Ok(Some(60))),
        |machine| machine.write("/proc/fs/nfsd/versions", "-3 +4\n"),
    );
    assert!(nfs4.is_empty());
    let unknown = findings(|node| handles_by(node, |_| Ok(None)), |_| ());
    assert!(unknown.is_empty());
}

/// The directory itself is looked at, if NFSv3 is served.
#[test]
fn handles_that_cannot_be_had() {
    let looped = |versions: &'static str| {
        after(move |machine| {
            machine.link("/srv/re", "re");
            machine.write("/proc/fs/nfsd/versions", versions);
        })
    };
    assert_eq!(looped("+3 +4\n"), ["unreadable"]);
    assert_eq!(looped("-3 +4\n"), [""; 0]);
}

/// A bind mount of a directory is not the root of the file system.
#[test]
fn handles_of_a_bind_mount() {
    let bound = findings(
        |node| handles_by(node, |_| Ok(Some(40))),
        |machine| {
            let bind = MOUNT.replace("/srv/re", "/srv/b").replace("o:/x", "o:/x/b");
            mounts(machine, &format!("{MOUNT}{bind}"));
            exports(
                machine,
                "/srv/b\t*(fsid=0d7bb6e8-0c1e-4e6a-9d61-3f9a1f6c1b1d)\n",
            );
        },
    );
    assert!(bound[0].what.contains("68 bytes"));
}

#[test]
fn leases() {
    let lease = |seconds: u32| {
        after(move |machine| {
            let text = stats("o:/x", "/srv/re", &named(WELL), seconds);
            machine.write("/proc/self/mountstats", text);
        })
    };
    assert_eq!(lease(100), [""; 0]);
    assert_eq!(lease(99), ["reexport-lease"]);
    // One that says of another's mount that its lease is long.
    let forged = after(|machine| {
        let text = |lease| stats("o:/x", "/srv/re", &named(WELL), lease);
        machine.write("/proc/self/mountstats", text(99) + &text(900));
    });
    assert_eq!(forged, ["reexport-lease"]);
    let text = stats("o:/x", "/srv/re", &named(WELL), 15);
    let short = findings(super::lease, |machine| {
        machine.write("/proc/self/mountstats", &text);
    });
    assert_eq!(
        short[0].what,
        "the lease of o is 15 s, and the grace period here is 90 s: it should be 10 s shorter"
    );
    assert!(
        !short[0].fix.contains("here"),
        "nfsd takes no less than 10 s"
    );
    let other = after(|machine| {
        let text = stats("o:/x", "/srv/re", &named(WELL), 100) + &stats("p:/", "/mnt", "", 1);
        machine.write("/proc/self/mountstats", text);
    });
    assert_eq!(other, [""; 0], "it is not exported");
}

#[test]
fn original_servers() {
    let says = |line: String| {
        after(move |machine| {
            machine.write(
                "/proc/self/mountstats",
                stats("o:/x", "/srv/re", &line, 100),
            );
        })
    };
    assert_eq!(says(named(WELL)), [""; 0]);
    assert_eq!(says(String::new()), ["reexport-original"]);
    for other in [
        "Linux",
        "",
        " nfsd_ha former_selves x",
        "nfsd_ha former_selves",
    ] {
        assert_eq!(says(named(other)), ["reexport-original"], "{other:?}");
    }
    assert_eq!(
        after(|machine| machine.remove("/proc/self/mountstats")),
        [""; 0]
    );
    // One that says of another that it is able.
    let forged = named("x") + &stats("o:/x", "/srv/re", &named(WELL), 100);
    assert_eq!(says(forged), ["reexport-original"]);
    // Two mounts of one server: that is said once.
    let twice = findings(original, |machine| {
        let other = MOUNT.replace("/srv/re", "/srv/b").replace("0:50", "0:51");
        mounts(machine, &format!("{MOUNT}{other}"));
        machine.add("/var/lib/nfs/etab", "/srv/b\t*(rw,fsid=8)\n");
        let text = stats("o:/x", "/srv/re", "", 100) + &stats("o:/x", "/srv/b", "", 100);
        machine.write("/proc/self/mountstats", text);
    });
    assert_eq!(twice.len(), 1);
}

#[test]
fn local_processes() {
    let open = |file: &'static str, flags: &'static str| {
        after(move |machine| {
            machine.process(20, "/usr/bin/x", &["x"]);
            machine.link("/proc/20/fd/5", file);
            machine.write("/proc/20/fdinfo/5", format!("pos:\t0\nflags:\t{flags}\n"));
        })
    };
    assert_eq!(open("/srv/re/a b", "0100002"), ["reexport-local"]);
    assert_eq!(open("/srv/re/a (deleted)", "0100002"), ["reexport-local"]);
    assert_eq!(open("/srv/real", "0100002"), [""; 0]);
    let elsewhere = after(|machine| {
        mounts(
            machine,
            &format!("{MOUNT}41 22 0:50 / /mnt/re rw - nfs4 o:/x rw,vers=4.2,addr=192.0.2.60\n"),
        );
        machine.process(20, "/mnt/re/bin/x", &["x"]);
    });
    assert_eq!(elsewhere, ["reexport-local"], "by another mount of it");
}

#[test]
fn reclaims() {
    let line = |line: &'static str| after(move |machine| machine.add(ORIGINALS, line));
    assert_eq!(line("p 2 yes sent 900 over 0 3\n"), ["reexport-refused"]);
    assert_eq!(line("over 2 yes held - open 0 0\n"), [""; 0]);
    assert_eq!(line("p over\n# p 2 yes sent 900 over 0 3\n"), [""; 0]);
    assert_eq!(after(|machine| machine.remove(ORIGINALS)), [""; 0]);
}

/// Paths and names that others chose, with blanks, quotes and what a terminal would do something with.
#[test]
fn names_that_others_chose() {
    let point = "/srv/a\\040b\\134\\012'\x1b[2J";
    let source = "o\x1b[2J';reboot:/x\\040y";
    let change = |machine: &Machine| {
        let options = "rw,vers=4.2,addr=192.0.2.60";
        mounts(
            machine,
            &format!("40 22 0:50 / {point} rw - nfs4 {source} {options}\n"),
        );
        exports(machine, &format!("{point}\t*(rw)\n"));
        machine.write(PARAMETER, "0\n");
        let text = stats(source, point, &named("\x1b[2J'"), 1);
        machine.write("/proc/self/mountstats", text);
        machine.write(ORIGINALS, "o\x1b[2J 2 yes sent 1 over 0 1\n");
        machine.process(20, "/srv/a b\\\n'\x1b[2J/x\x07", &["x"]);
    };
    let seen = after(change);
    let all = [
        "reexport-no-fsid",
        "reexport-off",
        "reexport-lease",
        "reexport-original",
        "reexport-refused",
        "reexport-local",
    ];
    assert_eq!(seen, all);
    let plain = |finding: &Finding| {
        let text = format!("{}{}{}", finding.what, finding.why, finding.fix);
        assert!(!text.chars().any(char::is_control), "{finding:?}");
    };
    for check in [off, unnamed, lease, original, local, refused] {
        let found = findings(check, change);
        assert_eq!(found.len(), 1);
        found.iter().for_each(plain);
    }
    let old = |machine: &Machine| {
        change(machine);
        mounts(
            machine,
            &format!("40 22 0:50 / {point} rw - nfs {source} rw,vers=3\n"),
        );
    };
    let mounted = findings(version, old);
    assert_eq!(mounted[0].id, "reexport-version");
    plain(&mounted[0]);
    let long = findings(
        |node| handles_by(node, |_| Ok(Some(90))),
        |machine| {
            change(machine);
            exports(machine, &format!("{point}\t*(rw,fsid=7)\n"));
        },
    );
    assert_eq!(long[0].id, "reexport-handle");
    plain(&long[0]);
}
