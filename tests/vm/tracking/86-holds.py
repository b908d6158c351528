#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: timeout=400 module=load once=yes disk=slow:32M
"""Holds: what the daemon is told before something is granted, and what it is asked to remember of it.

The daemon here is the test itself. Two file systems are exported, and a directory of the first one once more.
"""

import fcntl
import os
import struct
import threading
import time

from cld import (ALL_HELD, CREATE, EINPROGRESS, EPOCH, EXPORT, FILE_SYSTEM, GRACE_DONE,
                 GRACE_START, HOLD, HOLDERS, HOLDS, KNOWN, NAME, REMOVE, UNHOLD, UNTIL, Daemon)
from ktap import check, done, equal
from nfs import LIVEPATCH, Server, patience, sh, succeeds, wait_until
from nfs4 import Nfs4
from nlm import Nlm

# linux/fs.h
FIFREEZE, FITHAW = 0xc0045877, 0xc0045878
EPOCHS = iter(bytes([n]) * 16 for n in range(1, 100))
server = Server(lease=10, grace=60)
server.set_up()
sh("ip addr add 192.0.2.1/24 dev lo")
sh("rpc.mountd -N 3")
os.makedirs("/srv/export/a")
os.makedirs("/srv/export/b")
sh("mount -t tmpfs tmpfs /srv/export/b; mount --bind /srv/export/a /srv/export/a")


class Keeper(Daemon):
    """A daemon of version 3 that keeps what it is told; `records` and `exports` is what it sends in the beginning."""

    def __init__(self, records=(), exports=(), known=True, epoch=bytes(16)):
        self.exports, self.known, self.status, self.held_back = exports, known, {}, []
        self.clients = records
        super().__init__(answer=self.status_of, version=3, epoch=epoch)

    def status_of(self, upcall):
        """What to answer: None keeps it back."""
        status = self.status.get(upcall.command, 0)
        if status is None:
            self.held_back.append(upcall)
        return status

    def _say_3(self, upcall, status):
        if upcall.command != GRACE_START or status != 0:
            return self.pipe.write(upcall.answer_3(status))
        for name, holds in self.clients:
            record = [(NAME, name)] + ([(HOLDS, struct.pack("=I", holds))] if self.known else [])
            assert self.pipe.write(upcall.answer_3(-EINPROGRESS, *record)) == 0
        for export, file_system, holders in self.exports:
            record = [(EXPORT, export), (HOLDERS, struct.pack("=I", holders))]
            record += [(FILE_SYSTEM, file_system)] if file_system else []
            assert self.pipe.write(upcall.answer_3(-EINPROGRESS, *record)) == 0
        self.epoch = next(EPOCHS)
        end = [(EPOCH, self.epoch)] + ([(KNOWN, b"")] if self.known else [])
        return self.pipe.write(upcall.answer_3(0, *end))

    def told(self, *commands):
        """What came of some commands: each with the name and the export."""
        return [(u.command, u.attributes.get(NAME, b""), u.attributes.get(EXPORT, b""))
                for u in self.read if u.command in commands and u.version == 3]

    def until(self):
        """Until when all is held, as it was said last."""
        said = [u for u in self.read if u.command == ALL_HELD]
        return struct.unpack("=Q", said[-1].attributes[UNTIL])[0] if said else None

    def let_go(self):
        """Answers what was kept back, and keeps nothing back any more."""
        self.status.clear()
        while self.held_back:
            self.say(self.held_back.pop(0))


def start(*args, nlm=False, **what):
    """A server with a daemon of its own; with `nlm`, also one of NFSv3 and NLM."""
    daemons = []
    thread = threading.Thread(target=lambda: daemons.append(Keeper(*args, **what)))
    thread.start()
    server.run(f"echo {server.lease} > /proc/fs/nfsd/nfsv4leasetime; "
               f"echo {server.grace} > /proc/fs/nfsd/nfsv4gracetime")
    options = "rw,no_root_squash,no_subtree_check"
    for fsid, path in enumerate(("/srv/export", "/srv/export/a", "/srv/export/b")):
        sh(f"exportfs -o {options},fsid={fsid} '*:{path}'")
    sh("rpc.nfsd 4" if nlm else "rpc.nfsd -N 3 4")
    thread.join(patience(30))
    return daemons[0]


def stop(daemon):
    """Ends both."""
    server.stop()
    daemon.close()


def confirm(name, minor=1, complete=True):
    """A client that may open what is not in grace."""
    this = Nfs4(minor, "192.0.2.1", name)
    assert this.establish() == "OK"
    if complete and minor:
        assert this.reclaim_complete() == "OK"
    return this


def in_background(function):
    """Runs a function in a thread, with a list of what it returns."""
    result = []
    thread = threading.Thread(target=lambda: result.append(function()))
    thread.start()
    return thread, result


def opens(client, path, name="file"):
    """What an OPEN in a directory brings."""
    return client.open(client.path(path), name)


def seconds(since):
    """How long ago that was."""
    return time.monotonic() - since


def test_hold():
    """What is told, and when."""
    daemon = start()
    check("when nobody can reclaim, AllHeld follows", wait_until(daemon.until, 20))
    check("for five minutes", 290 < daemon.until() - time.time() < 310)
    check("of this epoch", [u for u in daemon.read if u.command == ALL_HELD][-1].attributes[EPOCH]
          == daemon.epoch)
    one = confirm("one")
    daemon.status[HOLD] = None
    thread, result = in_background(lambda: opens(one, "/"))
    check("an OPEN is told to the daemon before", wait_until(lambda: daemon.told(HOLD), 10))
    equal("with the client and the export", daemon.told(HOLD), [(HOLD, b"one", b"0")])
    system = daemon.read[-1].attributes.get(FILE_SYSTEM, b"")
    equal("and the UUID of its file system", len(system), 16)
    time.sleep(0.5)
    equal("and waits", result, [])
    daemon.let_go()
    thread.join(patience(10))
    equal("until it is stored", result[0].status, "OK")
    equal("client_tracking counts it", (server.status()["holds"], server.status()["exports_held"]), (1, 1))
    first = opens(one, "/", "second")
    equal("another OPEN of the same", (first.status, len(daemon.told(HOLD))), ("OK", 1))
    equal("a lock", (one.lock(first).status, len(daemon.told(HOLD))), ("OK", 1))
    two = confirm("two", minor=0)
    equal("another client's, of NFSv4.0", (opens(two, "/").status, daemon.told(HOLD)[1:]),
          ("OK", [(HOLD, b"two", b"0")]))
    equal("another export", (opens(one, "b").status, daemon.told(HOLD)[2:]),
          ("OK", [(HOLD, b"one", b"2")]))
    check("has another file system", daemon.read[-1].attributes.get(FILE_SYSTEM) not in (None, system))
    equal("an export of the first file system", (opens(one, "a").status, daemon.told(HOLD)[3:]),
          ("OK", [(HOLD, b"one", b"1")]))
    equal("has the same", daemon.read[-1].attributes.get(FILE_SYSTEM), system)
    equal("no Hold without an OPEN", (one.rename(one.path("/"), "second", "third"), len(daemon.told(HOLD))),
          ("OK", 4))
    return daemon, one, system


def test_unhold(daemon, one):
    """Who holds nothing any more is found by two looks."""
    kept = opens(one, "/", "kept")
    assert one.reboot() == "OK" and one.reclaim_complete() == "OK"
    # Each goes with what the former self held there.
    gone = [(UNHOLD, b"one", export) for export in (b"0", b"1", b"2")]
    equal("a client that reboots keeps its record, but no holds of what it has not reclaimed",
          (daemon.told(REMOVE), sorted(daemon.told(UNHOLD)), server.status()["holds"]), ([], gone, 1))
    equal("it leaves", (one.destroy_session(), one.destroy_clientid(), one.establish(), one.reclaim_complete()), ("OK",) * 4)
    check("a client that is gone is removed, with its holds",
          (REMOVE, b"one", b"") in daemon.told(REMOVE) and server.status()["holds"] == 1)
    equal("one that comes back is told anew", (opens(one, "/", "kept").status, daemon.told(HOLD)[4:]),
          ("OK", [(HOLD, b"one", b"0")]))
    browser = confirm("browser")
    sh("mkdir /srv/export/b/quiet; sysctl -q fs.leases-enable=1")
    equal("one has a directory delegated", browser.delegate(browser.path("b/quiet")), "OK")
    sh("sysctl -q fs.leases-enable=0")
    sh("echo '1 60' > /proc/fs/nfsd/fsid_grace")
    check("an export that is in grace by command counts as held",
          wait_until(lambda: len(daemon.told(HOLD)) == 7, 30))
    names = sorted(name for _, name, export in daemon.told(HOLD)[5:] if export == b"1")
    equal("by clients of NLM", names[0], b"")
    check("and of NFSv4", names[-1].startswith(b"nfsd_ha: in grace by command, "))
    sh("echo '1 0' > /proc/fs/nfsd/fsid_grace")
    b = opens(one, "b")
    equal("a client is told on each export", daemon.told(HOLD)[7:], [(HOLD, b"one", b"2")])
    equal("it closes on one", one.close_file(b), "OK")
    began = time.monotonic()
    check("an Unhold comes", wait_until(lambda: (UNHOLD, b"one", b"2") in daemon.told(UNHOLD)[3:], 60))
    check(f"not before a second look ({seconds(began):.0f} s)", seconds(began) > 10)
    check("as of who is not in grace any more",
          wait_until(lambda: len(daemon.told(UNHOLD)) == 6, 20))
    equal("and is counted", server.status()["holds"], 2)
    equal("to open there again", (opens(one, "b").status, daemon.told(HOLD)[8:]),
          ("OK", [(HOLD, b"one", b"2")]))
    equal("who has a directory delegated holds nothing that can be reclaimed, also after many looks",
          [told for told in daemon.told(HOLD) if told[1] == b"browser"], [])
    del kept


def test_outage(daemon, one):
    """The daemon is gone. What it was told is kept to as long as that is true."""
    two = confirm("three")
    sh("echo 1 > /sys/module/nfsd_ha/parameters/upcall_timeout")
    epoch = daemon.epoch
    daemon.close()
    check("a client that has a hold opens", opens(one, "b", "other").status == "OK")
    began = time.monotonic()
    equal("one that has none, not yet", opens(two, "b", "other").status, "GRACE")
    equal("whether others have or not", opens(two, "a").status, "GRACE")
    check(f"none waits for long ({seconds(began):.1f} s)", seconds(began) < patience(10))
    equal("a lock of what is open, at once", one.lock(opens(one, "b", "third")).status, "OK")
    equal("all is held still", server.status()["all_held"], 1)
    again = Keeper(epoch=epoch)
    check("the next daemon is told", wait_until(lambda: (HOLD, b"three", b"2") in again.told(HOLD), 20))
    check("and it is granted", wait_until(lambda: opens(two, "b", "other").status == "OK", 20))
    check("here and there", wait_until(lambda: opens(two, "a").status == "OK", 20))
    again.status[HOLD] = None
    four = confirm("four")
    thread, result = in_background(lambda: opens(four, "b"))
    assert wait_until(lambda: (HOLD, b"four", b"2") in again.told(HOLD), 10)
    sh("echo 10 > /sys/module/nfsd_ha/parameters/holds_valid")
    again.close()
    other = Keeper(epoch=b"x" * 16)
    thread.join(patience(30))
    equal("who waits for one that goes is granted", result[0].status, "OK")
    wanted = {(HOLD, b"one", b"0"), (HOLD, b"one", b"2"), (HOLD, b"three", b"2"),
              (HOLD, b"three", b"1"), (HOLD, b"four", b"2"), (HOLD, b"two", b"0")}
    check("another daemon is told all", wait_until(lambda: wanted <= set(other.told(HOLD)), 30))
    check("and only that", set(other.told(HOLD)) == wanted)
    said = [u.command for u in other.read]
    check("and that it is all, after that", wait_until(other.until, 30))
    last = max(at for at, u in enumerate(other.read) if u.command == HOLD)
    check("not before", ALL_HELD not in [u.command for u in other.read[:last]])
    check("nor before the end of the grace period", GRACE_DONE in said)
    return other


def test_valid_for(daemon):
    """holds_valid: how long it is true, and kept to."""
    for wrong in ("9", "86401", "x"):
        check(f"holds_valid is not {wrong}",
              not succeeds(f"echo {wrong} > /sys/module/nfsd_ha/parameters/holds_valid"))
    check("what is said is true for less", daemon.until() - time.time() < 11)
    five = confirm("five")
    daemon.close()
    began = time.monotonic()
    sh("mkdir -p /srv/export/c && mount -t tmpfs tmpfs /srv/export/c")
    sh("exportfs -o rw,no_root_squash,no_subtree_check,fsid=9 '*:/srv/export/c'")
    equal("when the daemon is gone, nothing is granted where nobody holds anything",
          opens(five, "c").status, "GRACE")
    check("but then it is", wait_until(lambda: opens(five, "c").status == "OK", 30))
    check(f"when that time is over ({seconds(began):.1f} s)", seconds(began) > 5)
    equal("not all is held", server.status()["all_held"], 0)
    sh("echo 30 > /sys/module/nfsd_ha/parameters/upcall_timeout;"
       "echo 300 > /sys/module/nfsd_ha/parameters/holds_valid; umount -l /srv/export/c")
    server.stop()


def test_slow():
    """A request that takes longer than the looks of the watch, while another daemon comes."""
    sh("mkfs.ext4 -q /dev/disk/slow && mkdir -p /srv/export/slow && mount /dev/disk/slow /srv/export/slow")
    daemon = start()
    sh("exportfs -o rw,no_root_squash,no_subtree_check,fsid=8 '*:/srv/export/slow'")
    one, two = confirm("one"), confirm("two", minor=0)
    assert wait_until(daemon.until, 20)
    where = os.open("/srv/export/slow", os.O_RDONLY)
    fcntl.ioctl(where, FIFREEZE, 0)
    slow = [in_background(lambda: opens(one, "slow", "new")), in_background(lambda: opens(two, "slow", "other"))]
    wanted = {(HOLD, b"one", b"8"), (HOLD, b"two", b"8")}
    check("two OPENs are told", wait_until(lambda: wanted <= set(daemon.told(HOLD)), 10))
    daemon.close()
    other = Keeper(epoch=b"x" * 16)
    assert wait_until(lambda: GRACE_DONE in [u.command for u in other.read], 20)
    # Four looks.
    time.sleep(8)
    equal("another daemon hears nothing of all holds while they go on", other.until(), None)
    equal("and they do", [result for _, result in slow], [[], []])
    fcntl.ioctl(where, FITHAW, 0)
    os.close(where)
    for thread, result in slow:
        thread.join(patience(10))
        equal("one is granted", result[0].status, "OK")
    check("when it is told of what they have now, it does", wait_until(other.until, 30))
    equal("then, and not before", set(other.told(HOLD, ALL_HELD)[:2]), wanted)
    server.stop()
    other.close()
    sh("exportfs -u '*:/srv/export/slow' && umount /srv/export/slow")


def test_stop():
    """A clean stop, and the livepatch switched off."""
    daemon = start()
    assert wait_until(daemon.until, 20)
    before, now = len(daemon.told(ALL_HELD)), time.time()
    server.stop()
    check("a server that stops says it once more", len(daemon.told(ALL_HELD)) == before + 1)
    check("for as long as after a crash", 290 < daemon.until() - now < 310 + patience(5))
    daemon.close()
    daemon = start(known=False)
    assert wait_until(daemon.until, 20)
    sh(f"echo 0 > {LIVEPATCH}/enabled")
    check("who switches the module off takes it back", wait_until(lambda: daemon.until() == 0, 20))
    assert wait_until(lambda: not os.path.exists(LIVEPATCH), 60)
    server.stop()
    equal("and it stays so", daemon.until(), 0)
    daemon.close()
    sh("rmmod nfsd_ha && insmod /test/nfsd_ha.ko")


def test_grace(system):
    """Only exports that were held are in grace."""
    daemon = start(records=[(b"one", 1)], exports=[(b"0", system, 1)])
    check("there is a grace period", server.in_grace())
    new = confirm("new")
    began = time.monotonic()
    equal("an OPEN on an export that nobody held anything on", opens(new, "b").status, "OK")
    check(f"is granted at once ({seconds(began):.2f} s)", seconds(began) < patience(1))
    b = opens(new, "b", "locked")
    equal("and a lock", new.lock(b).status, "OK")
    equal("and REMOVE", new.remove(new.path("b"), "locked"), "OK")
    equal("on the other one, none", opens(new, "/").status, "GRACE")
    equal("nor REMOVE", new.remove(new.path("/"), "file"), "GRACE")
    equal("nor on another export of the same file system", opens(new, "a").status, "GRACE")
    own = opens(new, "b", "own")
    equal("it reboots", (own.status, new.reboot()), ("OK", "OK"))
    equal("its record does not say that it may reclaim what others had", new.open_reclaim(new.path("kept")).status, "RECLAIM_BAD")
    equal("its own it may", (new.open_reclaim(own.fh).status, new.reclaim_complete()), ("OK", "OK"))
    equal("and it is recorded anew", [told for told in daemon.told(CREATE) if told[1] == b"new"], [(CREATE, b"new", b"")] * 2)
    one = confirm("one", complete=False)
    equal("there nobody reclaims: others may have held since what it held", one.open_reclaim(own.fh).status, "NO_GRACE")
    mine = one.open_reclaim(one.path("kept"))
    equal("but where somebody did", mine.status, "OK")
    check("which is told, and not waited for", wait_until(lambda: (HOLD, b"one", b"0") in daemon.told(HOLD), 10))
    equal("one client is waited for", server.status()["reclaimers_awaited"], 1)
    equal("it is done", one.reclaim_complete(), "OK")
    check("so the grace period ends", wait_until(lambda: not server.in_grace(), 20))
    check("when all is told", wait_until(lambda: daemon.told(GRACE_DONE), 10))
    equal("and all is open", opens(new, "/").status, "OK")
    stop(daemon)

    daemon = start(records=[(b"one", 0)])
    check("where nobody held anything there is no grace period", not server.in_grace())
    equal("GraceDone is said", len(daemon.told(GRACE_DONE)), 1)
    stop(daemon)

    daemon = start(records=[(b"one", 1)], exports=[(b"0", system, 1)], known=False)
    new = confirm("new")
    equal("if it is not known, all is in grace", opens(new, "b").status, "GRACE")
    stop(daemon)
    daemon = start(records=[(b"one", 1)], exports=[(b"of-a-newer-kernel", system, 1)])
    equal("and if there is one that nobody knows", opens(confirm("new"), "b").status, "GRACE")
    stop(daemon)


def test_nlm(system):
    """Locks of NLM: what is told, and where lockd's own grace period does not count."""
    sh("echo 60 > /proc/sys/fs/nfs/nlm_grace_period")
    sh(". /test/lib/lib.sh; start_rpc")
    daemon = start(records=[(b"one", 1)], exports=[(b"0", system, 2), (b"2", b"", 1)], nlm=True)
    new = confirm("new")
    equal("where clients of NLM held something, OPEN is granted", opens(new, "/").status, "OK")
    a = opens(new, "/", "nlm")
    equal("but no lock", new.lock(a).status, "GRACE")
    nlm = Nlm(4, "127.0.0.1", "localhost")
    equal("nor one of NLM", nlm.lock(a.fh), "DENIED_GRACE")
    equal("where nobody held anything but clients of NFSv4, OPEN is not", opens(new, "b").status, "GRACE")
    with open("/srv/export/b/nlm", "wb"):
        equal("nor a lock of NLM", nlm.lock(new.path("b/nlm")), "DENIED_GRACE")
    stop(daemon)
    daemon = start(records=[(b"one", 1)], exports=[(b"0", system, 1)], nlm=True)
    new = confirm("new")
    b, nlm = opens(new, "b", "nlm"), Nlm(4, "127.0.0.1", "localhost")
    equal("a lock of NLM that nobody reclaims", nlm.lock(b.fh, monitored=False), "GRANTED")
    check("is not told", not [told for told in daemon.told(HOLD) if told[1] == b""])
    began = time.monotonic()
    equal("where nobody held anything, none reclaims", nlm.lock(b.fh, offset=20, reclaim=True), "DENIED_GRACE")
    equal("nor a share", nlm.share(b.fh, reclaim=True), "NOLOCKS")
    equal("and a lock of NLM", nlm.lock(b.fh, offset=10), "GRANTED")
    check(f"at once ({seconds(began):.2f} s)", seconds(began) < patience(1))
    check("which is told, without a name", (HOLD, b"", b"2") in daemon.told(HOLD))
    stop(daemon)
    # nfsd waits for nobody, lockd for one: its hold is stored anew before the old ones go.
    daemon = start(records=[(b"one", 0)], exports=[(b"2", b"", 2)], nlm=True)
    check("a server that only clients of NLM reclaim from has no grace period of NFSv4", not server.in_grace())
    said = [(u.command, u.attributes.get(NAME, b"")) for u in daemon.read if u.version == 3]
    check("what they held is stored again before the old records go",
          said.index((HOLD, b"")) < said.index((GRACE_DONE, b"")))
    equal("and it stays so in lockd's grace period", daemon.told(UNHOLD), [])
    equal("in which others wait", Nlm(4, "127.0.0.1", "localhost").lock(b.fh), "DENIED_GRACE")
    stop(daemon)


last, client, uuid = test_hold()
test_unhold(last, client)
test_valid_for(test_outage(last, client))
test_slow()
test_stop()
test_grace(uuid)
test_nlm(uuid)
done()
