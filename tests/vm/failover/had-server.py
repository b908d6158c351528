#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""A server of 89-crash-had.scenario: as those of 38-move-nlm, with nfsd-had in place of nfsdcld and of `nfsd-ha record`."""

import json
import os
import socket

import conductor
import move
from failover import CONTROL, GRACE, PORT, write
from nfs import sh

ADDRESSES = ("10.77.0.50", "fd77::50")
PLACES = ("10.77.0.50/24@eth0", "fd77::50/64@eth0")
HOME = {"a": "fd77::1/64", "b": "fd77::2/64"}
# On each server's own disk, which the other one can mount when it has crashed.
move.STATE = move.MOVES


class Node(move.Node):
    """Such a server."""

    def start(self):
        """Starts all that a server of NFSv3 and 4 runs."""
        sh("modprobe nfsd; sysctl -q fs.leases-enable=0 net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.eth0.disable_ipv6=0; "
           f"ip addr add {HOME[self.name]} dev eth0 nodad; mount -t tmpfs -o mode=755 tmpfs /srv; "
           f"mkdir -p /srv/ha /srv/local; mount /dev/disk/own-{self.name} /srv/local; "
           f"mkdir -p -m 700 /srv/local/nfsd-ha {move.MOVES}; mount --bind /srv/local/nfsd-ha {move.MOVES}; "
           "echo /dev/disk/ha /srv/ha auto noauto 0 0 >>/etc/fstab; rpcbind -w; rpc.statd --no-notify; rpc.mountd")
        self.mount_control()
        self.background("/test/nfsd-had")
        for address in ADDRESSES:
            write(f"{CONTROL}/floating_addresses", address)
        sh("exportfs -o ro,fsid=0,no_subtree_check *:/srv")
        write("/proc/sys/fs/nfs/nlm_grace_period", GRACE)
        write("/proc/sys/fs/nfs/nlm_tcpport", PORT)
        for name in ("nfsv4leasetime", "nfsv4gracetime"):
            write(f"{CONTROL}/{name}", GRACE)
        sh(f"rpc.nfsd -S {move.SCOPE} 8")

    def serve(self, name):
        """The first time: makes what is on the disk, and serves it by both addresses."""
        shared = self.shared[name]
        sh(f"mount {shared.path}; chmod 1777 {shared.path}")
        shared.export()
        for place in PLACES:
            address, device = place.split("@")
            sh(f"ip addr add {address} dev {device} {'nodad' if ':' in address else ''}")

    def recover(self, name, seconds, crashed):
        """It comes from a server that has crashed, with what that server's nfsd-had knew."""
        shared = self.shared[name]
        sh(f"mkdir -p /mnt/crashed; mount /dev/disk/own-{crashed} /mnt/crashed")
        steps = self.moved("move-in", shared.path, "--address", *PLACES, "--grace", seconds,
                           "--database", "/mnt/crashed/nfsd-ha", "--export", shared.spec)
        sh("umount /mnt/crashed")
        return steps

    def end_grace(self):
        """Ends what is in grace here: all have come."""
        for line in self.graced().splitlines():
            write(f"{CONTROL}/fsid_grace", f"{line.split()[0]} 0")

    @staticmethod
    def on_record():
        """What nfsd-had has on record: clients of NFSv4, of NLM by address, and to where somebody is connected."""
        nfs4, nlm, connections = (json.loads(move.must("--json", "records", "list", *words))
                                  for words in ((), ("--nlm",), ("--connections",)))
        return {"nfs4": len(nfs4), "nlm": sorted({one["server"] for one in nlm if one["fsid"] == "1234"}),
                "connections": sorted(one["server"] for one in connections if one["server_port"] == 2049),
                "lists": sorted(set(os.listdir(move.MOVES)) & {"1234"})}


server = socket.gethostname()
node = Node(server)
node.start()
conductor.serve(server, node)
