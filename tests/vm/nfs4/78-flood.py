#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: once=yes timeout=180 module=load
"""A release, and a look at the lists, while strangers come and go, and after a client has closed many files."""

import subprocess
import sys
import time

from control import read, release
from fullserver import FullServer, RawHost
from ktap import check, done, equal
from nfs import patience
from nfs4 import Nfs4


def come_and_go(server, netns, tag, seconds):
    """Clients without any state, one after the other; how many."""
    end, count = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        one = Nfs4(1, server, f"{tag}-{count}", netns=netns)
        one.establish()
        one.reclaim_complete()
        one.close()
        count += 1
    return count


if len(sys.argv) > 3:
    print(come_and_go(sys.argv[1], sys.argv[2], sys.argv[3], 12))
    sys.exit(0)

server = FullServer(grace=10)
server.set_up()
server.start()
host = RawHost()
server.end_grace()
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

# Strangers that come and go meanwhile.
workers = []
for tag in "abcd":
    # pylint: disable-next=consider-using-with
    workers.append(subprocess.Popen([sys.executable, __file__, host.server_ip, host.netns, tag], stdout=subprocess.PIPE,
                                    text=True))
time.sleep(4)
results = [timed("78") for _ in range(3)]
equal("while strangers come and go: a release", [result for result, _ in results], ["ok"] * 3)
began = time.monotonic()
read("nfs4_clients")
looked = time.monotonic() - began
came = sum(int(worker.communicate(timeout=patience(60))[0]) for worker in workers)
print(f"# {came} came; releases took {[round(took, 2) for _, took in results]}, a look {looked:.2f} s")
check("each is over in a second", max(took for _, took in results) < patience(1), results)
check("so is a look", looked < patience(1), looked)
check("many came", came > 100, came)
done()
