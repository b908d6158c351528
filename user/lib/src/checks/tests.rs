// SPDX-License-Identifier: GPL-2.0
//! Faults, one at a time, on a machine that is well otherwise.

use super::testing::Machine;
use super::*;
use std::path::Path;
use std::process::Command;

/// What is found after a change of a machine and of what the admin says: the names, the worst
/// first.
pub(super) fn found(change: impl FnOnce(&Machine, &mut Node)) -> Vec<&'static str> {
    let machine = Machine::well();
    let mut node = machine.node();
    change(&machine, &mut node);
    let found = all(&node);
    for finding in &found {
        assert!(
            !finding.fix.is_empty() && finding.why.ends_with('.'),
            "{finding:?}"
        );
        let parsed = Command::new("sh")
            .args(["-n", "-c", &finding.fix])
            .status()
            .unwrap();
        assert!(parsed.success(), "{}", finding.fix);
    }
    found.iter().map(|finding| finding.id).collect()
}

/// After a file was written.
fn with(path: &str, text: &str) -> Vec<&'static str> {
    found(|machine, _| machine.write(path, text))
}

/// After a file was removed.
fn without(path: &str) -> Vec<&'static str> {
    found(|machine, _| machine.remove(path))
}

#[test]
fn nothing_is_wrong_with_a_machine_that_is_well() {
    assert_eq!(found(|_, _| ()), [""; 0]);
}

#[test]
fn the_module() {
    assert_eq!(without("/etc/modules-load.d/nfsd_ha.conf"), ["module-boot"]);
    assert_eq!(
        without("/proc/fs/nfsd/floating_addresses"),
        ["module-version"]
    );
    for other in ["0.0.9\n", "x 1"] {
        assert_eq!(
            with("/sys/module/nfsd_ha/version", other),
            ["version-differs"]
        );
    }
    // One from before there were versions.
    let old = found(|machine, _| {
        machine.remove("/sys/module/nfsd_ha/version");
        machine.write("/sys/module/nfsd_ha/x", "");
    });
    assert_eq!(old, ["version-differs"]);
    assert_eq!(
        with("/sys/kernel/livepatch/nfsd_ha/enabled", "0\n"),
        ["livepatch-off"]
    );
    assert_eq!(
        with("/sys/kernel/livepatch/nfsd_ha/transition", "1\n"),
        ["livepatch-transition"]
    );
    assert_eq!(
        with("/sys/kernel/livepatch/nfsd_ha/nfsd/patched", "0\n"),
        ["not-replaced"]
    );
    let gone = found(|machine, _| {
        machine.remove("/sys/module/nfsd_ha");
        machine.remove("/sys/kernel/livepatch");
        for file in [
            "client_tracking",
            "floating_addresses",
            "fsid_grace",
            "nfs4_clients",
            "nlm_clients",
            "reclaim_clients",
        ] {
            machine.remove(&format!("/proc/fs/nfsd/{file}"));
        }
    });
    assert_eq!(gone, ["module"]);
    let unmounted = found(|machine, _| machine.remove("/proc/fs/nfsd"));
    assert_eq!(unmounted, ["nfsd-mount"]);
}

#[test]
fn another_livepatch() {
    let other = |order: &'static str, function: &'static str| {
        found(move |machine, _| {
            machine.write("/sys/kernel/livepatch/distro/stack_order", order);
            machine.write(
                &format!("/sys/kernel/livepatch/distro/nfsd/{function}/x"),
                "",
            );
        })
    };
    assert_eq!(other("2\n", "set_client,1"), ["replaced-twice"]);
    assert_eq!(other("0\n", "set_client,1"), [""; 0], "it is below ours");
    assert_eq!(
        other("2\n", "nfsd_open,1"),
        [""; 0],
        "it replaces another function"
    );
}

#[test]
fn the_server() {
    let tracking = |text: &str| with("/proc/fs/nfsd/client_tracking", text);
    assert_eq!(
        tracking("state active\ndaemon absent\nserver_scope nfs-ha\n"),
        ["daemon-absent"]
    );
    assert_eq!(
        tracking("state stock\nserver_scope nfs-ha\n"),
        ["tracking-stock"]
    );
    assert_eq!(
        tracking("state failed\nserver_scope nfs-ha\n"),
        ["tracking-failed"]
    );
    assert_eq!(tracking("state off\n"), ["server-off"]);
    assert_eq!(
        tracking("state active\ndaemon present\nto_store 2\nlost 1\nserver_scope nfs-ha\n"),
        ["unstored", "records-lost"]
    );
    assert_eq!(
        tracking("state active\ndaemon present\nserver_scope other\n"),
        ["scope-changes"]
    );
    assert_eq!(tracking("nonsense\n")[0], "unreadable");
    assert_eq!(
        with("/proc/fs/nfsd/nfsv4gracetime", "60\n"),
        ["grace-short"]
    );
    assert_eq!(found(|machine, _| machine.database(1)), ["journal-mode"]);
    let elsewhere = found(|machine, _| {
        machine.database(1);
        machine.process(10, "/sbin/nfsdcld", &["nfsdcld", "-s", "/srv/cld"]);
    });
    assert_eq!(elsewhere, [""; 0], "the daemon has another database");
    let had = |machine: &Machine| machine.process(11, "/usr/sbin/nfsd-had", &["nfsd-had"]);
    let other = found(|machine, _| {
        machine.database(1);
        had(machine);
    });
    assert_eq!(other, [""; 0], "nobody uses that of nfsdcld");
    let both = found(|machine, _| {
        machine.process(10, "/sbin/nfsdcld", &["nfsdcld"]);
        had(machine);
    });
    assert_eq!(both, ["daemons-two"]);
    let alone = found(|machine, _| {
        machine.database(1);
        machine.link("/etc/systemd/system/nfsdcld.service", "/dev/null");
    });
    assert_eq!(alone, [""; 0]);
}

#[test]
fn the_server_scope() {
    let default = |machine: &Machine| {
        machine.remove("/etc/nfs.conf");
        machine.write(
            "/proc/fs/nfsd/client_tracking",
            "state active\ndaemon present\nserver_scope a\n",
        );
    };
    assert_eq!(found(|machine, _| default(machine)), ["scope-default"]);
    let said = found(|machine, _| {
        default(machine);
        machine.write("/etc/nfs.conf.d/ha.conf", "[nfsd]\nscope=a\n");
    });
    assert_eq!(said, [""; 0], "it was chosen");
    let theirs = |scope: &str| {
        let list = Theirs {
            server_scope: Some(scope.to_owned()),
            exports: Vec::new(),
        };
        found(|_, node| node.list = Some(list))
    };
    assert_eq!(theirs("nfs-ha"), [""; 0]);
    assert_eq!(theirs("b"), ["scope-differs"]);
    let off = found(|machine, _| {
        machine.remove("/etc/nfs.conf");
        machine.write("/proc/fs/nfsd/client_tracking", "state off\n");
    });
    assert_eq!(
        off,
        ["scope-default", "server-off"],
        "it would be the default one"
    );
}

#[test]
fn daemons_for_nfs3() {
    assert_eq!(without("/proc/7/exe"), ["nfs3-daemon"]);
    let neither = |versions: &'static str| {
        found(move |machine, _| {
            machine.remove("/proc/7");
            machine.remove("/proc/8");
            machine.write("/proc/fs/nfsd/versions", versions);
        })
    };
    assert_eq!(neither("+3 +4\n"), ["nfs3-daemon"; 2]);
    assert_eq!(neither("-3 +4\n"), [""; 0]);
}

#[test]
fn the_port_of_lockd() {
    let port = |port: &'static str, conf: &'static str| {
        found(move |machine, _| {
            machine.write("/proc/sys/fs/nfs/nlm_tcpport", port);
            machine.write("/etc/nfs.conf.d/lockd.conf", conf);
        })
    };
    assert_eq!(port("0\n", ""), ["lockd-port"]);
    assert_eq!(port("0\n", "[lockd]\nport=0\n"), ["lockd-port"]);
    assert_eq!(port("0\n", "[lockd]\nport=4045\n"), [""; 0]);
    assert_eq!(without("/proc/sys/fs/nfs/nlm_tcpport"), ["lockd-port"]);
    let nfs4 = found(|machine, _| {
        machine.remove("/proc/sys/fs/nfs/nlm_tcpport");
        machine.write("/proc/fs/nfsd/versions", "-3 +4\n");
    });
    assert_eq!(nfs4, [""; 0]);
}

#[test]
fn exports() {
    let also = |line: &str, more: &str| {
        found(|machine, _| {
            machine.add("/var/lib/nfs/etab", line);
            machine.mounts(&format!(
                "31 22 8:16 / /srv/ha rw - ext4 /dev/sdb rw\n{more}"
            ));
        })
    };
    let other = "32 22 8:32 / /srv/b rw - ext4 /dev/sdc rw\n";
    assert_eq!(also("/srv/b\t*(rw,fsid=2)\n", other), [""; 0]);
    let root = "33 22 0:60 / /srv rw - tmpfs none rw\n";
    assert_eq!(
        also("/srv\t*(ro,fsid=0)\n/srv/ha\thost(ro,fsid=1234)\n", root),
        [""; 0]
    );
    assert_eq!(also("/srv/ha/x\t*(ro,fsid=root)\n", ""), ["root-shared"]);
    assert_eq!(also("/srv/b\t*(rw,fsid=0x4d2)\n", other), ["fsid-twice"]);
    assert_eq!(also("/srv/b\t*(rw)\n", other), [""; 0], "it has a UUID");
    assert_eq!(
        also(
            "/srv/b\t*(rw)\n/srv/b\thost(ro)\n",
            "32 22 0:45 / /srv/b rw - overlay none rw\n"
        ),
        ["no-fsid"]
    );
}

#[test]
fn exports_in_files() {
    let line = |line: &'static str| with("/etc/exports", line);
    assert_eq!(line("/srv/ha *(rw,fsid=1234)\n"), ["export-at-boot"]);
    assert_eq!(line("/srv/ha *(rw,fsid=1234,mp)\n"), [""; 0]);
    assert_eq!(line("/srv/b *(rw,fsid=2)\n"), [""; 0]);
    assert_eq!(line("/srv/b *(rw,fsid=1234)\n"), ["fsid-twice"]);
    assert_eq!(
        with("/etc/exports.d/ha.exports", "/srv/ha/a *(ro)\n"),
        ["export-at-boot"]
    );
    let by_number = found(|machine, node| {
        node.moving = vec![Moving::Fsid("1234".parse().unwrap())];
        machine.write("/etc/exports", "/srv/ha *(rw,fsid=1234)\n");
    });
    assert_eq!(by_number, ["export-at-boot"]);
    let unit = "[Service]\nExecStopPost=-/usr/sbin/exportfs -au\n";
    let flushed = |exports: &'static str| {
        found(move |machine, _| {
            machine.write("/lib/systemd/system/nfs-server.service", unit);
            machine.write("/etc/exports", exports);
        })
    };
    assert_eq!(flushed(""), ["exports-flushed"]);
    assert_eq!(flushed("/srv/ha *(rw,fsid=1234,mp)\n"), [""; 0]);
    let mended = found(|machine, _| {
        machine.write("/lib/systemd/system/nfs-server.service", unit);
        machine.write(
            "/etc/systemd/system/nfs-server.service.d/nfsd-ha.conf",
            "[Service]\nExecStopPost=\nExecReload=-/usr/sbin/exportfs -a\n",
        );
    });
    assert_eq!(mended, [""; 0]);
}

#[test]
fn a_list_of_the_other_node() {
    let list = |fsid: &str, path: &str| {
        let export = (Some(fsid.parse().unwrap()), Some(path.into()));
        found(|_, node| {
            node.list = Some(Theirs {
                server_scope: None,
                exports: vec![export],
            })
        })
    };
    assert_eq!(list("1234", "/srv/ha"), [""; 0]);
    assert_eq!(list("1234", "/srv/other"), ["list-differs"]);
    assert_eq!(list("1235", "/srv/ha"), ["list-differs"]);
    assert_eq!(
        list("1235", "/srv/other"),
        [""; 0],
        "it is not exported here"
    );
}

#[test]
fn addresses() {
    assert_eq!(
        with("/proc/fs/nfsd/floating_addresses", ""),
        ["not-floating"]
    );
    assert_eq!(
        with("/proc/fs/nfsd/floating_addresses", "192.0.2.50\nfd77::50\n"),
        ["floating-besides"]
    );
    let none = found(|machine, node| {
        machine.write("/proc/fs/nfsd/floating_addresses", "");
        node.floating.clear();
    });
    assert_eq!(none, ["no-floating"]);
    assert_eq!(found(|_, node| node.floating.clear()), [""; 0]);
    assert_eq!(found(|_, node| _ = node.local.pop()), ["address-elsewhere"]);
    let standby = found(|machine, node| {
        node.local.pop();
        machine.write("/var/lib/nfs/etab", "");
    });
    assert_eq!(standby, [""; 0], "the export is not here either");
}

#[test]
fn drained() {
    let drain = |line: &str| with("/proc/fs/nfsd/drain", line);
    let over = "drained closed 3 reset 0 refused 1\n";
    assert_eq!(drain(&format!("192.0.2.50 {over}")), ["address-drained"]);
    assert_eq!(drain(&format!("192.0.2.99 {over}")), [""; 0], "it has gone");
    let goes_on = "192.0.2.50 draining connections 1 requests 0 left 9\n";
    assert_eq!(drain(goes_on), [""; 0], "a move is under way");
}

#[test]
fn own_clients() {
    let mounted = |server: &str| {
        let own = "31 22 8:16 / /srv/ha rw - ext4 /dev/sdb rw\n";
        found(|machine, _| {
            machine.mounts(&format!(
                "{own}32 22 0:50 / /mnt rw - nfs4 x:/ rw,vers=4.2,addr={server}\n"
            ))
        })
    };
    assert_eq!(mounted("192.0.2.50"), ["own-mount"]);
    assert_eq!(mounted("::1"), ["own-mount"]);
    assert_eq!(mounted("192.0.2.60"), [""; 0]);
    assert_eq!(
        with(
            "/proc/fs/nfsd/clients/2/info",
            "address: \"192.0.2.1:800\"\nname: \"y\"\n"
        ),
        ["own-mount"]
    );
    assert_eq!(
        with(
            "/proc/fs/nfsd/clients/2/info",
            "address: \"[::ffff:192.0.2.1]:800\"\n"
        ),
        ["own-mount"]
    );
    let nlm = "sequence 2\n1234 192.0.2.50 192.0.2.1 4 1 0 0 me 1\n";
    assert_eq!(with("/proc/fs/nfsd/nlm_clients", nlm), ["own-mount"]);
}

#[test]
fn records() {
    assert_eq!(without("/proc/9/fd/3"), ["recorder"]);
    let nobody = found(|machine, _| {
        machine.remove("/proc/9/fd/3");
        machine.write("/proc/fs/nfsd/nlm_clients", "sequence 0\n");
    });
    assert_eq!(nobody, [""; 0]);
    let said = r#"{"pid": 9, "recorded": 1, "unstored": [
        {"scope": "1234", "client": "192.0.2.17", "server": "192.0.2.50", "error": "full", "since": 1}]}"#;
    assert_eq!(with("/run/nfsd-ha/record.json", said), ["nlm-unstored"]);
    assert_eq!(
        with(
            "/run/nfsd-ha/record.json",
            r#"{"pid": 9, "recorded": 1, "unstored": []}"#
        ),
        [""; 0]
    );
    let linked = |there: &'static str| {
        found(move |machine, _| {
            machine.write(&format!("{there}/sm/192.0.2.17"), "");
            machine.remove("/var/lib/nfsd-ha/1234");
            machine.link("/var/lib/nfsd-ha/1234", &format!("../../..{there}"));
        })
    };
    assert_eq!(linked("/srv/ha/nsm"), ["records-exported"]);
    assert_eq!(linked("/srv/meta/nsm"), [""; 0]);
    assert_eq!(
        with("/proc/sys/net/ipv6/ip_nonlocal_bind", "1\n"),
        ["nonlocal-bind"]
    );
}

#[test]
fn pacemaker() {
    let cib = |unlock: &str| {
        let text = format!(
            "<cib><configuration><resources><primitive id=\"exp\" class=\"ocf\" provider=\"heartbeat\" type=\"exportfs\">\
             <instance_attributes id=\"i\"><nvpair id=\"d\" name=\"directory\" value=\"/srv/b\"/>{unlock}\
             </instance_attributes></primitive></resources></configuration></cib>"
        );
        found(|machine, _| {
            machine.write("/var/lib/pacemaker/cib/cib.xml", text);
            machine.write("/etc/exports", "/srv/b *(rw,mp)\n");
        })
    };
    assert_eq!(cib(""), ["unlock-on-stop"]);
    assert_eq!(
        cib("<nvpair id=\"u\" name=\"unlock_on_stop\" value=\"0\"/>"),
        [""; 0]
    );
    assert_eq!(with("/var/lib/pacemaker/cib/cib.xml", "<cib>"), ["cib"]);
}

#[test]
fn what_cannot_be_read_is_said_once() {
    let found = found(|machine, _| {
        machine.remove("/etc/exports");
        machine.write("/etc/exports/x", "");
    });
    assert_eq!(found, ["unreadable"]);
}

#[test]
fn a_pipe_keeps_nobody_waiting() {
    let machine = Machine::well();
    let pipe = machine.tree().at("/etc/nfs.conf");
    machine.remove("/etc/nfs.conf");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        0o600.into(),
        0,
    )
    .unwrap();
    assert!(all(&machine.node())
        .iter()
        .any(|finding| finding.id == "unreadable"));
    assert!(Path::new(&pipe).exists());
}

#[test]
fn words_are_quoted() {
    assert_eq!(word("/srv/ha"), "/srv/ha");
    assert_eq!(word("*:/srv/ha"), "'*:/srv/ha'");
    assert_eq!(
        word("$(reboot); 'x'\n\x1b[2J"),
        "'$(reboot); '\\''x'\\''[2J'"
    );
    assert_eq!(word(""), "''");
    assert_eq!(word("-rf"), "'-rf'");
}

proptest::proptest! {
    #[test]
    fn a_shell_reads_a_word_back(text in "[ -~]{0,20}") {
        let line = format!("printf %s {}", word(&text));
        let said = Command::new("sh").args(["-c", &line]).output().unwrap();
        proptest::prop_assert_eq!(String::from_utf8(said.stdout).unwrap(), text);
    }
}

#[test]
fn what_a_list_says() {
    let text = b"# nfsd-ha clients 2\n# server-scope nfs-ha\n# path /srv/ha\n# export *:/srv/ha(rw,fsid=1234)\n1234 one\n# end 1\n";
    let list = List::parse(text).unwrap();
    let fsid = Some("1234".parse().unwrap());
    let exports = vec![(fsid, Some("/srv/ha".into())), (fsid, None)];
    assert_eq!(
        Theirs::of(&list),
        Theirs {
            server_scope: Some("nfs-ha".to_owned()),
            exports
        }
    );
}

/// The names of all faults, as the source has them.
fn names(source: &'static str) -> Vec<&'static str> {
    let calls = ["Finding::error(", "Finding::warning(", "Finding::note("];
    let starts = calls.iter().flat_map(|call| {
        source
            .match_indices(call)
            .map(|(at, call)| &source[at + call.len()..])
    });
    starts
        .filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next())
        .collect()
}

#[test]
fn each_fault_is_documented() {
    let page = include_str!("../../../../docs/checks.md");
    let sources = [
        include_str!("../checks.rs"),
        include_str!("addresses.rs"),
        include_str!("exports.rs"),
        include_str!("module.rs"),
        include_str!("nlm.rs"),
        include_str!("pacemaker.rs"),
        include_str!("reexport.rs"),
        include_str!("server.rs"),
        include_str!("tracking.rs"),
    ];
    let names: Vec<_> = sources.into_iter().flat_map(names).collect();
    assert!(names.len() > 30, "{names:?}");
    for name in names {
        assert!(
            page.contains(&format!("`{name}`")),
            "docs/checks.md lacks {name}"
        );
    }
}
