#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: timeout=400 module=load once=yes
"""nfsd-had as the service that its unit describes: it starts, serves, is restarted, and may do nothing else.

The service manager is systemd in a PID namespace of its own, with nothing but this unit.
"""

import contextlib
import os
import signal
import sqlite3
import subprocess

import recorders
from ktap import check, done, equal
from nfs import Server, sh, succeeds, wait_until
from nfs4 import Nfs4

UNIT = "nfsd-had.service"
# What Debian's nfs-common mounts, and its targets: here all is mounted already.
OTHERS = ("rpc_pipefs.target", "proc-fs-nfsd.mount", "local-fs.target")
RECORDS = "/var/lib/nfsd-ha"
LOG = "/run/nfsd-had.log"


class Service(Server):
    """A server whose daemon is a service."""

    def begin(self):
        """Starts a service manager."""
        os.makedirs("/run/systemd/system", exist_ok=True)
        sh(f"cp /test/nfsd-had /usr/sbin/ && install -m 644 /test/{UNIT} /run/systemd/system/")
        for other in OTHERS:
            what = "[Mount]\nWhat=nfsd\nWhere=/proc/fs/nfsd\n" if other.endswith("mount") else ""
            with open(f"/run/systemd/system/{other}", "w", encoding="ascii") as f:
                f.write(f"[Unit]\nDefaultDependencies=no\n{what}")
        with open("/run/systemd/system/test.target", "w", encoding="ascii") as f:
            f.write(f"[Unit]\nDefaultDependencies=no\nWants={UNIT}\n")
        # The unit's two minutes are too long for a test, and there is no journal.
        os.makedirs(f"/run/systemd/system/{UNIT}.d")
        with open(f"/run/systemd/system/{UNIT}.d/test.conf", "w", encoding="ascii") as f:
            f.write(f"[Service]\nWatchdogSec=4\nStandardError=append:{LOG}\n")
        sh("mountpoint -q /sys/fs/cgroup || mount -t cgroup2 cgroup2 /sys/fs/cgroup")
        # Its own messages go to the console.
        # pylint: disable-next=consider-using-with
        self.manager = subprocess.Popen(
            ["unshare", "--pid", "--fork", "--mount-proc", "sh", "-c",
             "mount -t nfsd nfsd /proc/fs/nfsd && container=test exec /usr/lib/systemd/systemd "
             "--system --unit=test.target --log-target=console --show-status=no"])

    def connections(self):
        """The servers' addresses of the connections on record."""
        with contextlib.closing(sqlite3.connect(f"file:{self.recorder.file}?mode=ro", uri=True)) as db:
            return [row[0] for row in db.execute("SELECT DISTINCT server FROM connections")]

    def systemctl(self, words):
        """The command that runs systemctl where its manager is, which fails before that is there."""
        leader = f"$(cat /proc/{self.manager.pid}/task/{self.manager.pid}/children)"
        return f"nsenter --target {leader} --pid --mount systemctl {words} {UNIT}"

    def is_active(self):
        """Does the service run, as the manager has heard?"""
        return succeeds(self.systemctl("is-active --quiet"))

    def property(self, name):
        """A property of the service."""
        return sh(self.systemctl(f"show --property={name} --value")).strip()


def process():
    """The daemon's number here, if it runs."""
    pids = sh("pidof nfsd-had || true").split()
    return int(pids[0]) if pids else None


def status(pid):
    """What the kernel says of a process."""
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


def has_restarted(before):
    """Is there another process, which is ready?"""
    return process() not in (before, None) and server.is_active()


server = Service(lease=10, grace=20, state=RECORDS, recorder=recorders.NfsdHad)
server.set_up()
sh("ip addr add 192.0.2.50/24 dev lo; ip link set lo up; echo 192.0.2.50 > /proc/fs/nfsd/floating_addresses")
server.begin()
check("the service is active when it says so", wait_until(server.is_active, 60))
equal("its directory is its own", sh(f"stat -c '%a %U' {RECORDS}"), "700 root\n")
pid = process()
now = status(pid)
equal("it has no capability but CAP_SYS_ADMIN, and cannot get another",
      (int(now["CapEff"], 16), int(now["CapBnd"], 16), now["NoNewPrivs"]), (1 << 21, 1 << 21, "1"))
equal("its system calls are filtered", now["Seccomp"], "2")
for path, can in (("/etc/new", False), ("/usr/sbin/nfsd-had", False), ("/run/new", False), ("/home/new", False),
                  (f"{RECORDS}/new", True)):
    wrote = succeeds(f"nsenter --target {pid} --mount sh -c ': >> {path}' 2>/dev/null")
    equal(f"it {'can' if can else 'cannot'} write {path}", wrote, can)
server.start()
equal("it serves the kernel", server.status()["daemon"], "present")
equal("with all that it knows", server.status()["version"], 3)
client = Nfs4(1, "192.0.2.50", "one")
equal("a client is put on record", (client.establish(), client.reclaim_complete()), ("OK", "OK"))
opened = client.open(client.path("/"), "file")
equal("and what it holds", (opened.status, server.status()["holds"]), ("OK", 1))
equal("both are in the file", server.recorder.records()[0], [b"one@192.0.2.50"])
equal("it is the recorder of clients of NLM", sh(f"ls -l /proc/{pid}/fd").count("nlm_clients"), 1)
check("it finds who is connected", wait_until(lambda: server.connections() == ["192.0.2.50"], 30))

os.kill(pid, signal.SIGKILL)
check("killed, it is started again", wait_until(lambda: has_restarted(pid), 30))
check("and serves on", wait_until(lambda: server.status()["daemon"] == "present", 20))
pid = process()
os.kill(pid, signal.SIGSTOP)
check("one that hangs is ended, and started again", wait_until(lambda: has_restarted(pid), 60))
equal("as it was before", server.property("NRestarts"), "2")
check("and serves on", wait_until(lambda: server.status()["daemon"] == "present", 20))
server.stop()
server.start()
check("who was on record may reclaim", server.in_grace())
reclaims = Nfs4(1, "192.0.2.50", "one")
equal("it does", (reclaims.establish(), reclaims.open_reclaim(opened.fh).status, reclaims.reclaim_complete()),
      ("OK", "OK", "OK"))
server.stop()
with open(LOG, encoding="utf-8") as log:
    said = log.read()
equal("nothing was in its way", [line for line in said.splitlines() if "ERROR" in line], [])
sh(server.systemctl("stop"))
equal("it ends when it is told to, without an error", (server.property("Result"), process()), ("success", None))
server.manager.kill()
done()
