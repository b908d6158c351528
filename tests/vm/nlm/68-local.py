#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: timeout=90 disk=home:64M module=load
"""Local processes are kept out of a scope in grace, if the admin says so: fcntl(), OFD and flock() locks of 64-bit and 32-bit
tasks wait, or fail with EAGAIN. Nothing else is: unlocking, leases, other file systems, what clients reclaim.
"""

import ctypes
import errno
import fcntl
import mmap
import os
import select
import signal
import struct
import time

from control import command, read
from fullserver import ROOT, FullServer, RawHost, device_scope
from ktap import check, done, equal
from nfs import SLOW, Client, Holder, patience, sh, succeeds, switch_off, wait_until
from nlm import Nlm

SCOPE = "71"
# Nobody is kept out for longer than this once he may go on.
SOON = 3
NB = fcntl.LOCK_NB


def flock64(kind):
    """The argument of fcntl() for byte 5."""
    return struct.pack("hhqqi4x", kind, 0, 5, 1, 0)


def ofd(fd, flags):
    """Takes or drops an OFD lock, with the flags of flock()."""
    kind = {fcntl.LOCK_EX: fcntl.F_WRLCK, fcntl.LOCK_SH: fcntl.F_RDLCK, fcntl.LOCK_UN: fcntl.F_UNLCK}[flags & ~NB]
    fcntl.fcntl(fd, fcntl.F_OFD_SETLK if flags & NB else fcntl.F_OFD_SETLKW, flock64(kind))


def posix(fd, flags):
    """Takes or drops the process's lock of byte 0, which is no conflict with an OFD lock."""
    fcntl.lockf(fd, flags, 1)


KINDS = {"fcntl": posix, "OFD": ofd, "flock": fcntl.flock}


def attempt(kind, fd, flags):
    """Locks; returns 'ok' or the error's name."""
    try:
        KINDS[kind](fd, flags)
        return "ok"
    except OSError as e:
        return errno.errorcode[e.errno]


def tries(fd, flags=fcntl.LOCK_EX):
    """What each kind of lock says that does not wait. Those that are granted go again."""
    results = [attempt(kind, fd, flags | NB) for kind in KINDS]
    for kind in KINDS:
        attempt(kind, fd, fcntl.LOCK_UN)
    return results


class Interrupted(Exception):
    """There was a signal."""


class Waiter:
    """A process that does something, and says how it ended."""

    def __init__(self, function, *args):
        self.pipe, end = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            signal.signal(signal.SIGUSR1, self.interrupted)
            try:
                os.write(end, str(function(*args)).encode())
            except Interrupted:
                os.write(end, b"interrupted")
            finally:
                os._exit(0)
        os.close(end)

    @staticmethod
    def interrupted(*_):
        """For a signal: ends the system call, which Python would repeat."""
        raise Interrupted

    def waits(self, seconds):
        """Has it said nothing by then?"""
        return not select.select([self.pipe], [], [], seconds)[0]

    def result(self):
        """What it says; nothing if it was killed."""
        ended = not self.waits(patience(SOON))
        result = os.read(self.pipe, 100).decode() if ended else "hangs"
        if not ended:
            os.kill(self.pid, signal.SIGKILL)
        os.close(self.pipe)
        os.waitpid(self.pid, 0)
        return result


def waiters(path):
    """A process for each kind of lock, which wants it."""
    def one(kind):
        return attempt(kind, os.open(path, os.O_RDWR), fcntl.LOCK_SH)
    return [Waiter(one, kind) for kind in KINDS]


def all_wait(processes, seconds=0.7):
    """Do all of them wait for so long?"""
    time.sleep(seconds)
    return all(w.waits(0) for w in processes)


def as_32_bit(fd):
    """What a 32-bit task's fcntl64() and flock() say that do not wait."""
    libc = ctypes.CDLL(None)
    libc.mmap.restype = ctypes.c_void_p
    # MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT
    page = libc.mmap(None, 4096, mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC, 0x62, -1, 0)
    # push rbx; mov eax, edi; mov ebx, esi; mov esi, ecx; mov ecx, edx; mov edx, esi; int 0x80; pop rbx; ret
    code = bytes.fromhex("53 89f8 89f3 89ce 89d1 89f2 cd80 5b c3")
    ctypes.memmove(page, code, len(code))
    ctypes.memmove(page + 256, struct.pack("<hhqqi", fcntl.F_WRLCK, 0, 5, 1, 0), 24)
    call = ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_uint] * 4)(page)
    results = [call(221, fd, 13, page + 256), call(143, fd, fcntl.LOCK_EX | NB, 0)]
    return [errno.errorcode.get(-result, result) for result in results]


def cost(fd):
    """Nanoseconds for a lock and its unlock, when nothing else uses the CPU."""
    times = []
    for _ in range(100):
        began = time.perf_counter_ns()
        for _ in range(50):
            fcntl.lockf(fd, fcntl.LOCK_EX | NB)
            fcntl.lockf(fd, fcntl.LOCK_UN)
        times.append(time.perf_counter_ns() - began)
    return min(times) // 50


server, host = FullServer(grace=15 * SLOW, lease=10), RawHost()
sh(f"mkdir -p {ROOT}; mount -t tmpfs tmpfs {ROOT}")
server.set_up()
server.start()
server.end_grace()
path = server.export("h", f"fsid={SCOPE}", "/dev/disk/home", "mkfs.ext4 -q")
other = server.export("o", "fsid=72")
device = device_scope(path)
for name in (f"{path}/f", f"{path}/held", f"{path}/free", f"{other}/f"):
    sh(f"echo data >{name}; chmod 666 {name}")
fd, held, elsewhere = (os.open(name, os.O_RDWR) for name in (f"{path}/f", f"{path}/held", f"{other}/f"))
GRANTED, REFUSED = ["ok"] * 3, ["EAGAIN"] * 3

for command_line in ("local", f"{device} local 60", f"{device} 0 local", f"{device} 60 local local", f"{device} 60  local",
                     f"{device} 60 locals", f"{device} listed local", f"{device} local listed", "ip:192.0.2.1 60 local",
                     "ip:192.0.2.1 local", f"{device} 3601 local"):
    equal(f"'{command_line}' is refused", command("fsid_grace", command_line), ("EINVAL", ""))
equal("an export that nobody has asked for is on no known device", command("fsid_grace", f"{SCOPE} 60 local"), ("ENXIO", ""))
equal("and nothing is in grace", read("fsid_grace"), "")
idle = cost(fd)

# Off by default.
command("fsid_grace", f"{device} 60")
equal("in grace, and not told to: local processes lock", tries(fd), GRANTED)
command("fsid_grace", f"{device} 0")

# A device.
handle = host.create(path, "nlm")
for kind in KINDS:
    attempt(kind, held, fcntl.LOCK_EX)
result, text = command("fsid_grace", f"{device} 60 local")
check("it is taken, and shown", result == "ok" and text.startswith(f"{device} left 60") and text.endswith(" local\n"), text)
equal("and listed", read("fsid_grace").split()[-1], "local")
for flags in (fcntl.LOCK_EX, fcntl.LOCK_SH):
    equal(f"local processes cannot lock ({flags})", tries(fd, flags), REFUSED)
if succeeds("grep -q ' __ia32_sys_flock$' /proc/kallsyms"):
    equal("nor 32-bit ones", Waiter(as_32_bit, fd).result(), "['EAGAIN', 'EAGAIN']")
equal("not on another file system", tries(elsewhere), GRANTED)
equal("they may unlock", [attempt(kind, held, fcntl.LOCK_UN) for kind in KINDS], GRANTED)
sh("sysctl -q fs.leases-enable=1")
lease = os.open(f"{path}/free", os.O_RDONLY)
fcntl.fcntl(lease, fcntl.F_SETLEASE, fcntl.F_RDLCK)
equal("and have a lease", fcntl.fcntl(lease, fcntl.F_GETLEASE), fcntl.F_RDLCK)
fcntl.fcntl(lease, fcntl.F_SETLEASE, fcntl.F_UNLCK)
os.close(lease)
sh("sysctl -q fs.leases-enable=0")
nlm = Nlm(4, host.server_ip, "had", **host.where)
equal("a client of NLM reclaims, and gets no new lock",
      [nlm.lock(handle, reclaim=True), nlm.lock(handle, offset=900)], ["GRANTED", "DENIED_GRACE"])

# Those who wait.
waiting = waiters(f"{path}/free")
check("who may wait waits", all_wait(waiting))
killed, woken = waiters(f"{path}/free")[:2]
check("two more", all_wait((killed, woken)))
os.kill(killed.pid, signal.SIGKILL)
os.kill(woken.pid, signal.SIGUSR1)
equal("one is killed, one has a signal: they wait no more", [killed.result(), woken.result()], ["", "interrupted"])
check("the others do", all_wait(waiting, 0))
command("fsid_grace", f"{device} 0")
equal("when it is ended they have their locks", [w.result() for w in waiting], GRANTED)
equal("and all may lock", tries(fd), GRANTED)

# Its time, and a repeat of the command.
command("fsid_grace", f"{device} 3 local")
waiting = waiters(f"{path}/free")
check("who may wait waits", all_wait(waiting, 0.5))
check("until its time has come", wait_until(lambda: not any(w.waits(0) for w in waiting), 10))
equal("and then has the lock", [w.result() for w in waiting], GRANTED)
command("fsid_grace", f"{device} 60")
command("fsid_grace", f"{device} 60 local")
equal("said by a repeat", tries(fd), REFUSED)
equal("and dropped by one", (command("fsid_grace", f"{device} 60")[0], tries(fd)), ("ok", GRANTED))
command("fsid_grace", f"{device} 0")
command("fsid_grace", f"{device}")
text = read("fsid_grace")
command("fsid_grace", f"{device} 0")
equal("without seconds it lasts as long as without the word", command("fsid_grace", f"{device} local")[1],
      text.replace("\n", " local\n"))
equal("and keeps out, too", tries(fd), REFUSED)
command("fsid_grace", f"{device} 0")

# An export, which has been seen; and NFSv4.
client = Client("four", "4.2")
client.enter(f"mount -t nfs -o vers=4.2 {client.server_ip}:/h {client.mount_point}")
holder = Holder(f"{client.mount_point}/held")
equal("an export: it is taken", command("fsid_grace", f"{SCOPE} 60 local")[0], "ok")
equal("it is on its file system", (tries(fd), tries(elsewhere)), (REFUSED, GRANTED))
equal("a client of NFSv4 writes under its lock", holder.write(), "ok")
command("fsid_grace", "72 60")
equal("another scope, without the word", (tries(fd), tries(elsewhere)), (REFUSED, GRANTED))
with_scope = cost(elsewhere)
command("fsid_grace", f"{SCOPE} 0")
command("fsid_grace", "72 0")
holder.stop()
sh(f"umount {client.mount_point}")

# A net namespace that ends.
sh("ip netns add brief; mkdir -p /run/nfsd-brief; nsenter --net=/run/netns/brief mount -t nfsd nfsd /run/nfsd-brief")
equal("a scope of another net namespace", command("fsid_grace", f"{device} 600 local", "/run/nfsd-brief")[0], "ok")
waiting = waiters(f"{path}/free")
check("counts here", all_wait(waiting))
sh("umount /run/nfsd-brief; ip netns del brief")
equal("and ends with that", [w.result() for w in waiting], GRANTED)

# The module goes.
command("fsid_grace", f"{device} 600 local")
waiting = waiters(f"{path}/free")
check("local processes wait again", all_wait(waiting))
server.stop()
began = time.monotonic()
switched_off = switch_off()
took = time.monotonic() - began
check("the livepatch is switched off before it sends signals to those who stay", switched_off and took < 14, took)
equal("they have their locks", [w.result() for w in waiting], GRANTED)
check("and the module goes", wait_until(lambda: succeeds("rmmod nfsd_ha"), 10))
print(f"# a lock and its unlock: {cost(fd)} ns without the module, {idle} with it, "
      f"{with_scope} with a scope of another file system", flush=True)
done()
