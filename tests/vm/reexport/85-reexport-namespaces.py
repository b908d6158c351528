#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: once=yes timeout=240 mem=1024 module=ship
"""An original server, a mount of it and the server that exports that again, each in another net namespace. And a client of
that which is alone, and gone."""

import time

import one_machine
from ktap import check, done, equal
from nfs import Client, Server, load, sh, switch_off, succeeds, wait_until
from nfs4 import Nfs4
from one_machine import EDGE, originals

LEASE = 10


def locks():
    """How many locks there are: of the original server, the edge and the client."""
    with open("/proc/locks", encoding="ascii") as f:
        return sum(" POSIX " in line for line in f)


original = one_machine.original()
load("reexport=1")
sh("ip netns add edge; ip -n edge link set lo up")
one_machine.mount()
check("no server runs where it is mounted, and one elsewhere has nobody to wait for: all is said to be reclaimed",
      one_machine.is_told(), originals("complete"))
edge = Server("edge", EDGE, "/var/lib/nfs/nfsdcld-edge", lease=LEASE, tmpfs=False)
one_machine.serve(edge)
client = Client("c", "4.2", server_netns="edge")
client.mount()
holder = client.holder()
equal("a client of that one locks", holder.write(), "ok")
equal("and is known to use the original server", originals("reexported"), ["yes"])
equal("which has the lock, beside the edge's and the client's own", locks(), 3)
holder.stop()
client.umount()

lone = Nfs4(1, client.server_ip, "lone-client", netns=client.netns)
lone.establish()
lone.reclaim_complete()
equal("one that is alone locks", lone.lock(lone.open(lone.path("/"), "lone")).status, "OK")
lone.close()
began = time.monotonic()
gone = wait_until(lambda: locks() == 0, 6 * LEASE, 0.5)
took = time.monotonic() - began
print(f"# its lock went after {took:.1f} s, with a lease of {LEASE} s", flush=True)
check("it goes, and nobody else asks for anything: its lock goes, too, after two leases or so", gone and took < 3 * LEASE, took)

client.mount()
holder = client.holder()
check("the module is switched off with all of that in use", switch_off())
equal("the client goes on", holder.write(), "ok")
holder.stop()
client.umount()
edge.stop()
original.stop()
check("and unloaded", wait_until(lambda: succeeds("rmmod nfsd_ha"), 60))
done()
