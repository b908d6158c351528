#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: timeout=1200 smp=1 icount=yes module=ship mem=1024
"""What `reexport=1` costs reads and writes through a re-export server, and how many locks a second it passes on: instructions,
not time. The original server is in a net namespace of its own, and runs with the module, or without, as the other one does."""

from bench import OURS, QUICK, STOCK, attach, report
from ktap import check, done
from load import load
from nfs import Server, sh, wait_until

ROUNDS, SECONDS = (1, 0.5) if QUICK else (5, 2)
IO = "session,complete,open,"

sh("modprobe nfsd; modprobe nfsv4; ip netns add orig; ip link add o-near type veth peer name o-far netns orig; "
   "ip addr add 10.9.9.2/24 dev o-near; ip link set o-near up; "
   "ip -n orig addr add 10.9.9.1/24 dev o-far; ip -n orig link set o-far up; ip -n orig link set lo up")
original = Server(netns="orig", directory="/srv/orig", state="/var/lib/nfsdcld-orig", lease=90, grace=10)
original.set_up()
original.start_daemon()
original.start()
sh("mkdir -p /srv/orig/a; chmod 1777 /srv/orig/a")
assert wait_until(lambda: not original.in_grace(), 30)
edge = Server(directory="/srv/edge", tmpfs=False, lease=90, grace=10)
edge.set_up()
sh("mount -t nfs -o vers=4.2 10.9.9.1:/ /srv/edge")
edge.start_daemon()
edge.start()
sh("exportfs -o rw,fsid=0,no_root_squash,no_subtree_check,insecure '*:/srv/edge'")
assert wait_until(lambda: not edge.in_grace(), 30)
for turn in range(ROUNDS):
    for side in (STOCK, OURS):
        attach(side, "reexport=1")
        for row, before, loop in (("reexport-io", IO, "io-loop"), ("reexport-open", "session,complete,", "open-loop"),
                                  ("reexport-lock", IO, "lock-loop")):
            if row == "reexport-lock" and side == STOCK:
                continue
            # The first one finds cold caches.
            load(before + loop, 4, 4, seconds=0.2, prefix="edge-", export="/a")
            steps = load(before + loop, 4, 4, seconds=SECONDS, prefix="edge-", export="/a")
            report(row, side, steps[loop]["rate"], unit="/s")
check("reads, writes, opens and locks were counted", True)
done()
