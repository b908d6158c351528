# SPDX-License-Identifier: GPL-2.0
"""NFS servers and clients of a test, in one VM.

A client is a net namespace with a link to the server's; a mount is made inside of it with a
host name of its own, so that the server sees different clients.
"""

import errno
import fcntl
import os
import re
import subprocess
import time

import recorders

MODULE = "/test/nfsd_ha.ko"
LIVEPATCH = "/sys/kernel/livepatch/nfsd_ha"
# How many times slower than a stock kernel this one may be. Whatever limits the time that something
# takes is multiplied by it; 1 but on the debug kernel.
SLOW = int(os.environ.get("VM_SLOW") or 1)


def patience(seconds):
    """How long to wait for what should come in so many seconds.

    For a limit that only ends what hangs. The time of a guest is that of the host, which may be
    busy: short limits are four times as long, long ones a minute longer, and so is the harness's
    limit for the test. What must not take longer, or must not happen, is no case for this.
    """
    return (seconds + min(3 * seconds, 60)) * SLOW


def sh(command, check=True, timeout=120):
    """Runs a shell command, and returns what it prints."""
    result = subprocess.run(command, shell=True, text=True, timeout=patience(timeout),
                            check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if check and result.returncode:
        raise RuntimeError(f"'{command}' ended with {result.returncode}: {result.stdout}")
    return result.stdout


def succeeds(command):
    """Does a shell command end with 0?"""
    return subprocess.run(command, shell=True, check=False, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL).returncode == 0


def wait_until(condition, timeout=30, step=0.1, patient=True):
    """Waits for a condition; returns whether it came.

    It may come later on a busy host, unless it is not `patient`: for what may well not come, and for
    what must come so early that something else is not why.

    Looks are `step` seconds apart. One that takes longer itself, as a process that is started on an
    emulated CPU does, is followed by a pause that is longer, up to half a second: others need the CPU.
    """
    end = time.monotonic() + (patience(timeout) if patient else timeout * SLOW)
    while (began := time.monotonic()) < end:
        if condition():
            return True
        time.sleep(max(step, min(4 * (time.monotonic() - began), 0.5)))
    return bool(condition())


def kernel_log():
    """The kernel's messages so far."""
    return sh("dmesg")


def attached():
    """Do all threads run the module's functions? Before that, there are no files of it in nfsd's mounts."""
    with open(f"{LIVEPATCH}/transition", encoding="ascii") as f:
        return f.read() == "0\n"


def load(parameters="", module=MODULE):
    """Loads the module; when this returns, it is attached. insmod waits for that only if nfsd is loaded."""
    sh(f"insmod {module} {parameters}")
    assert wait_until(attached, 30, 0.02), "the livepatch stays in transition"


def switch_off(timeout=60):
    """Disables the livepatch; returns whether that came to its end."""
    sh(f"echo 0 > {LIVEPATCH}/enabled")
    return wait_until(lambda: not os.path.exists(LIVEPATCH), timeout, 0.02)


def unload(switching=90, removing=90):
    """Switches the livepatch off and unloads the module, each in so many seconds at most.

    The latter waits for what still uses it.
    """
    assert switch_off(switching), "the livepatch stays"
    assert wait_until(lambda: succeeds("rmmod nfsd_ha"), removing, 0.02), sh("rmmod nfsd_ha", check=False)


class Server:
    """The NFS server of this VM, or with `netns` that of a net namespace."""

    def __init__(self, netns=None, directory="/srv/export", state="/var/lib/nfs/nfsdcld",
                 lease=10, grace=None, tmpfs=True, recorder=None):
        self.netns, self.directory, self.state, self.lease = netns, directory, state, lease
        self.grace = grace or lease
        self.tmpfs = tmpfs
        self.control = f"/run/nfsd-{netns}" if netns else "/proc/fs/nfsd"
        self.pipefs = f"/run/pipefs-{netns}" if netns else "/run/rpc_pipefs"
        # Which daemon has its records, and where.
        self.recorder = (recorder or recorders.wanted())(state)
        self.daemon = None
        self.mountd = False

    def run(self, command, check=True):
        """Runs a command where the server runs.

        In a namespace, the file systems of nfsd and of the pipes and the list of exports are
        that namespace's, at the usual places, which only the command sees.
        """
        if not self.netns:
            return sh(command, check)
        inner = (f"mount --bind {self.control} /proc/fs/nfsd; "
                 f"mount --bind {self.pipefs} /run/rpc_pipefs; "
                 f"mount --bind /run/nfs-{self.netns} /var/lib/nfs; {command}")
        return sh(f"nsenter --net=/run/netns/{self.netns} unshare --mount sh -ec '{inner}'", check)

    def set_up(self):
        """Mounts what the server needs, and with `tmpfs` a file system to export."""
        sh("modprobe nfsd")
        # No delegations: with one, a client keeps its locks to itself.
        sh("sysctl -q fs.leases-enable=0")
        enter = f"nsenter --net=/run/netns/{self.netns} " if self.netns else ""
        for directory, kind in ((self.control, "nfsd"), (self.pipefs, "rpc_pipefs")):
            os.makedirs(directory, exist_ok=True)
            if not os.path.ismount(directory):
                sh(f"{enter}mount -t {kind} {kind} {directory}")
        for directory in (self.directory, self.state, f"/run/nfs-{self.netns}"):
            os.makedirs(directory, exist_ok=True)
        sh(f"touch /run/nfs-{self.netns}/etab /run/nfs-{self.netns}/rmtab")
        if self.tmpfs and not os.path.ismount(self.directory):
            sh(f"mount -t tmpfs tmpfs {self.directory}")

    def start_daemon(self):
        """Starts the daemon, the real one."""
        # Two would share the upcalls, each with an idea of its own of the current epoch.
        assert self.daemon is None or self.daemon.poll() is not None, "it is running"
        command = self.recorder.command(self.pipefs)
        if self.netns:
            command = f"nsenter --net=/run/netns/{self.netns} {command}"
        # pylint: disable-next=consider-using-with
        self.daemon = subprocess.Popen(command.split(), stdout=subprocess.DEVNULL,
                                       stderr=subprocess.DEVNULL)
        time.sleep(0.3)

    def stop_daemon(self):
        """Stops the daemon."""
        self.daemon.terminate()
        self.daemon.wait(patience(10))

    def start(self):
        """Starts the server, without NFSv3 and thus without lockd's own grace period."""
        mountd = "" if self.mountd else "rpc.mountd -N 3; "
        self.mountd = True
        self.run(f"echo {self.lease} > /proc/fs/nfsd/nfsv4leasetime; "
                 f"echo {self.grace} > /proc/fs/nfsd/nfsv4gracetime; "
                 f"{mountd}exportfs -o rw,fsid=0,no_root_squash,no_subtree_check "
                 f"*:{self.directory}; rpc.nfsd -N 3 4")

    def stop(self):
        """Stops the server."""
        self.run("rpc.nfsd 0")

    def restart(self):
        """Stops and starts the server."""
        self.stop()
        self.start()

    def status(self):
        """What client_tracking says: the first word of a line, and the second."""
        with open(f"{self.control}/client_tracking", encoding="ascii") as f:
            return {key: int(value) if value.isdigit() else value
                    for key, value in (line.split()[:2] for line in f)}

    def tear_down(self):
        """Ends all that keeps nfsd loaded, of a server that is stopped."""
        sh("pkill rpc.mountd; true")
        self.mountd = False
        wait_until(lambda: not succeeds("pgrep rpc.mountd"))
        sh(f"umount {self.control} {self.pipefs}")

    def in_grace(self):
        """Is the NFSv4 grace period not over? (nfsd's own file, with or without the module)"""
        with open(f"{self.control}/v4_end_grace", encoding="ascii") as f:
            return f.read(1) == "N"

    def records(self):
        """The clients on record, by epoch: the name of each."""
        return {key: {client_name(name) for name in names}
                for key, names in zip(("current", "recovery"), self.recorder.records())}

    def forget(self, name):
        """Deletes a client's record behind the daemon's back."""
        self.recorder.forget(name)

    def locks(self, name):
        """The number of locks that nfsd holds on an exported file."""
        stat = os.stat(f"{self.directory}/{name}")
        device = f"{os.major(stat.st_dev):02x}:{os.minor(stat.st_dev):02x}:{stat.st_ino}"
        with open("/proc/locks", encoding="ascii") as f:
            return sum(1 for line in f if device in line.split())

    def can_lock(self, name):
        """Does a lock attempt on the server itself succeed? If so it lets go again."""
        with open(f"{self.directory}/{name}", "r+b") as f:
            try:
                fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return False
            return True


def client_name(record):
    """The host name in the identity that a Linux client presents."""
    found = re.search(rb"client-\w+", record)
    return found.group().decode() if found else record.decode(errors="replace")


class Client:
    """An NFS client with a net namespace, a link to the server, a host name and a mount."""

    count = 0

    def __init__(self, name, version, server_netns=None):
        Client.count += 1
        self.name, self.version = f"client-{name}", version
        self.netns, self.mount_point = f"ns-{name}", f"/mnt/{name}"
        self.file = f"file-{name}"
        self.server_ip = f"10.9.{Client.count}.1"
        near, far = f"s-{name}", f"c-{name}"
        self.near, self.server_netns = near, server_netns
        sh(f"ip netns add {self.netns}; ip link add {near} type veth peer name {far} netns "
           f"{self.netns}")
        if server_netns:
            sh(f"ip link set {near} netns {server_netns}")
        self.on_server(f"ip addr add {self.server_ip}/24 dev {near}; ip link set {near} up; "
                       "ip link set lo up")
        self.enter(f"ip addr add 10.9.{Client.count}.2/24 dev {far}; ip link set {far} up; "
                   "ip link set lo up")
        os.makedirs(self.mount_point, exist_ok=True)

    def on_server(self, commands):
        """Runs commands in the server's net namespace."""
        prefix = f"nsenter --net=/run/netns/{self.server_netns} " if self.server_netns else ""
        sh(f"{prefix}sh -ec '{commands}'")

    def enter(self, commands):
        """Runs commands in the client's net namespace."""
        return sh(f"nsenter --net=/run/netns/{self.netns} unshare --uts "
                  f"sh -ec 'hostname {self.name}; {commands}'")

    def mount(self):
        """Mounts the export."""
        self.enter(f"mount -t nfs -o vers={self.version},soft,timeo=100,retrans=6 "
                   f"{self.server_ip}:/ {self.mount_point}")

    def umount(self):
        """Unmounts it."""
        sh(f"umount {self.mount_point}")

    def link(self, state):
        """Sets the link to the server `up` or `down`."""
        self.on_server(f"ip link set {self.near} {state}")

    def holder(self):
        """A process that holds a lock on the client's own file."""
        return Holder(f"{self.mount_point}/{self.file}")


class Holder:
    """A process that locks a file and writes to it when told."""

    def __init__(self, path):
        self.path = path
        # pylint: disable-next=consider-using-with
        self.process = subprocess.Popen(
            ["python3", os.path.join(os.path.dirname(__file__), "holder.py"), path],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.expect("locked")

    def expect(self, wanted):
        """Reads the process's next word, which must be `wanted`."""
        line = self.process.stdout.readline().strip()
        if line != wanted:
            raise RuntimeError(f"{self.path}: {line!r} instead of {wanted!r}")

    def write(self):
        """Writes under the lock, through to the server: 'ok', or the error's name."""
        self.ask()
        return self.answer()

    def ask(self):
        """Begins a write, without waiting for its end."""
        self.process.stdin.write("write\n")
        self.process.stdin.flush()

    def answer(self):
        """The result of the write that ask() began."""
        line = self.process.stdout.readline().strip()
        return line if line == "ok" else errno.errorcode.get(int(line or 0), line)

    def stop(self):
        """Unlocks and ends."""
        self.process.stdin.close()
        self.process.wait(patience(60))
