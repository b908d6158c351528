# SPDX-License-Identifier: GPL-2.0
"""A server of a pair, of which either can serve the shared disk's export at the floating address."""

import fcntl
import os
import socket
import struct
import subprocess
import time

from nfs import SLOW, sh, succeeds, wait_until

ADDRESS, HOST = "10.77.0.50", "nfs-ha"
FSID = 1234
DISK, EXPORT = "/srv/ha", "/srv/ha/export"
# On the disk, and not in the export: the clients' records of each.
RECORDS = "/srv/ha/nsm"
CONTROL = "/proc/fs/nfsd"
LOCKS = 50
# lockd's: clients of NLM go on with it at the next server.
PORT = 4045
# Seconds, for the server and with it for an export that comes.
GRACE = 10 * SLOW


def write(path, text):
    """Writes to a file of the kernel."""
    with open(path, "w", encoding="ascii") as f:
        f.write(f"{text}\n")


def save(path, text):
    """Writes a file through to its disk: after a crash, it is the old one or the new one."""
    with open(f"{path}.new", "w", encoding="ascii") as f:
        f.write(text)
        f.flush()
        os.fsync(f.fileno())
    os.rename(f"{path}.new", path)


def announce(address):
    """Tells the network who has a floating address (a gratuitous ARP reply), as cluster software does."""
    with open("/sys/class/net/eth0/address", encoding="ascii") as f:
        mac = bytes.fromhex(f.read().strip().replace(":", ""))
    address, everybody = socket.inet_aton(address), b"\xff" * 6
    frame = everybody + mac + struct.pack("!HHHBBH", 0x0806, 1, 0x0800, 6, 4, 2)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as s:
        s.bind(("eth0", 0))
        s.send(frame + mac + address + everybody + address)


class Node:
    """A server with an export of its own, and at times the shared one."""

    def __init__(self, name, fsid):
        self.name, self.fsid = name, fsid
        self.steps = {}

    def step(self, name, command):
        """Runs a step, and notes how many seconds it took."""
        began = time.monotonic()
        if callable(command):
            command()
        else:
            sh(command)
        self.steps[name] = round(time.monotonic() - began, 2)

    def start(self):
        """Starts all that a server runs, with an export that never moves."""
        sh(f"echo {ADDRESS} {HOST} >>/etc/hosts; sysctl -q net.ipv4.ip_nonlocal_bind=1; "
           "mkdir -p /etc/nfs.conf.d; printf '[sm-notify]\\nlift-grace = n\\n' >/etc/nfs.conf.d/ha.conf; "
           # Binding to the address before it is here (B-3), and lockd's own grace period, which sm-notify else ends.
           f"mkdir -m 700 /var/lib/nfsd-ha; ln -s {RECORDS} /var/lib/nfsd-ha/{FSID}; "
           f"mkdir -p {DISK} /srv/local /var/lib/nfs/nfsdcld; mount /dev/disk/own-{self.name} /srv/local; "
           "chmod 1777 /srv/local; modprobe nfsd")
        self.mount_control()
        self.background("nfsdcld -F")
        self.record_clients()
        sh("rpcbind -w; rpc.statd --no-notify; rpc.mountd; "
           f"exportfs -o rw,fsid={self.fsid},no_root_squash,no_subtree_check *:/srv/local")
        self.start_nfsd(GRACE)

    @staticmethod
    def mount_control():
        """Mounts the file systems of nfsd and of its daemon's pipes."""
        for directory, kind in ((CONTROL, "nfsd"), ("/run/rpc_pipefs", "rpc_pipefs")):
            if not os.path.ismount(directory):
                sh(f"mkdir -p {directory}; mount -t {kind} {kind} {directory}")

    @staticmethod
    def background(command):
        """Starts a daemon that stays in the foreground."""
        # pylint: disable-next=consider-using-with
        subprocess.Popen(command.split(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    @staticmethod
    def start_nfsd(grace=0):
        """Starts nfsd and with it lockd, whose grace period begins: 50 s by default."""
        write("/proc/sys/fs/nfs/nlm_grace_period", grace)
        write("/proc/sys/fs/nfs/nlm_tcpport", PORT)
        for name in ("nfsv4leasetime", "nfsv4gracetime"):
            write(f"{CONTROL}/{name}", grace or 90)
        sh("rpc.nfsd 8")

    def serve(self):
        """The first time: makes what is on the disk, and serves it."""
        self.mount()
        sh(f"mkdir -p {EXPORT} {RECORDS}; chmod 1777 {EXPORT}; chmod 700 {RECORDS}")
        self.export()
        self.add_address()

    @staticmethod
    def mount():
        """Mounts the shared disk."""
        sh(f"mount /dev/disk/shared {DISK}")

    @staticmethod
    def export():
        """Exports it."""
        sh(f"exportfs -o rw,fsid={FSID},no_root_squash,no_subtree_check *:{EXPORT}")

    @staticmethod
    def add_address(address=ADDRESS):
        """Adds the floating address."""
        sh(f"ip addr add {address}/24 dev eth0")
        announce(address)

    @staticmethod
    def notify():
        """Tells the clients on record that their server has restarted."""
        sh(f"sm-notify -v {HOST} -P {RECORDS}")

    @staticmethod
    def unlock():
        """Releases all locks of the export's clients."""
        write(f"{CONTROL}/nlm_unlock", FSID)

    @staticmethod
    def begin_grace(seconds=""):
        """Begins the export's grace period."""
        write(f"{CONTROL}/nlm_set_ip_grace", f"{FSID} {seconds}".strip())

    @staticmethod
    def lockd_ready():
        """Ends lockd's own grace period, which nobody reclaims in."""
        write("/proc/fs/lockd/nlm_end_grace", "Y")

    @staticmethod
    def record_clients():
        """Starts what records the clients of each export."""
        Node.background("/test/nfsd-ha record")

    @staticmethod
    def rehearse():
        """What an admin does on any day: another export comes and goes.

        Each exportfs has nfsd forget its exports, so that the next request of every client waits for rpc.mountd.
        """
        sh("mkdir -p /srv/other; mount -t tmpfs tmpfs /srv/other; exportfs -o rw,fsid=77,no_subtree_check *:/srv/other; "
           "ip addr add 10.77.0.60/32 dev lo; sleep 1; ip addr del 10.77.0.60/32 dev lo; "
           "exportfs -u *:/srv/other; umount -l /srv/other")

    def leave(self):
        """The published procedure on the node that is taken over from."""
        self.steps = {}
        self.step("A-1", f"ip addr del {ADDRESS}/24 dev eth0")
        self.step("A-2", f"exportfs -u *:{EXPORT}")
        self.step("A-3", self.unlock)
        self.step("A-4", f"umount {DISK}")
        return self.steps

    def take(self, window="0", grace=""):
        """The published procedure on the node that takes over; `window` seconds pass between B-4 and B-5."""
        self.steps = {}
        self.step("B-1", self.mount)
        self.step("B-2", lambda: self.begin_grace(grace))
        self.step("B-3", self.notify)
        self.step("B-4", self.add_address)
        time.sleep(float(window))
        self.step("B-5", self.export)
        return self.steps

    def stock_leave(self):
        """What a stock kernel needs: nfsd and lockd are restarted, and with them all exports."""
        self.steps = {}
        self.step("address", f"ip addr del {ADDRESS}/24 dev eth0")
        self.step("unexport", f"exportfs -u *:{EXPORT}")
        # A server that stops in order has its clients no longer monitored, so nobody would tell them.
        self.step("save", f"cp -a {RECORDS}/sm {RECORDS}/saved")
        self.step("stop", "rpc.nfsd 0")
        # The recorder may still be at it.
        self.step("umount", lambda: wait_until(lambda: succeeds(f"umount {DISK}"), 10))
        self.step("start", lambda: self.start_nfsd())
        self.step("notify", "sm-notify -f")
        return self.steps

    def stock_take(self):
        """The same on the other node."""
        self.steps = {}
        self.step("mount", self.mount)
        self.step("restore", f"cp -a {RECORDS}/saved/. {RECORDS}/sm/; rm -r {RECORDS}/saved")
        self.step("export", self.export)
        self.step("restart", lambda: (sh("rpc.nfsd 0"), self.start_nfsd()))
        self.step("address", self.add_address)
        self.step("notify", lambda: (self.notify(), sh("sm-notify -f")))
        return self.steps

    @staticmethod
    def locks():
        """How many of the files are locked, and of how many a lock attempt here succeeds."""
        wanted = {}
        for number in range(LOCKS):
            stat = os.stat(f"{EXPORT}/held-{number}")
            wanted[f"{os.major(stat.st_dev):02x}:{os.minor(stat.st_dev):02x}:{stat.st_ino}"] = number
        with open("/proc/locks", encoding="ascii") as f:
            held = {word for line in f if "->" not in line for word in line.split() if word in wanted}
        open_to_us = 0
        for number in range(LOCKS):
            with open(f"{EXPORT}/held-{number}", "r+b") as f:
                try:
                    fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    open_to_us += 1
                except OSError:
                    pass
        return {"held": len(held), "open": open_to_us}

    @staticmethod
    def records():
        """Whom the disk has on record, and whose record waits for an answer to sm-notify."""
        return {directory: sorted(os.listdir(f"{RECORDS}/{directory}")) for directory in ("sm", "sm.bak")}

    @staticmethod
    def run(*command):
        """Runs a shell command: what it prints, for whoever looks into something."""
        return sh(" ".join(command), check=False).split("\n")
