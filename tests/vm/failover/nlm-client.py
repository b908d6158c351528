#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The clients of 38-move-nlm.scenario: NFSv3, 4.0 and 4.2 by two addresses, while their export moves, and back.

Then the power of its server is cut.
"""

import os
import time

import harness
from conductor import Servers
from failover import GRACE
from ktap import check, done, equal
from nfs import Holder, sh, wait_until

MOUNTS = ((3, "10.77.0.50"), (3, "[fd77::50]"), ("4.0", "10.77.0.50"), ("4.2", "[fd77::50]"))
FILES = 3
MOVE_GRACE = 40

sh("modprobe nfsv4; modprobe nfs; modprobe nfsv3; sysctl -q kernel.hung_task_timeout_secs=0; "
   "sysctl -q net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.eth0.disable_ipv6=0; "
   "ip addr add fd77::9/64 dev eth0 nodad; rpcbind -w; rpc.statd --no-notify")
servers = Servers("ab")
servers.ask("a", "serve", "ha")
time.sleep(GRACE)  # the servers' first grace period
holders, wanted = {}, []
for version, address in MOUNTS:
    name = f"{version}-{'six' if ':' in address else 'four'}"
    path = f"/mnt/{name}"
    os.makedirs(path)
    source = "/srv/ha" if version == 3 else "/ha"
    sh(f"mount -t nfs -o vers={version},hard {address}:{source} {path}")
    for number in range(FILES):
        holders[f"{name}-{number}"] = Holder(f"{path}/{name}-{number}")
        wanted.append(f"{name}-{number}")


def locked(server):
    """The files of which something is locked."""
    return sorted({line.split()[0] for line in servers.ask(server, "locked", "ha")})


equal(f"{len(wanted)} files are locked by NFSv3, 4.0 and 4.2, with IPv4 and IPv6", locked("a"), sorted(wanted))
for source, target in ("ab", "ba"):
    what = f"from {source} to {target}"
    for holder in holders.values():
        holder.ask()
    equal(f"{what}: all write", {holder.answer() for holder in holders.values()}, {"ok"})
    left = servers.ask(source, "leave", "ha")
    taken = servers.ask(target, "take", "ha", str(MOVE_GRACE), left.pop("list"))
    print(f"# {source}: {left}\n# {target}: {taken}")
    away = sum(left["seconds"][step] for step in ("address", "list", "unexport", "release")) + sum(
        taken["seconds"][step] for step in ("takeover", "export", "address"))
    print(f"# {what}: without umount and mount, the steps took {away:.2f} s")
    check(f"{what}: both NLM clients were told", "2 of 2 NLM clients told" in taken["what"]["clients"], taken)
    for holder in holders.values():
        holder.ask()
    equal(f"{what}: all write again", {holder.answer() for holder in holders.values()}, {"ok"})
    check(f"{what}: all have their locks", wait_until(lambda: locked(target) == sorted(wanted), 30, 0.5), locked(target))
    check(f"{what}: the grace period ends when they have", wait_until(lambda: not servers.ask(target, "graced"), 10, 0.5))
    check(f"{what}: the server has the locks then", locked(target) == sorted(wanted), locked(target))
for holder in holders.values():
    holder.ask()
equal("a crash of a: all write", {holder.answer() for holder in holders.values()}, {"ok"})
harness.kill("a")
taken = servers.ask("b", "recover", "ha", str(MOVE_GRACE), "a")
print(f"# b: {taken}")
check("both NLM clients were told, as they are on record", "2 of 2 NLM clients told" in taken["what"]["clients"], taken)
for holder in holders.values():
    holder.ask()
equal("all write again", {holder.answer() for holder in holders.values()}, {"ok"})
check("all have their locks", wait_until(lambda: locked("b") == sorted(wanted), 30, 0.5), locked("b"))
servers.boot("a", "again")
equal("no client has lost a lock", sh("dmesg | grep -i 'lost\\|failed to reclaim'", check=False), "")
for holder in holders.values():
    holder.stop()
for mount in {os.path.dirname(holder.path) for holder in holders.values()}:
    sh(f"umount {mount}")
servers.end()
done()
