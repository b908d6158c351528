# SPDX-License-Identifier: GPL-2.0
"""A server of NFS 3 and 4 with lockd, and the net namespace of a raw client.

Exports are file systems of their own below /srv/root, so that "a" is /a to NFSv4 and /srv/root/a
to NFSv3.
"""

import fcntl
import os

from nfs import Client, Server, sh, succeeds, wait_until
from nfs3 import Nfs3, mount_handle

ROOT = "/srv/root"
FSID_TYPES = {0: "device", 1: "number", 2: "major, minor", 3: "encoded device",
              4: "inode and 4 bytes of UUID", 5: "8 bytes of UUID", 6: "UUID",
              7: "inode and UUID"}
# Bytes that each takes in a handle, behind the first four (key_len() in fs/nfsd/nfsfh.h).
FSID_LENGTH = {0: 8, 1: 4, 2: 12, 3: 8, 4: 8, 5: 8, 6: 16, 7: 24}


def device_scope(path):
    """The scope of the file system that a path is on."""
    device = os.stat(path).st_dev
    return f"dev:{os.major(device)}:{os.minor(device)}"


class FullServer(Server):
    """A Server with NFSv3. It starts with a grace period of `grace` seconds, see end_grace()."""

    def __init__(self, grace=300, lease=90):
        super().__init__(directory=ROOT, lease=lease)
        self.grace = grace

    def set_up(self):
        """Starts the daemons that NFSv3 needs, too."""
        super().set_up()
        sh("[ -e /run/rpcbind.sock ] || rpcbind -w")
        wait_until(lambda: succeeds("rpcinfo -p"))
        sh("rpc.statd --no-notify")
        sh(f"rpc.mountd; exportfs -o ro,fsid=0,crossmnt,no_subtree_check *:{ROOT}")
        self.start_daemon()

    def start(self):
        """Starts nfsd and lockd; both begin a grace period, nfsd only if clients are on record."""
        self.run(f"echo {self.lease} > {self.control}/nfsv4leasetime; "
                 f"echo {self.grace} > {self.control}/nfsv4gracetime; "
                 f"echo {self.grace} > /proc/sys/fs/nfs/nlm_grace_period; rpc.nfsd 8")

    def end_grace(self, lockd=True, nfsd=True):
        """Ends the grace periods of lockd and of nfsd."""
        # Of a grace period that has ended (or never was), nfsd says EBUSY.
        for wanted, file in ((lockd, "/proc/fs/lockd/nlm_end_grace"),
                             (nfsd and self.in_grace(), f"{self.control}/v4_end_grace")):
            if wanted:
                with open(file, "w", encoding="ascii") as f:
                    f.write("Y")

    def export(self, name, options="", device="tmpfs", make=None):
        """Exports a new file system, on tmpfs or on a device after the command `make`.

        With the device None, it is a directory of the file system that is there.
        """
        path = f"{ROOT}/{name}"
        os.makedirs(path, exist_ok=True)
        if make:
            sh(f"{make} {device}")
        if device:
            sh(f"mount {'-t tmpfs' if device == 'tmpfs' else ''} {device} {path}")
        os.chmod(path, 0o1777)
        sh(f"exportfs -o rw,no_root_squash,no_subtree_check{',' if options else ''}{options} "
           f"*:{path}")
        return path

    def unexport(self, name):
        """Ends an export, and waits until the kernel has forgotten it."""
        self.unexport_path(f"{ROOT}/{name}")

    @staticmethod
    def unexport_path(path):
        """Ends the export of a path, and waits until the kernel has forgotten it.

        A flush of nfsd's caches that comes within a second of another one (exportfs makes one
        each time) lets go of nothing: it sets the time of the next cleaning in the future.
        """
        sh(f"exportfs -u '*:{path}'")
        forgotten = f"grep -q {path} /proc/net/rpc/nfsd.*/content"
        wait_until(lambda: not succeeds(forgotten) or sh("sleep 2; exportfs -f"), 30, 0)

    @property
    def scope_file(self):
        """The module's file of grace periods."""
        return f"{self.control}/fsid_grace"

    def grace_of(self, scope, seconds):
        """Begins a grace period of a scope, or ends it (0)."""
        with open(self.scope_file, "w", encoding="ascii") as f:
            f.write(f"{scope} {seconds}\n")


class RawHost(Client):
    """The net namespace of raw clients, which reaches the server at several addresses.

    `where` is what Rpc wants to be there.
    """

    def __init__(self, name="raw"):
        super().__init__(name, "raw")
        net = self.server_ip.rsplit(".", 1)[0]
        self.other_ip, self.server_ip6, self.other_ip6 = f"{net}.3", "fd09::1", "fd09::3"
        self.on_server(f"ip addr add {self.other_ip}/24 dev {self.near}; "
                       f"ip addr add {self.server_ip6}/64 dev {self.near} nodad; "
                       f"ip addr add {self.other_ip6}/64 dev {self.near} nodad")
        self.enter(f"ip addr add fd09::2/64 dev c-{name} nodad")
        self.where = {"netns": self.netns}

    def create(self, path, name="f"):
        """The handle of a new file in an export, by MOUNT and NFSv3; it is good for NFSv4, too."""
        directory = mount_handle(path, self.server_ip, **self.where)
        return Nfs3(self.server_ip, **self.where).create(directory, name)


def serve(grace=10):
    """A server with such times, and the host of raw clients, when its grace periods are over: what most tests begin with."""
    server = FullServer(grace=grace)
    server.set_up()
    server.start()
    host = RawHost()
    server.end_grace()
    return server, host


class Place:
    """An export with the files that the tests use.

    Byte 0 of "base" and of "nlm" is locked by this process.
    """

    FILES = ("base", "data", "layout-0", "layout-1", "layout-2", "nlm")

    def __init__(self, server, host, name, options="", **device):
        self.name, self.path = name, server.export(name, options, **device)
        self.server_ip, self.where = host.server_ip, host.where
        self.directory, self.fh = None, {}
        self.held = []
        for file in self.FILES:
            self.fresh(file)
            if file in ("base", "nlm"):
                # pylint: disable-next=consider-using-with
                self.held.append(open(f"{self.path}/{file}", "r+b"))
                fcntl.lockf(self.held[-1], fcntl.LOCK_EX, 1)

    def fresh(self, file):
        """Makes a file with something in it, if it is not there."""
        if not os.path.exists(f"{self.path}/{file}"):
            with open(f"{self.path}/{file}", "wb") as f:
                f.write(b"data\n" * 100)
            os.chmod(f"{self.path}/{file}", 0o666)

    def gone(self, file):
        """Removes a file, if it is there."""
        if os.path.exists(f"{self.path}/{file}"):
            os.unlink(f"{self.path}/{file}")

    def handles(self):
        """Asks for the handles, by MOUNT and NFSv3; they are good for NFSv4, too."""
        nfs = Nfs3(self.server_ip, **self.where)
        self.directory = mount_handle(self.path, self.server_ip, **self.where)
        self.fh = {file: nfs.lookup(self.directory, file) for file in self.FILES}
        nfs.close()

    def kind(self):
        """How a handle names the export."""
        fh = self.fh["nlm"]
        return f"{FSID_TYPES.get(fh[2], fh[2])}, {len(fh)} bytes: {fh.hex()}"

    def device(self):
        """The scope of the device."""
        return device_scope(self.path)
