#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: once=yes timeout=240 disk=disk:64M module=load
"""nlm_unlock of an export or a device: after `ok` umount works at once, or it says what is in the way and releases nothing.

What is in the way: an open file, a mapping, a working or a root directory, a program that runs, whatever thread of a
process has it; a loop device, a swap file, a mount below. What is not: all that nfsd and lockd have themselves.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import time

from control import command, release
from fullserver import ROOT, FullServer, RawHost, device_scope
from ktap import check, done, equal
from nfs import Client, sh, succeeds, wait_until
from nfs3 import Nfs3, mount_handle
from nfs4 import Nfs4
from nlm import Nlm

# Says "ready" when the user is there, and stays until its input ends.
WAIT = "print('ready', flush=True); sys.stdin.read()"
PROGRAM = "import os, sys, mmap, threading, ctypes, signal, time; path = sys.argv[1]\n"
MAPPED = """
fd = os.open(path, os.O_RDWR)
memory = mmap.mmap(fd, 4096, mmap.MAP_SHARED)
os.close(fd)
# mmap keeps a descriptor of its own.
for number in os.listdir('/proc/self/fd'):
    if int(number) > 2:
        try: os.close(int(number))
        except OSError: pass
"""
# The main thread ends, and another one goes on.
EXITED = f"""
def rest():
    while open('/proc/self/stat').read().split()[2] != 'Z': time.sleep(0.01)
    {WAIT}
file = open(path)
threading.Thread(target=rest).start()
ctypes.CDLL(None).syscall(60, 0)
"""
# A thread with open files of its own.
UNSHARED = f"""
def rest():
    ctypes.CDLL(None).unshare(0x400)
    os.open(path, os.O_RDONLY)
    {WAIT}
    os._exit(0)
threading.Thread(target=rest).start()
"""


@contextlib.contextmanager
def process(text, path, **options):
    """A process of the server that runs a program."""
    words = [sys.executable, "-c", PROGRAM + text, path] if isinstance(text, str) else text
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **options) as this:
        assert this.stdout.readline().strip() == b"ready", words
        yield f"[{this.pid}]"
        this.stdin.close()


@contextlib.contextmanager
def between(before, after):
    """What a shell does before, and after."""
    sh(before)
    try:
        yield ""
    finally:
        sh(after)


def locked():
    """How many locks the server has for its clients on the file system that is tried."""
    device = os.stat(path).st_dev
    with open("/proc/locks", encoding="ascii") as f:
        return sum(f" {os.major(device):02x}:{os.minor(device):02x}:" in line for line in f)


def users(path):
    """Each kind of user of a file system, how it is called, and what is named."""
    shutil.copy("/usr/bin/cat", f"{path}/program")
    with open(f"{path}/image", "wb") as f:
        f.write(bytes(1 << 20))
    sh(f"mkdir -p {path}/below {path}/root; echo {'x' * 5000} > {path}/other; echo > {path}/gone")
    other, image = f"{path}/other", f"{path}/image"
    yield "an open file", "open in", other, process(f"file = open(path); {WAIT}", other)
    yield "a file that is deleted", "open in", f"{path}/gone", process(
        f"file = open(path); os.unlink(path); {WAIT}", f"{path}/gone")
    yield "a directory that is open", "open in", f"{path}/below", process(
        f"fd = os.open(path, os.O_PATH); {WAIT}", f"{path}/below")
    yield "a mapping", "mapped by", other, process(f"{MAPPED}\n{WAIT}", other)
    yield "a working directory", "working directory of", f"{path}/below", process(f"os.chdir(path); {WAIT}", f"{path}/below")
    yield "a root directory", "root directory of", f"{path}/root", process(
        f"sys.stdin.fileno(); os.chroot(path); {WAIT}", f"{path}/root")
    sh(f"printf 'ready\\n' > /run/ready")
    yield "a program that runs", "run by", f"{path}/program", process([f"{path}/program", "/run/ready", "-"], "")
    yield "a process whose main thread has exited", "open in", other, process(EXITED, other)
    yield "a thread with its own files", "open in", other, process(UNSHARED, other)
    yield "a loop device", "loop device", image, between(f"losetup /dev/loop3 {image}", "losetup -d /dev/loop3")
    yield "a mount below", "mounted", f"{path}/below", between(f"mount -t tmpfs tmpfs {path}/below", f"umount {path}/below")
    if not on_tmpfs:
        yield "a swap file", "swap file", image, between(
            f"chmod 600 {image}; mkswap {image}; swapon {image}", f"swapoff {image}")


def busy(what, scope, reason, named, who):
    """A release that must not happen."""
    before = locked()
    began = time.monotonic()
    result, answer = release(scope)
    took = time.monotonic() - began
    said = str(answer.get("busy"))
    print(f"# {scope}, {what}, {took:.3f} s: {said}")
    check(f"{what}: {scope} is busy, and the answer says why",
          result == "EBUSY" and reason in said and said.startswith(named) and said.endswith(who), (result, said))
    equal(f"{what}: nothing is released", (locked(), before > 0), (before, True))


def released(what, scope, **counts):
    """A release that finds so much."""
    result, answer = release(scope)
    equal(f"{what}: {scope} is released", (result, {key: answer.get(key, answer) for key in counts}), ("ok", counts))


def umount(what, path):
    """A file system that is exported no more can be unmounted, at the first try."""
    server.unexport(path.removeprefix(f"{ROOT}/"))
    tried = sh(f"umount {path}", check=False)
    check(f"{what}: then umount works at once", not os.path.ismount(path), tried)


server, host = FullServer(grace=10), RawHost()
server.set_up()
server.start()
server.end_grace()
sh("modprobe loop")
nlm = Nlm(4, host.server_ip, "nlm", **host.where)

# By number and by device, on tmpfs and on ext4.
for on_tmpfs, scope in ((True, "1234"), (False, "")):
    path = server.export("a", "fsid=1234") if on_tmpfs else server.export("d", "fsid=77", "/dev/disk/disk", "mkfs.ext4 -q")
    scope = scope or device_scope(path)
    fh = host.create(path)
    equal(f"{scope}: a client has a lock", nlm.lock(fh), "GRANTED")
    for what, reason, named, user in users(path):
        with user as who:
            busy(what, scope, reason, named, who)
    released("nobody in the way", scope, locks=1)
    umount("nobody in the way", path)

# Not a user: what nfsd has itself. Of NFSv3 and NFSv4 clients, with files that are open, idle and closed just now.
path = server.export("k", "fsid=88")
v3 = Nfs3(host.server_ip, **host.where)
root = mount_handle(path, host.server_ip, **host.where)
mounts = [Client("three", 3), Client("four", 4.2)]
for version, client in zip((3, 4.2), mounts):
    client.enter(f"mount -t nfs -o vers={version},soft,timeo=50,retrans=2 "
                 f"{client.server_ip}:{path if version == 3 else '/k'} {client.mount_point}")
for number, client in enumerate(mounts):
    for name in "open", "idle", "closed":
        with open(f"{client.mount_point}/{name}{number}", "w", encoding="ascii") as f:
            f.write("data" * 5000)
files = [open(f"{client.mount_point}/open{number}", "r+", encoding="ascii") for number, client in enumerate(mounts)]
v41 = Nfs4(1, host.other_ip, "v41", **host.where)
assert (v41.establish(), v41.reclaim_complete()) == ("OK", "OK")
fh = host.create(path, "locked")
opened = v41.open_fh(fh)
equal("nfsd's own files: locks of both versions", (v41.lock(opened, 1).status, nlm.lock(fh, offset=9)), ("OK", "GRANTED"))
v41.close()
for client in mounts:
    client.on_server(f"ip addr del {client.server_ip}/24 dev {client.near}")
released("nfsd's own files", "88", locks=1, nfs4_locks=1)
umount("nfsd's own files", path)
for client in mounts:
    client.on_server(f"ip addr add {client.server_ip}/24 dev {client.near}")
for file in files:
    with contextlib.suppress(OSError):
        file.close()
for client in mounts:
    sh(f"umount -f -l {client.mount_point}")

# Two exports of one file system: while clients have something of the other one, only users of the files to be released.
path = server.export("two", "fsid=21")
os.makedirs(f"{path}/dir")
os.chmod(f"{path}/dir", 0o777)
server.export("two/dir", "fsid=22", None)
one, two = host.create(path), host.create(f"{path}/dir")
equal("two exports: locks in both", (nlm.lock(one), nlm.lock(two)), ("GRANTED", "GRANTED"))
with open(f"{path}/f", "r+b") as f:
    f.write(bytes(4096))
with process(f"{MAPPED}\n{WAIT}", f"{path}/f") as who:
    busy("two exports, one of the files is mapped", "21", "mapped by", f"{path}/f", who)
with process(f"os.chdir(path); {WAIT}", path) as who:
    busy("two exports, a working directory", device_scope(path), "working directory of", path, who)
    released("two exports, the first one", "21", locks=1)
    busy("two exports, the last one", "22", "working directory of", path, who)
    released("two exports, by address", f"ip:{host.server_ip}", locks=1)
server.unexport("two/dir")
umount("two exports", path)

# What it costs; `vm run --arg processes=2000` has that many.
MANY = int(dict(word.split("=", 1) for word in sys.argv[1:]).get("processes", 300))
path = server.export("many", "fsid=31")
equal("many processes: a lock", nlm.lock(host.create(path)), "GRANTED")
FORKS = f"""
files = [open('/dev/null') for _ in range(20)]
pids = []
for _ in range({MANY}):
    pid = os.fork()
    if not pid: signal.pause()
    pids.append(pid)
print('ready', flush=True); sys.stdin.read()
for pid in pids: os.kill(pid, 9)
"""
with process(FORKS, ""):
    began = time.monotonic()
    released("many processes", "31", locks=1)
    print(f"# with {MANY} more processes of 20 files each, a release takes {time.monotonic() - began:.3f} s")
umount("many processes", path)
done()
