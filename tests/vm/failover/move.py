# SPDX-License-Identifier: GPL-2.0
"""A server of a pair, of which either can serve NFSv4 clients each of the exports that move."""

import base64
import json
import os
import subprocess
import time
from collections import namedtuple

import failover
import recorders
from failover import CONTROL, GRACE, write
from nfs import SLOW, sh, succeeds, unload, wait_until
from record import record
from tickle import Tickle

# What moves: a file system on a disk of its own, with an address.
Export = namedtuple("Export", "name fsid address")
EXPORTS = {"ha": Export("ha", 1234, "10.77.0.50"), "hb": Export("hb", 4321, "10.77.0.51")}
# The exports that stay.
FSIDS = {"a": 5678, "b": 9999}
# Each server's disk has its daemon's database, which the other one can read when it has crashed.
STATE = "/srv/local/nfsdcld"
SCOPE = "nfs-ha"
# Seconds for an export that comes. A client that waits for a lock meanwhile looks after 0.1, 0.3, 0.7, 1.5, 3.1, 6.3
# and 12.7 seconds, and only then after 25.5.
MOVE_GRACE = 10 * SLOW


# Where nfsd-ha keeps what it knows of a move; on each server's own disk, as a reset here forgets all else.
MOVES = "/var/lib/nfsd-ha"


def tool(*words, **more):
    """nfsd-ha: its exit status, and what it prints, with what it warns of."""
    env = os.environ | {"NFSD_HA_DATABASE": STATE}
    done = subprocess.run(["/test/nfsd-ha", *words], check=False, text=True, capture_output=True, env=env, **more)
    return done.returncode, done.stdout, done.stderr.strip()


def must(*words, **more):
    """Runs nfsd-ha, which must succeed; what it prints."""
    status, out, err = tool(*words, **more)
    assert status == 0, (words, status, out, err)
    return out


class Shared:
    """An export that moves, as a server sees it. Who is connected is on another disk, which moves with it."""

    def __init__(self, export):
        self.name, self.fsid, self.address = export
        self.path, self.meta = f"/srv/{self.name}", f"/srv/meta-{self.name}"
        self.spec = f"*:{self.path}(rw,fsid={self.fsid},no_root_squash,no_subtree_check)"
        self.list = f"{MOVES}/moves/srv-{self.name}.list"
        self.tickle = Tickle(self.address, f"{self.meta}/connections")

    def mount(self):
        """Mounts its disks."""
        sh(f"mount /dev/disk/{self.name} {self.path}; mount /dev/disk/meta-{self.name} {self.meta}")

    def unmount(self):
        """Unmounts them; whether that could be done."""
        return all(succeeds(f"umount {path}") for path in (self.path, self.meta) if os.path.ismount(path))

    def export(self):
        """Exports it."""
        sh(f"exportfs -o rw,fsid={self.fsid},no_root_squash,no_subtree_check *:{self.path}")

    def mount_meta(self):
        """Mounts the small disk only."""
        sh(f"mountpoint -q {self.meta} || mount /dev/disk/meta-{self.name} {self.meta}")


def locked(path):
    """The ranges that are locked of the files in a directory, each after the file's name."""
    names = {os.stat(entry.path).st_ino: entry.name for entry in os.scandir(path)}
    device = os.stat(path).st_dev
    # nfsdcld's database has locks of its own.
    state = [os.stat(entry.path) for entry in os.scandir(STATE)]
    others = {st.st_ino for st in state if st.st_dev == device}
    place = f"{os.major(device):02x}:{os.minor(device):02x}:"
    found = []
    with open("/proc/locks", encoding="ascii") as f:
        for words in map(str.split, f):
            if "->" not in words and words[5].startswith(place):
                inode = int(words[5].removeprefix(place))
                if inode not in others:
                    found.append(f"{names.get(inode, inode)} {words[6]}-{words[7]}")
    return sorted(found)


def records(path):
    """How many records each file in a directory has, or at which one it is damaged."""
    counts = {}
    for entry in os.scandir(path):
        if entry.is_file():
            with open(entry.path, encoding="ascii", errors="replace") as f:
                lines = list(f)
            wrong = [number for number, line in enumerate(lines) if line != record(number)]
            counts[entry.name] = f"damaged at {wrong[0]} of {len(lines)}" if wrong else len(lines)
    return counts


class Node(failover.Node):
    """A server with an export of its own, and at times others."""

    def __init__(self, name):
        super().__init__(name, FSIDS[name])
        self.shared = {name: Shared(export) for name, export in EXPORTS.items()}

    def start(self):
        """Starts all that a server runs, with an export that never moves."""
        places = " ".join(f"{shared.path} {shared.meta}" for shared in self.shared.values())
        sh(f"modprobe nfsd; mount -t tmpfs -o mode=755 tmpfs /srv; mkdir -p {places} /srv/local; "
           f"mount /dev/disk/own-{self.name} /srv/local; chmod 1777 /srv/local; mkdir -p {STATE}; "
           "sysctl -q fs.leases-enable=0")
        sh(f"mkdir -p -m 700 /srv/local/nfsd-ha {MOVES}; mount --bind /srv/local/nfsd-ha {MOVES}")
        with open("/etc/fstab", "a", encoding="ascii") as f:
            for shared in self.shared.values():
                f.write(f"/dev/disk/{shared.name} {shared.path} auto noauto 0 0\n")
        self.mount_control()
        recorders.Nfsdcld(STATE).set_journal()
        self.background(f"nfsdcld -F -s {STATE}")
        for shared in self.shared.values():
            write(f"{CONTROL}/floating_addresses", shared.address)
        sh("rpc.mountd -N 3; exportfs -o ro,fsid=0,no_subtree_check *:/srv; "
           f"exportfs -o rw,fsid={self.fsid},no_root_squash,no_subtree_check *:/srv/local")
        self.start_nfsd(GRACE)

    @staticmethod
    def start_nfsd(grace=GRACE):
        """Starts nfsd without NFSv3. Both servers have one scope."""
        for name in ("nfsv4leasetime", "nfsv4gracetime"):
            write(f"{CONTROL}/{name}", grace)
        sh(f"rpc.nfsd -N 3 -S {SCOPE} 8")

    def restart(self):
        """Restarts nfsd, so that all of the server is in grace."""
        sh("rpc.nfsd 0")
        self.start_nfsd()

    def serve(self, name):
        """The first time: makes what is on the disk, and serves it."""
        self.resume(name, lambda: sh(f"chmod 1777 {self.shared[name].path}"))

    def resume(self, name, prepare=lambda: None):
        """Serves what it served before its reset, whose clients it has on its own record."""
        shared = self.shared[name]
        shared.mount()
        prepare()
        shared.export()
        self.add_address(shared.address)
        shared.tickle.watch()

    def leave(self, name):
        """An export leaves this server. Returns the steps' times, when in them the address went, and the list."""
        shared = self.shared[name]
        began = time.monotonic()
        shared.tickle.stop()
        steps = self.moved("move-out", shared.path, "--address", shared.address)
        after = time.monotonic() - began
        with open(shared.list, "rb") as f:
            steps["list"], steps["seconds"]["all"] = base64.b64encode(f.read()).decode(), round(after, 2)
        # Nobody waits for this one.
        sh(f"umount {shared.meta}")
        steps["gone"] = after - sum(steps["seconds"][step] for step in ("list", "unexport", "release", "umount"))
        return steps

    @staticmethod
    def moved(*words, **more):
        """Runs a step of a move, which must succeed: the time of each part, and what it says."""
        said = json.loads(must("--json", *words, **more))
        return {"seconds": {step["name"]: round(step["seconds"], 3) for step in said["steps"]},
                "what": {step["name"]: step["what"] for step in said["steps"]}}

    @staticmethod
    def wait_for_umount(shared):
        """Unmounts as soon as that can be done."""
        assert wait_until(shared.unmount, 10, 0.05), f"{shared.path} cannot be unmounted"

    def take(self, name, seconds=str(MOVE_GRACE), clients=""):
        """An export comes to this server, with the list of its clients. Without one, it has come before."""
        more = {"input": base64.b64decode(clients).decode()} if clients else {}
        return self.bring(name, seconds, *(["--list", "-"] if clients else []), **more)

    def recover(self, name, seconds, crashed):
        """An export comes from a server that has crashed, with what its daemon knew."""
        shared = self.shared[name]
        shared.mount_meta()
        sh(f"mkdir -p /mnt/crashed; mount /dev/disk/own-{crashed} /mnt/crashed")
        steps = self.bring(name, seconds, "--database", "/mnt/crashed/nfsdcld", "--export", shared.spec,
                           "--connections", shared.tickle.path)
        sh("umount /mnt/crashed")
        return steps

    def bring(self, name, seconds, *words, **more):
        """Runs move-in. Returns the steps' times, and for how long the address is here."""
        shared = self.shared[name]
        began = time.monotonic()
        steps = self.moved("move-in", shared.path, "--address", f"{shared.address}/24@eth0", "--grace", seconds, *words,
                           **more)
        steps["seconds"]["all"] = round(time.monotonic() - began, 2)
        shared.mount_meta()
        shared.tickle.watch()
        steps["here"] = time.monotonic() - began - sum(
            steps["seconds"][step] for step in ("mount", "takeover", "export", "address"))
        return steps

    def come(self, shared):
        """The address and with it the clients come."""
        self.step("address", lambda: self.add_address(shared.address))
        self.step("export", shared.export)
        self.step("tickle", shared.tickle.send)
        shared.tickle.watch()

    def stock_leave(self, name):
        """The same with what a stock kernel has."""
        shared = self.shared[name]
        self.steps = {}
        self.step("connections", shared.tickle.end)
        self.step("address", f"ip addr del {shared.address}/24 dev eth0")
        self.step("unexport", f"exportfs -u *:{shared.path}")
        self.step("unlock", lambda: write(f"{CONTROL}/unlock_filesystem", shared.path))
        self.step("umount", lambda: self.wait_for_umount(shared))
        return {"seconds": self.steps, "gone": self.steps["connections"] + self.steps["address"], "list": ""}

    def stock_take(self, name):
        """The same with what a stock kernel has."""
        shared = self.shared[name]
        self.steps = {}
        self.step("mount", shared.mount)
        self.come(shared)
        return {"seconds": self.steps, "here": self.steps["export"] + self.steps["tickle"]}

    @staticmethod
    def detach():
        """From now on, this is a stock kernel: its server starts anew, without the module."""
        sh("rpc.nfsd 0")
        unload()
        Node.start_nfsd()

    @staticmethod
    def locked(name):
        """The ranges of an export's files that are locked."""
        return locked(f"/srv/{name}")

    @staticmethod
    def records(name):
        """How many records an export's files have."""
        return records(f"/srv/{name}")

    @staticmethod
    def in_grace():
        """Is all of this server in grace?"""
        with open(f"{CONTROL}/v4_end_grace", encoding="ascii") as f:
            return f.read().strip() == "N"

    @staticmethod
    def listed():
        """How far each listed client is."""
        with open(f"{CONTROL}/reclaim_clients", encoding="ascii") as f:
            return [line.split()[-1] for line in f]

    @staticmethod
    def graced():
        """What is in grace."""
        with open(f"{CONTROL}/fsid_grace", encoding="ascii") as f:
            return f.read()
