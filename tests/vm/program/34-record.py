#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: once=yes timeout=300 module=load disk=disk:64M
"""nfsd-ha record and callout: records before locks, a full disk, and who would lead root astray."""

import json
import os
import pwd
import struct
import subprocess
import time

import harness
from fullserver import FullServer, RawHost
from ktap import check, done, equal
from nfs import SLOW, Client, patience, sh, succeeds, wait_until
from nfs3 import Nfs3, Nfs3Error
from nlm import Nlm
from rpc import Packer

LISTS, REPORT = "/var/lib/nfsd-ha", "/run/nfsd-ha/record.json"
DONE, FAILED, USAGE, BUSY = range(4)
STATD = pwd.getpwnam("statd")


def report():
    """What the recorder says of itself."""
    with open(REPORT, encoding="ascii") as f:
        return json.load(f)


def start():
    """A recorder that has stored all who are there."""
    # pylint: disable-next=consider-using-with
    process = subprocess.Popen(["/test/nfsd-ha", "record"])
    wait_until(lambda: os.path.exists(REPORT) and report()["pid"] == process.pid)
    return process


def stop(process):
    """Ends it: its exit status, and how long that took."""
    began = harness.clock()
    process.terminate()
    return process.wait(patience(10)), harness.clock() - began


def callout(*words):
    """What rpc.statd runs: its exit status and what it says."""
    result = subprocess.run(["/test/nfsd-ha", "callout", *words], check=False, text=True, capture_output=True)
    return result.returncode, result.stderr


def is_there(scope, host):
    """Is there a record of a host?"""
    return os.path.exists(f"{LISTS}/{scope}/sm/{host}")


server = FullServer(grace=10)
server.set_up()
server.start()
hosts = [RawHost("one"), Client("two", "raw"), Client("three", "raw")]
server.end_grace()
a, b = (server.export(name, f"fsid={fsid}") for name, fsid in (("a", 1234), ("b", 5678)))
fh_a, fh_b = hosts[0].create(a), hosts[0].create(b)
one, two, three = (Nlm(4, host.server_ip, host.name, netns=host.netns) for host in hosts)
addresses = [host.server_ip[:-1] + "2" for host in hosts]

# A record before the lock.
equal("a client takes a lock before there is a recorder", one.lock(fh_a), "GRANTED")
recorder = start()
check("the recorder stores who was there", is_there(1234, addresses[0]))
equal("in the format of statd", sh(f"cat {LISTS}/1234/sm/{addresses[0]}").split()[5:], [addresses[0], hosts[0].server_ip])
equal("only root can look into the list", sh(f"stat -c '%U %a' {LISTS} {LISTS}/1234 {LISTS}/1234/sm").split(), ["root", "700"] * 3)
equal("another recorder is not wanted", subprocess.run(["/test/nfsd-ha", "record"], check=False).returncode, BUSY)
equal("a new client is granted its lock", two.lock(fh_a, offset=10), "GRANTED")
check("and has a record", is_there(1234, addresses[1]))
equal("by another address of the server", Nlm(4, hosts[0].other_ip, "one", **hosts[0].where).lock(fh_a, offset=20), "GRANTED")
equal("its record has both", sh(f"grep -c . {LISTS}/1234/sm/{addresses[0]}").strip(), "2")
sh(f"mv {LISTS}/1234/sm/{addresses[1]} {LISTS}/1234/sm.bak/")
check("a record that somebody has taken away is made again, as the client is there",
      wait_until(lambda: is_there(1234, addresses[1])))
status, took = stop(recorder)
equal("SIGTERM ends it well", status, DONE)
check("and at once", took < SLOW, took)
check("its report goes", not os.path.exists(REPORT))

# The disk of one export's list is full.
sh(f"mkdir -p /srv/small && mount -t tmpfs -o size=64k,mode=755 small /srv/small && mkdir -m 700 /srv/small/nsm && "
   f"ln -s /srv/small/nsm {LISTS}/5678")
recorder = start()
sh("dd if=/dev/zero of=/srv/small/fill bs=4096", check=False)
began = harness.clock()
equal("the disk of its list is full: a client gets no lock", one.lock(fh_b), "NOLOCKS")
check("and nobody waits for it", harness.clock() - began < 3 * SLOW)
equal("nor the next time", one.lock(fh_b), "NOLOCKS")
equal("a new client of another export gets its lock", three.lock(fh_a, offset=30), "GRANTED")
check("with a record", is_there(1234, addresses[2]))
check("the report says who is not stored", wait_until(
    lambda: [(w["scope"], w["client"], w["server"]) for w in report()["unstored"]] ==
    [("5678", addresses[0], hosts[0].server_ip)]), report())
check("and why", "No space left" in report()["unstored"][0]["error"], report())
equal("it goes on trying", one.lock(fh_b), "NOLOCKS")
os.unlink("/srv/small/fill")
check("there is room again: the client gets its lock", wait_until(lambda: one.lock(fh_b) == "GRANTED"))
check("and has a record", is_there(5678, addresses[0]))
check("the report says so", wait_until(lambda: report()["unstored"] == []), report())
sh("umount /srv/small")
check("the file system with the list is free meanwhile", not os.path.ismount("/srv/small"))
equal("a new client of that export waits for it", two.lock(fh_b, offset=10), "NOLOCKS")
equal("SIGTERM ends a recorder that tries again", stop(recorder)[0], DONE)

# Who could lead root astray.
sh("mkfs.ext4 -q /dev/disk/disk; mkdir -p /srv/disk; mount /dev/disk/disk /srv/disk; "
   "mkdir -p -m 755 /srv/disk/export; mkdir -m 700 /srv/disk/nsm; mkdir /srv/disk/old; "
   f"chown statd /srv/disk/old; exportfs -o rw,fsid=77,no_subtree_check,insecure *:/srv/disk/export")
VICTIMS = "stat -c '%n %u %g %a %i %Y %h' /etc /etc/shadow /etc/passwd; ls -A /etc | md5sum; md5sum /etc/shadow /etc/passwd"
before = sh(VICTIMS)
os.unlink(f"{LISTS}/5678")


class Remote(Nfs3):
    """A client of AUTH_SYS that says it is rpc.statd's user."""

    def message(self, procedure, arguments=b""):
        self.xid = (self.xid + 1) & 0xFFFFFFFF
        credentials = Packer().uint(0).opaque("raw").uint(STATD.pw_uid, STATD.pw_gid, 0).bytes()
        call = Packer().uint(self.xid, 0, 2, self.program, self.version, procedure)
        return call.uint(1).opaque(credentials).uint(0, 0).raw(arguments).bytes()

    def symlink(self, directory, name, target):
        """SYMLINK: 'ok', or the error's number."""
        arguments = Packer().opaque(directory).opaque(name).uint(0, 0, 0, 0, 0, 0).opaque(target)
        try:
            self.ask(10, arguments)
            return "ok"
        except Nfs3Error as e:
            return e.status


def guessed(path):
    """A handle that anybody can make up: of an inode number, in what is exported or not."""
    return bytes((1, 0, 1, 1)) + struct.pack("=III", 77, os.stat(path).st_ino, 0)


remote = Remote(hosts[0].server_ip, **hosts[0].where)
equal("a remote client reaches what is not exported, where statd's user may write",
      remote.symlink(guessed("/srv/disk/old"), "sm", "/etc"), "ok")
equal("but not a list that is root's", remote.symlink(guessed("/srv/disk/nsm"), "sm", "/etc"), 13)
mine = "setpriv --reuid statd --regid nogroup --clear-groups "
for path in (LISTS, "/srv/disk/nsm", f"{LISTS}/1234", f"{LISTS}/1234/sm"):
    check(f"nor can statd's user write to {path}", not succeeds(f"{mine} ln -s /etc {path}/9"))
links = {"sm": "/etc", "sm.bak": "/etc", "state": "/etc/shadow", ".state.new": "/etc/shadow", "lock": "/etc/passwd"}
for n, (name, target) in enumerate(links.items()):
    place = f"/srv/disk/old/{n}"
    sh(f"{mine} mkdir {place}; {mine} ln -s {target} {place}/{name}; rm -f {LISTS}/1234.away; "
       f"[ -L {LISTS}/1234 ] || mv {LISTS}/1234 {LISTS}/real; ln -sfn {place} {LISTS}/1234")
    status, said = callout("add-client", addresses[0], "server")
    equal(f"statd's user has made {name} a link to {target}: refused", status, FAILED)
    check("and it says whose it is", f"belongs to user {STATD.pw_uid}" in said, said)
sh(f"rm {LISTS}/1234; mv {LISTS}/real {LISTS}/1234")
record = f"{LISTS}/1234/sm/{addresses[0]}"
sh(f"mv {record} /tmp/record; ln -s /etc/shadow {record}; ln -s /etc/passwd {LISTS}/1234/sm/.{addresses[0]}.new")
equal("a link in place of a file is not followed, whoever made it", callout("add-client", "x", "y")[0], FAILED)
sh(f"rm {record}; cp /tmp/record {record}; sed -i 2d {record}")
equal("nor in place of a file that is about to be made", callout("add-client", "x", "y")[0], DONE)
equal("the record has both addresses again", sh(f"grep -c . {record}").strip(), "2")
equal("nothing has changed there", sh(VICTIMS), before)
sh(f"rm -r {LISTS}/1234/sm")
equal("root's own list is good again", callout("add-client", "$(touch /evil)", "../../x"), (DONE, ""))
check("it is whole", is_there(1234, addresses[0]) and is_there(1234, addresses[1]))
equal("del-client and sm-notify do nothing",
      [callout("del-client", addresses[0], "x"), callout("sm-notify", addresses[0], "x", "5")], [(DONE, "")] * 2)
check("no record goes", is_there(1234, addresses[0]))
equal("nonsense is an error", callout("nonsense")[0], USAGE)

# rpc.statd's own user, in a list of its own.
sh(f"install -d -o statd -m 700 /var/lib/statds; chmod 644 /proc/fs/nfsd/nlm_clients")
result = subprocess.run(f"NFSD_HA_DIR=/var/lib/statds {mine} /test/nfsd-ha callout add-client x y", shell=True, check=False)
equal("statd's user records in its own list", (result.returncode, os.path.exists(f"/var/lib/statds/1234/sm/{addresses[0]}")),
      (DONE, True))

# sm-notify works in the same directory.
sh(f"sm-notify -d -f -m 1 -P {LISTS}/1234 >/tmp/said 2>&1 & sleep 3; kill $! 2>/dev/null; true")
check("sm-notify tells who is on the list", sh(f"ls {LISTS}/1234/sm {LISTS}/1234/sm.bak").count(addresses[0]) <= 1
      and not is_there(1234, addresses[0]), sh("cat /tmp/said"))
done()
