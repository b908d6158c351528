# SPDX-License-Identifier: GPL-2.0
"""Clients of NFSv3, 4.0 and 4.2 of one export, by an address of IPv4 and one of IPv6, with files that they have locked."""

import os
import time

from conductor import Servers
from failover import GRACE
from ktap import equal
from nfs import Holder, sh

MOUNTS = ((3, "10.77.0.50"), (3, "[fd77::50]"), ("4.0", "10.77.0.50"), ("4.2", "[fd77::50]"))


class Mounted:
    """This machine's mounts of `ha`, which server a serves at first, and who holds locks there."""

    def __init__(self, count):
        """Each mount has `count` files."""
        sh("modprobe nfsv4; modprobe nfs; modprobe nfsv3; sysctl -q kernel.hung_task_timeout_secs=0; "
           "sysctl -q net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.eth0.disable_ipv6=0; "
           "ip addr add fd77::9/64 dev eth0 nodad; rpcbind -w; rpc.statd --no-notify")
        self.servers = Servers("ab")
        self.servers.ask("a", "serve", "ha")
        time.sleep(GRACE)  # the servers' first grace period
        self.holders, self.files = [], []
        for version, address in MOUNTS:
            name = f"{version}-{'six' if ':' in address else 'four'}"
            os.makedirs(f"/mnt/{name}")
            source = "/srv/ha" if version == 3 else "/ha"
            sh(f"mount -t nfs -o vers={version},hard {address}:{source} /mnt/{name}")
            for number in range(count):
                self.holders.append(Holder(f"/mnt/{name}/{name}-{number}"))
                self.files.append(f"{name}-{number}")
        self.files.sort()

    def answers(self):
        """All write; what they say of it."""
        for holder in self.holders:
            holder.ask()
        return [holder.answer() for holder in self.holders]

    def locked(self, server):
        """The files of which something is locked on a server."""
        return sorted({line.split()[0] for line in self.servers.ask(server, "locked", "ha")})

    def end(self):
        """Has all of them end, who have lost nothing."""
        equal("no client has lost a lock", sh("dmesg | grep -i 'lost\\|failed to reclaim'", check=False), "")
        for holder in self.holders:
            holder.stop()
        for mount in {os.path.dirname(holder.path) for holder in self.holders}:
            sh(f"umount {mount}")
        self.servers.end()
