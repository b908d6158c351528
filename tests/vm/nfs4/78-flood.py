#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: once=yes timeout=180 module=load
"""A release, and a look at the lists, while strangers come and go, and after a client has closed many files."""

import subprocess
import sys
import time

from control import read, release
from fullserver import serve
from ktap import check, done, equal
from nfs import SLOW, patience
from nfs4 import Nfs4


def repeat(seconds, act):
    """Does something again and again for so long, each time with a number; how often."""
    end, count = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        act(count)
        count += 1
    return count


def come_and_go(server, netns, tag, seconds):
    """Clients without any state, one after the other; how many."""

    def come(number):
        one = Nfs4(1, server, f"{tag}-{number}", netns=netns)
        one.establish()
        one.reclaim_complete()
        one.close()

    return repeat(seconds, come)


def open_and_open(server, netns, tag, seconds):
    """OPENs of a client, one after the other: each has nfsd make a stateid; how many."""
    one = Nfs4(0, server, tag, netns=netns)
    assert one.establish() == "OK"
    directory = one.path("/m")

    def open_it(_):
        assert one.open(directory, "f", create=False).status == "OK"

    return repeat(seconds, open_it)


if len(sys.argv) > 3:
    work = {"stranger": come_and_go, "opener": open_and_open}[sys.argv[3].split("-")[0]]
    print(work(*sys.argv[1:], 8))
    sys.exit(0)

server, host = serve()
fh = host.create(server.export("n", "fsid=78"))
other = host.create(server.export("m", "fsid=77"))


def timed(scope):
    """What a release says, and how many seconds it took."""
    began = time.monotonic()
    result = release(scope)[0]
    return result, time.monotonic() - began


# Many owners that have closed a file each: nfsd keeps the last stateid of each.
hoard = Nfs4(0, host.server_ip, "hoard", **host.where)
assert hoard.establish() == "OK"
directory = hoard.path("/m")
took = {}
closed = 0
for count in (100, 500):
    while closed < count:
        opened = hoard.open(directory, "f", create=False)
        assert (opened.status, hoard.close_file(opened)) == ("OK", "OK")
        closed += 1
    result, took[count] = min(timed("77") for _ in range(2))
    equal(f"{count} closed files: a release", result, "ok")
print(f"# seconds: {took}")
check("its cost is linear", took[500] < 0.1 + 12 * took[100], took)

# Strangers that come and go meanwhile, and clients that open. A stateid is in its client's table before
# nfsd has written anything into it: who looks may find it like that.
workers = {}
for tag in ("stranger-a", "stranger-b", "stranger-c", "opener-a", "opener-b"):
    # pylint: disable-next=consider-using-with
    workers[tag] = subprocess.Popen([sys.executable, __file__, host.server_ip, host.netns, tag], stdout=subprocess.PIPE,
                                    text=True)
time.sleep(2)
results = [timed("78") for _ in range(3)]
equal("while strangers come and go: a release", [result for result, _ in results], ["ok"] * 3)
looks = []
while any(worker.poll() is None for worker in workers.values()):
    began = time.monotonic()
    read("nfs4_clients")
    looks.append(time.monotonic() - began)
did = {tag: int(worker.communicate(timeout=patience(60))[0]) for tag, worker in workers.items()}
print(f"# {did}; releases took {[round(took, 2) for _, took in results]}, a look {max(looks):.2f} s, {len(looks)} of them")
check("each is over in a second", max(took for _, took in results) < patience(1), results)
check("so is a look", max(looks) < patience(1), max(looks))
# Enough to be in the way; on a host that does something else they come more slowly.
MANY = 30 / SLOW
check("many came", sum(did[tag] for tag in did if tag.startswith("stranger")) > MANY, did)
check("many looks, and many opens", min(len(looks), did["opener-a"]) > MANY, (len(looks), did))
done()
