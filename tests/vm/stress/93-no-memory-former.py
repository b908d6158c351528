#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: timeout=400 module=load once=yes smp=1
"""Every allocation fails once of a client that reboots, and of its reclaims: what it had it has, or nobody ever said so.

Only a debug kernel can do that (make test-debug), and sees what is forgotten or used after that.
"""

import collections
import os

import faults
from fullserver import FullServer, RawHost
from ktap import check, done, equal
from nfs import sh, wait_until

if not faults.available():
    print("1..0 # SKIP this kernel has no fault injection")
    raise SystemExit(0)

server = FullServer(grace=10, lease=60)
server.set_up()
faults.limit(faults.text())
server.start()
server.stop()
sh("rpc.nfsd 1")
host = RawHost()
server.end_grace()
(nfsd,) = sh("pgrep -x nfsd").split()
path = server.export("a", "fsid=1234")
fh = host.create(path, "f")
WHOLE, PART = (0, 100), (20, 20)


class Client(faults.Patient):
    """A client that asks again where there was no memory: nfsd says DELAY, and sunrpc nothing."""

    def reboot(self):
        status = super().reboot()
        while status != "OK":
            status = self.establish()


def locked():
    """The ranges that are locked on the file."""
    inode = f":{os.stat(f'{path}/f').st_ino} "
    with open("/proc/locks", encoding="ascii") as f:
        return [tuple(map(int, line.split()[6:8])) for line in f if inode in line]


client = Client(1, host.server_ip, "who-reboots", **host.where)
client.reboot()
assert client.reclaim_complete() == "OK"
other = Client(1, host.server_ip, "the-other", **host.where)
other.reboot()
assert other.reclaim_complete() == "OK"


def has_lock():
    """The client has finished, and the whole file locked."""
    client.reboot()
    client.reclaim_complete()
    assert wait_until(lambda: not locked(), 20), locked()
    lock = client.lock(client.open_fh(fh), *WHOLE)
    assert lock.status == "OK", lock.status
    return [nfsd]


def reboots():
    """It reboots: whether it has a former self, and what is locked."""
    client.reboot()
    seen = server.status()["former_selves"], locked()
    return seen[0], bool(seen[1])


def sweep(what, prepare, act, wanted, allocates=True):
    """Has something done with each allocation failing, if it makes some."""
    seen = [result for _, result in faults.each(act, prepare)]
    print(f"# {what}: {dict(collections.Counter(seen))}", flush=True)
    check(f"allocations of {what} have failed" if allocates else f"{what} needs no memory of ours", bool(seen) == allocates)
    equal(f"{what}: as it is to be", set(seen) - set(wanted), set())


def again(request):
    """A request, once more if there was no memory, and what was locked in between."""
    status = request()
    between = bool(locked())
    return (status if status == "OK" else request()), between, bool(locked())


opened = []


def has_rebooted(reclaims=True):
    """The client has rebooted; its file is reclaimed, or not."""
    has_lock()
    client.reboot()
    if reclaims:
        opened[:] = [client.open_reclaim(fh)]
        assert opened[0].status == "OK", opened[0].status
    return [nfsd]


def part_is_reclaimed():
    """A part of its lock is reclaimed."""
    has_rebooted()
    assert client.lock(opened[0], *PART, reclaim=True).status == "OK"
    return [nfsd]


def completes():
    """It finishes; what is left of its lock."""
    return again(client.reclaim_complete)[0], tuple(locked())


sweep("a reboot", has_lock, reboots, [(1, True), (0, False)])
sweep("an OPEN that reclaims", lambda: has_rebooted(False), lambda: again(lambda: client.open_reclaim(fh).status),
      [("OK", True, True)], allocates=False)
sweep("a LOCK that reclaims", has_rebooted, lambda: again(lambda: client.lock(opened[0], *WHOLE, reclaim=True).status),
      [("OK", True, True)])
sweep("a LOCK that reclaims a part", has_rebooted, lambda: again(lambda: client.lock(opened[0], *PART, reclaim=True).status),
      [("OK", True, True)])
sweep("RECLAIM_COMPLETE", part_is_reclaimed, completes, [("OK", ((20, 39),)), ("COMPLETE_ALREADY", ((20, 39),))])
has_rebooted()
equal("with memory it is reclaimed", client.lock(opened[0], *WHOLE, reclaim=True).status, "OK")
equal("and nobody else has it", other.lock(other.open_fh(fh)).status, "DENIED")
client.reclaim_complete()
equal("no former self is left", server.status()["former_selves"], 0)
done()
