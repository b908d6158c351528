#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""A server of 38-move-nlm.scenario and of the demo: with NFSv3, and an export with two addresses.

Who its NLM clients are is recorded on the small disk, which moves with it and is not exported.
"""

import base64
import os
import signal
import socket
import subprocess

import conductor
import move
from failover import CONTROL, GRACE, PORT, write
from nfs import sh

ADDRESSES = ("10.77.0.50", "fd77::50")
AT = {"10.77.0.50": "10.77.0.50/24@eth0", "fd77::50": "fd77::50/64@eth0"}
HOME = {"a": "fd77::1/64", "b": "fd77::2/64"}


class Node(move.Node):
    """Such a server."""

    def start(self):
        """Starts all that a server of NFSv3 runs, too."""
        sh("sysctl -q net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.eth0.disable_ipv6=0; "
           f"ip addr add {HOME[self.name]} dev eth0 nodad; rpcbind -w; rpc.statd --no-notify")
        super().start()
        write(f"{CONTROL}/floating_addresses", ADDRESSES[1])
        # NFSv3 is asked by path, and so are its clients' mounts.
        sh("pkill rpc.mountd; rpc.mountd")
        shared = self.shared["ha"]
        sh(f"ln -sfn {shared.meta}/nsm {move.MOVES}/{shared.fsid}")
        self.background("/test/nfsd-ha record")

    @staticmethod
    def start_nfsd(grace=GRACE):
        """Starts nfsd with NFSv3, and lockd."""
        write("/proc/sys/fs/nfs/nlm_grace_period", grace)
        write("/proc/sys/fs/nfs/nlm_tcpport", PORT)
        # As long as both are, an export that has left may come back from a server that has crashed, with its list. nfsd's
        # own grace period ends when all on record have reclaimed.
        for name in ("nfsv4leasetime", "nfsv4gracetime"):
            write(f"{CONTROL}/{name}", 3 * grace)
        sh(f"rpc.nfsd -S {move.SCOPE} 8")

    def serve(self, name):
        """The first time: makes what is on the disks, and serves it by both addresses."""
        shared = self.shared[name]
        shared.mount()
        sh(f"install -d -m 700 {shared.meta}/nsm; chmod 1777 {shared.path}")
        self.come(shared)

    def resume(self, name):  # pylint: disable=arguments-differ
        """Serves what it served before its reset, whose clients it has on its own record."""
        self.shared[name].mount()
        self.come(self.shared[name])

    def come(self, shared):
        """The export and both addresses come."""
        shared.export()
        for address in AT.values():
            place, device = address.split("@")
            sh(f"ip addr add {place} dev {device} {'nodad' if ':' in place else ''}")

    def leave(self, name):
        """It leaves with both addresses; the steps' times, and the list."""
        shared = self.shared[name]
        steps = self.moved("move-out", shared.path, "--address", *ADDRESSES)
        with open(shared.list, "rb") as f:
            steps["list"] = base64.b64encode(f.read()).decode()
        sh(f"umount {shared.meta}")
        return steps

    def leave_until(self, name, last):
        """It begins to leave, and stops when a step is done: which are done."""
        return until(last, "move-out", self.shared[name].path, "--address", *ADDRESSES)

    def take_until(self, name, last, clients):
        """It begins to come, and stops when a step is done: which are done."""
        shared = self.shared[name]
        shared.mount_meta()
        with open("/run/clients", "wb") as f:
            f.write(base64.b64decode(clients))
        return until(last, "move-in", shared.path, "--address", *AT.values(), "--list", "/run/clients")

    def leave_again(self, name):
        """After a reset: the same command once more."""
        steps = self.moved("move-out", self.shared[name].path, "--address", *ADDRESSES)
        with open(self.shared[name].list, "rb") as f:
            steps["list"] = base64.b64encode(f.read()).decode()
        return steps

    def turn_back(self, name):
        """After a reset: it stays."""
        self.shared[name].mount_meta()
        return self.moved("move-out", self.shared[name].path, "--undo")

    def take(self, name, seconds, clients):  # pylint: disable=arguments-differ
        """It comes with both addresses, and the list of its clients."""
        self.shared[name].mount_meta()
        return self.bring(name, seconds, "--list", "-", input=base64.b64decode(clients).decode())

    def recover(self, name, seconds, crashed):
        """It comes from a server that has crashed, with what that server's daemon and the recorder knew."""
        shared = self.shared[name]
        shared.mount_meta()
        sh(f"mkdir -p /mnt/crashed; mount /dev/disk/own-{crashed} /mnt/crashed")
        steps = self.bring(name, seconds, "--database", "/mnt/crashed/nfsdcld", "--export", shared.spec)
        sh("umount /mnt/crashed")
        return steps

    def bring(self, name, seconds, *words, **more):
        """Runs move-in with both addresses; the steps' times."""
        return self.moved("move-in", self.shared[name].path, "--address", *AT.values(), "--grace", seconds, *words, **more)


def until(last, *words):
    """Runs nfsd-ha, and stops it when a step is done: which are done."""
    # pylint: disable-next=consider-using-with
    process = subprocess.Popen(["/test/nfsd-ha", *words], stdout=subprocess.PIPE, text=True,
                               env=os.environ | {"NFSD_HA_DATABASE": move.STATE})
    done = []
    while last not in done:
        line = process.stdout.readline()
        assert line, f"it has ended after {done}"
        done.append(line.split()[0])
    process.send_signal(signal.SIGSTOP)
    return done


server = socket.gethostname()
node = Node(server)
node.start()
conductor.serve(server, node)
