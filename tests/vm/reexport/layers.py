# SPDX-License-Identifier: GPL-2.0
"""An original server, and a re-export server of what it has: each does what the conductor asks.

The words of a scenario's `arg=`: `4.1` for the version between the two, `stock` for a machine without the module, and
for a re-export server `late` for one whose nfsd starts when it is told, `twice` for one whose nfsd is started, stopped and
started again, and `beside` for one that has an export of another original server, too.
"""

import glob
import json
import os
import socket
import subprocess
import sys

import conductor
import end_client
import harness
import recorders
from nfs import SLOW, load, sh, succeeds, switch_off, wait_until
from v3 import answered

# An edge's power is cut several times in a row.
SEVERAL = any(word.startswith("cuts=") for word in sys.argv)
# Seconds. What an edge's end clients reclaim must be back at the original server within a lease of that after the edge's
# mount, two while they reclaim: time for two boots on a busy host. Nothing waits for that lease.
ORIGINAL_LEASE = (180 if SEVERAL else 90) * SLOW
EDGE_LEASE = (30 if SEVERAL else 15) * SLOW
# An end client that was not answered while an edge booted several times in a row comes late: Linux waits a lease at most for an
# answer to a connection, and half a lease before it tries again (nfs4_set_lease_period()).
EDGE_GRACE = 3 * EDGE_LEASE if SEVERAL else EDGE_LEASE
# lockd's ports, the same on all that serve NLM.
PORT = 4045
# The names of the original server's exports, and their fsid there.
EXPORTS = {"one": 1, "two": 2}
# What an edge has of another original server: its name there, its fsid here, and what it is there.
BESIDE = ("three", 13, "p:/one")
CONTROL = "/proc/fs/nfsd"
# Where nfsdcld has its records.
RECORDS = "/srv/disk/nfsdcld"


def write(path, text):
    """Writes to a file of the kernel."""
    with open(path, "w", encoding="ascii") as f:
        f.write(f"{text}\n")


class Node:
    """What both have: a disk for records, nfsd with NFSv3 and NFSv4, and processes that lock beside it."""

    lease = None

    def __init__(self, name):
        self.name, self.children = name, {}
        sh(f"mkdir -p /srv/disk; mount /dev/disk/own-{name} /srv/disk; mkdir -p {RECORDS} /srv/disk/nsm/sm "
           "/srv/disk/nsm/sm.bak /srv; touch /srv/disk/nsm/state; chown -R statd /srv/disk/nsm 2>/dev/null || true")

    def prepare(self):
        """Loads nfsd and what it needs."""
        sh("modprobe nfsd; modprobe nfsv4; mkdir -p /run/rpc_pipefs; mountpoint -q /proc/fs/nfsd || mount -t nfsd nfsd /proc/fs/nfsd; "
           "mountpoint -q /run/rpc_pipefs || mount -t rpc_pipefs rpc_pipefs /run/rpc_pipefs")

    def serve(self, exports, twice=False):
        """Starts all that a server runs; `twice` starts nfsd and stops it before, where nobody finds it."""
        recorder = recorders.Nfsdcld(RECORDS)
        recorder.set_journal()
        # pylint: disable-next=consider-using-with
        subprocess.Popen(recorder.command("/run/rpc_pipefs").split(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        write("/proc/sys/fs/nfs/nlm_tcpport", PORT)
        write("/proc/sys/fs/nfs/nlm_grace_period", EDGE_GRACE)
        for name, seconds in (("nfsv4leasetime", self.lease), ("nfsv4gracetime", self.grace)):
            write(f"{CONTROL}/{name}", seconds)
        sh("rpcbind -w; rpc.statd --no-notify -P /srv/disk/nsm; rpc.mountd")
        for path, options in exports.items():
            sh(f"exportfs -o rw,no_root_squash,no_subtree_check,{options} '*:{path}'")
        if twice:
            sh("rpc.nfsd -p 20490 8; sleep 1; rpc.nfsd 0")
        sh("rpc.nfsd 8")

    def load(self, *parameters):
        """Loads the module."""
        load(" ".join(parameters))

    def unload(self):
        """Switches the module off, and unloads it; whether both came to an end."""
        return switch_off() and wait_until(lambda: succeeds("rmmod nfsd_ha"), 60)

    def next_time(self, *words):
        """Words for the start after the next boot."""
        with open("/srv/disk/words", "w", encoding="ascii") as f:
            f.write(" ".join(words))
            f.flush()
            os.fsync(f.fileno())

    @staticmethod
    def told_before():
        """The words that the boot before has left."""
        try:
            with open("/srv/disk/words", encoding="ascii") as f:
                words = f.read().split()
            os.unlink("/srv/disk/words")
            return words
        except FileNotFoundError:
            return []

    def sh(self, *words):
        """Runs a command."""
        return sh(" ".join(words), check=False)

    def in_grace(self):
        """Is a grace period of this server not over?"""
        with open(f"{CONTROL}/v4_end_grace", encoding="ascii") as nfsd, \
                open("/proc/fs/lockd/nlm_end_grace", encoding="ascii") as lockd:
            return "N" in (nfsd.read(1), lockd.read(1))

    def locked(self):
        """What is locked, but for nfsdcld's database: the name of a file of the original server's exports, or `?`, and a
        range for each lock."""
        names = {os.stat(path).st_ino: os.path.basename(path) for path in glob.glob("/srv/disk/root/*/*")}
        database = {os.stat(path).st_ino for path in glob.glob(f"{RECORDS}/*")}
        with open("/proc/locks", encoding="ascii") as f:
            locks = [line.split() for line in f if " POSIX " in line and "->" not in line]
        inodes = [int(words[5].split(":")[2]) for words in locks]
        return sorted(f"{names.get(inode, '?')} {words[6]}-{words[7]}"
                      for inode, words in zip(inodes, locks) if inode not in database)

    def locker(self, name, *request):
        """Has a process of this machine lock or unlock: its answer, or nothing if it is waiting."""
        child = self.children.get(name) or self.children.setdefault(name, end_client.process())
        if request:
            path, kind, first, length, wait = request
            child.ask(path, kind, int(first), int(length), wait == "wait")
            if wait == "wait":
                return None
            return child.answer()
        return child.answer() if answered(child) else None


    def end_lockers(self):
        """Ends these processes."""
        for child in self.children.values():
            child.stop()
        self.children = {}


class Original(Node):
    """The original server, with two exports of one file system."""

    lease = grace = ORIGINAL_LEASE

    def start(self, words):
        """Starts it, with the module unless it is to be a stock server."""
        self.prepare()
        if "stock" not in words:
            self.load()
        sh("sysctl -q fs.leases-enable=1; mkdir -p -m 1777 /srv/disk/root/one /srv/disk/root/two; mkdir -p /srv/root; mount --bind /srv/disk/root /srv/root")
        exports = {"/srv/root": "fsid=0"}
        exports |= {f"/srv/root/{name}": f"fsid={fsid}" for name, fsid in EXPORTS.items()}
        self.serve(exports)


class Edge(Node):
    """A re-export server of both."""

    lease, grace = EDGE_LEASE, EDGE_GRACE

    def start(self, words):
        """Mounts what the original server has, and serves it."""
        version = next((word for word in words if word[0] == "4"), "4.2")
        # Requests may wait for an original server as long as the edge is in grace, two leases at most.
        sh(f"sysctl -q kernel.hung_task_timeout_secs={2 * EDGE_GRACE + 30}")
        if "stock" not in words:
            self.load("reexport=1")
        self.prepare()
        sh("mkdir -p /srv/root; mount -t tmpfs -o mode=755 tmpfs /srv/root")
        for name in EXPORTS:
            sh(f"mkdir -p /srv/root/{name}; mount -t nfs -o vers={version},timeo=50 o:/{name} /srv/root/{name}")
        if "beside" in words:
            name, _, source = BESIDE
            sh(f"mkdir -p /srv/root/{name}; mount -t nfs -o vers={version},timeo=50 {source} /srv/root/{name}")
        if "late" not in words:
            self.serve_all("twice" in words)

    def serve_all(self, twice=False):
        """Starts nfsd, and has NLM's clients told."""
        exports = {name: 10 + fsid for name, fsid in EXPORTS.items()} | dict([BESIDE[:2]])
        exports = {f"/srv/root/{name}": f"fsid={fsid}" for name, fsid in exports.items() if os.path.ismount(f"/srv/root/{name}")}
        self.serve({"/srv/root": "fsid=0"} | exports, twice)
        # Whom sm-notify had not reached when the power was cut, is in the second one.
        if os.listdir("/srv/disk/nsm/sm") or os.listdir("/srv/disk/nsm/sm.bak"):
            sh("sm-notify -P /srv/disk/nsm")

    def originals(self):
        """What the module says of original servers: the words of a line each, by what they mean."""
        if not os.path.exists(f"{CONTROL}/originals"):
            return []
        with open(f"{CONTROL}/originals", encoding="ascii") as f:
            names, *lines = [line.strip("# \n").split() for line in f]
        return [dict(zip(names, line)) for line in lines]

    def check(self):
        """What `nfsd-ha check` finds about re-export: the names of the faults."""
        result = subprocess.run(["/test/nfsd-ha", "check", "--json"], check=False, text=True, capture_output=True)
        names = {finding["id"] for finding in json.loads(result.stdout)["findings"]}
        return sorted(name for name in names if name.startswith("reexport"))

    def is_told(self):
        """Has every original server been told that all is reclaimed?"""
        return all(one["complete"] == "sent" for one in self.originals())

    def told(self):
        """Which are, by their names."""
        return sorted(one["server"] for one in self.originals() if one["complete"] == "sent")


def run(kind):
    """A machine of a scenario: starts, then does what it is told."""
    name = socket.gethostname()
    node = kind(name)
    words = sys.argv[1:] + node.told_before()
    if kind is Edge:
        for original in ("o", "p") if "beside" in words else ("o",):
            harness.get(f"{original}-up")
    node.start(words)
    if kind is Original:
        harness.put(f"{name}-up")
    conductor.serve(name, node)
