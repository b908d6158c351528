#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The clients of 48-move-cut.scenario: NFSv3, 4.0 and 4.2, while the power of the server that their export leaves is cut."""

import os
import time

import harness
from conductor import Servers
from failover import GRACE
from ktap import check, done, equal
from nfs import Holder, sh, wait_until

MOUNTS = ((3, "10.77.0.50"), (3, "[fd77::50]"), ("4.0", "10.77.0.50"), ("4.2", "[fd77::50]"))
MOVE_GRACE = str(40)

sh("modprobe nfsv4; modprobe nfs; modprobe nfsv3; sysctl -q kernel.hung_task_timeout_secs=0; "
   "sysctl -q net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.eth0.disable_ipv6=0; "
   "ip addr add fd77::9/64 dev eth0 nodad; rpcbind -w; rpc.statd --no-notify")
servers = Servers("ab")
servers.ask("a", "serve", "ha")
time.sleep(GRACE)  # the servers' first grace period
holders = []
for version, address in MOUNTS:
    path = f"/mnt/{version}-{'six' if ':' in address else 'four'}"
    os.makedirs(path)
    sh(f"mount -t nfs -o vers={version},hard {address}:{'/srv/ha' if version == 3 else '/ha'} {path}")
    holders.append(Holder(f"{path}/{os.path.basename(path)}"))
wanted = sorted(os.path.basename(holder.path) for holder in holders)


def all_write(what, server):
    """All clients write under their locks, which the server has, also when the grace period is over."""
    for holder in holders:
        holder.ask()
    equal(f"{what}: all write", [holder.answer() for holder in holders], ["ok"] * len(holders))
    check(f"{what}: the grace period ends", wait_until(lambda: not servers.ask(server, "graced"), 60, 0.5))
    files = sorted({line.split()[0] for line in servers.ask(server, "locked", "ha")})
    equal(f"{what}: the server has all locks", files, wanted)


all_write("at first", "a")

# Nothing is away yet, and a has forgotten who held what when it is asked again.
what = "cut after prepare, and the same command"
print(f"# {what}: {servers.ask('a', 'leave_until', 'ha', 'prepare')} were done")
servers.boot("a", "one")
check(f"{what}: after a's own grace period", wait_until(lambda: not servers.ask("a", "in_grace"), 60, 0.5))
left = servers.ask("a", "leave_again", "ha")
clients = left.pop("list")
print(f"# a: {left}\n# b: {servers.ask('b', 'take', 'ha', MOVE_GRACE, clients)}")
all_write(what, "b")

what = "cut after release, and the way back"
print(f"# {what}: {servers.ask('b', 'leave_until', 'ha', 'release')} were done")
servers.boot("b", "two")
print(f"# b: {servers.ask('b', 'turn_back', 'ha')}")
all_write(what, "b")

what = "cut after list, and the other server takes over from the database"
print(f"# {what}: {servers.ask('b', 'leave_until', 'ha', 'list')} were done")
harness.kill("b")
print(f"# a: {servers.ask('a', 'recover', 'ha', MOVE_GRACE, 'b')}")
all_write(what, "a")
servers.boot("b", "three")

equal("no client has lost a lock", sh("dmesg | grep -i 'lost\\|failed to reclaim'", check=False), "")
for holder in holders:
    holder.stop()
    sh(f"umount {os.path.dirname(holder.path)}")
servers.end()
done()
