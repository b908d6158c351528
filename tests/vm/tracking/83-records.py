#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: timeout=400 module=load once=yes disk=data:32M
"""nfsd-had has the records, and everything goes wrong that can: nothing is acknowledged that is not stored.

Words: every=N, to kill it at every Nth of its system calls (1 in make test-long), and seed=N.
"""

import contextlib
import os
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys

import recorders
from ktap import check, done, equal
from nfs import Server, patience, sh, wait_until
from nfs4 import Nfs4

WORDS = dict(word.split("=") for word in sys.argv[1:])
EVERY = int(WORDS.get("every", 24))
SEED = int(WORDS.get("seed", random.SystemRandom().randrange(10**6)))
DISK = "/srv/data"
CALLS = "openat,read,pread64,write,pwrite64,fdatasync,fsync,ftruncate,fcntl,mmap,unlink,rename"
LOG = "/tmp/nfsd-had.log"


class Had(Server):
    """A server with nfsd-had, whose messages are kept."""

    def start_daemon(self, under="", **environment):
        """Starts it, `under` another program."""
        command = f"{under} {self.recorder.command(self.pipefs)}"
        with open(LOG, "w", encoding="utf-8") as log:
            # pylint: disable-next=consider-using-with
            self.daemon = subprocess.Popen(command.split(), stderr=log, env=dict(os.environ, **environment))

    def is_up(self):
        """Does it serve the kernel?"""
        return self.status()["daemon"] == "present"

    def left(self):
        """What it has not been told yet."""
        status = self.status()
        return [status[key] for key in ("to_store", "to_remove", "grace_done_due", "in_flight")]


def said():
    """What the daemon has said."""
    with open(LOG, encoding="utf-8") as f:
        return f.read()


def comes(name):
    """A client, up to where it may have state."""
    client = Nfs4(1, "127.0.0.1", name)
    assert client.establish() == "OK"
    status = client.reclaim_complete()
    client.close()
    names.add(name)
    return status


def stored():
    """Is everything on record?"""
    return not any(server.left()) and server.records()["current"] == names


def fails(what, name, told):
    """A client comes while something is wrong: it is not on record, and why is said."""
    equal(f"{what}: a client may go on, as its lease is good", comes(name), "OK")
    equal(f"{what}: it is not on record", (server.left()[0] > 0, name in server.records()["current"]), (True, False))
    check(f"{what}: why is said", told in said(), said())


def well(what):
    """Nothing is wrong any more."""
    check(f"{what} no more: all are on record", wait_until(stored, 60), (server.left(), server.records()))


print(f"# seed={SEED} every={EVERY}", flush=True)
names = set()
sh(f"mkdir -p {DISK}; mount /dev/disk/data {DISK}")
sh("echo 3 > /sys/module/nfsd_ha/parameters/upcall_timeout")
server = Had(state=f"{DISK}/had", lease=3600, grace=3600, recorder=recorders.NfsdHad)
server.set_up()
FILE = server.recorder.file
server.start_daemon()
server.start()
equal("without records there is no grace period", (server.in_grace(), server.status()["state"]),
      (False, "active"))
equal("the first clients come", [comes(f"client-{n}") for n in "abc"], ["OK"] * 3)
equal("and are on record", server.records(), {"current": names, "recovery": set()})

def flushes():
    """How often the disk's cache was flushed."""
    return int(sh("cat /sys/block/$(basename $(readlink -f /dev/disk/data))/stat").split()[15])


before = flushes()
for number in range(20):
    comes(f"client-alone{number}")
count = flushes() - before
check("of 20 that come one after the other, each costs the disk one flush", 20 <= count < 30, count)

second = subprocess.run(server.recorder.command(server.pipefs).split(), check=False, text=True,
                        capture_output=True, timeout=patience(20))
check("a second daemon on the same file refuses", second.returncode == 1 and "another nfsd-had" in second.stderr,
      second)

# The disk is full. There is some room in the log, so many clients come.
sh(f"dd if=/dev/zero of={DISK}/filler bs=64k", check=False)
COUNT = 300
for number in range(20):
    sh(f"/test/nfs4load --server 127.0.0.1 --quiet --prefix full- --first {number * COUNT} --clients {COUNT} "
       "--in-flight 32 --steps session,complete")
    names.update(f"full-{n:07}" for n in range(number * COUNT, (number + 1) * COUNT))
    if server.left()[0]:
        break
print(f"# {len(names)} clients", flush=True)
fails("full disk", "client-full", "is full")
os.unlink(f"{DISK}/filler")
well("full disk")

with contextlib.closing(sqlite3.connect(FILE)) as other:
    other.execute("BEGIN IMMEDIATE")
    fails("file locked", "client-locked", "locked")
well("file locked")

os.rename(FILE, f"{FILE}.away")
with contextlib.closing(sqlite3.connect(FILE)):
    pass  # an empty one in its place
os.rename(f"{FILE}.away", f"{FILE}.kept")
equal("file away: a client may go on", comes("client-away"), "OK")
equal("file away: it is not stored anywhere", server.left()[0], 1)
check("file away: why is said", "taken away" in said(), said())
os.rename(f"{FILE}.kept", FILE)
well("file away")

# What is wrong when it starts.
server.stop_daemon()
shutil.copy(FILE, f"{DISK}/copy")
with open(FILE, "r+b") as file:
    file.write(b"\0" * 4096)
server.start_daemon()
check("damaged: why is said", wait_until(lambda: "not a database" in said(), 10), said())
check("damaged: it waits", server.daemon.poll() is None and not server.is_up())
shutil.copyfile(f"{DISK}/copy", FILE)
check("damaged no more: it serves", wait_until(server.is_up, 10), said())
equal("a client comes then", comes("client-damaged"), "OK")
well("damaged")

server.stop_daemon()
sh(f"mount -o remount,ro {DISK}")
server.start_daemon()
check("read-only: why is said", wait_until(lambda: "ead-only" in said(), 10), said())
sh(f"mount -o remount,rw {DISK}")
check("read-only no more: it serves", wait_until(server.is_up, 10), said())



def set_version(version):
    """Says that the file has another version."""
    with contextlib.closing(sqlite3.connect(FILE, isolation_level=None)) as file:
        file.execute("UPDATE schema SET version = ?", (version,))


server.stop_daemon()
set_version(99)
server.start_daemon()
equal("a newer version is refused", server.daemon.wait(patience(10)), 1)
check("and what to do is said", "install a newer one" in said(), said())
set_version(2)

# Killed at any system call.
walk = random.Random(SEED)
kills, at = 0, 1 + walk.randrange(EVERY)
while True:
    inject = f"inject={CALLS}:signal=SIGKILL:when={at}"
    server.start_daemon(f"strace -qq -o /dev/null -e trace={CALLS} -e {inject}")
    up = wait_until(lambda: server.is_up() or server.daemon.poll() is not None, 20, 0.02)
    if server.daemon.poll() is None:
        comes(f"client-killed{at}")
    killed = server.daemon.poll() is not None
    if not killed:
        break
    kills += 1
    server.start_daemon()
    if not wait_until(stored, 60):
        break
    server.stop_daemon()
    at += EVERY
check(f"killed {kills} times at one of its system calls: all are on record each time", kills > 2 and stored(),
      (kills, at, server.left(), names - server.records()["current"]))
sh("pkill -x nfsd-had; true")
server.daemon.wait(patience(10))

# A restart of the server, with all of them on record; a service manager listens.
manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
manager.bind("/run/manager")
manager.settimeout(patience(10))
server.start_daemon(NOTIFY_SOCKET="/run/manager", WATCHDOG_USEC="1000000")
heard = [manager.recv(100) for _ in range(4)]
equal("the service manager is told that it is ready, then that it goes on", heard,
      [b"READY=1"] + [b"WATCHDOG=1"] * 3)
# From now on it does not listen: its queue is full soon, and the daemon goes on all the same.
sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
sender.setblocking(False)
with contextlib.suppress(BlockingIOError):
    while True:
        sender.sendto(b"more", "/run/manager")
check("it is there again", wait_until(server.is_up, 10), said())
server.stop()
# They hold nothing, and nobody would be waited for if that were known.
with contextlib.closing(sqlite3.connect(FILE, isolation_level=None)) as database:
    database.execute("UPDATE epochs SET held_until = NULL")
server.start()
equal("all may reclaim after a restart", server.status()["records_known"], len(names))
equal("they are those on record", server.records()["recovery"], names)
back = {"client-a", "client-locked", "client-away"}
for each in sorted(back):
    client = Nfs4(1, "127.0.0.1", each)
    assert client.establish() == "OK"
    equal(f"{each} says that it has reclaimed all", client.reclaim_complete(), "OK")
    client.close()
sh("echo Y > /proc/fs/nfsd/v4_end_grace")
check("the grace period ends", wait_until(lambda: not any(server.left()), 10), server.left())
equal("who has not come back is on record no more", server.records(), {"current": back, "recovery": set()})
with contextlib.closing(sqlite3.connect(FILE)) as database:
    check("and is removed from the file",
          wait_until(lambda: database.execute("SELECT count(*) FROM clients").fetchone() == (3,), 10))
server.daemon.send_signal(signal.SIGTERM)
equal("it ends when it is told to", server.daemon.wait(patience(10)), 0)

# No instance of inotify is left: the pipe, which comes and goes with the server, is looked for.
sh("echo 0 > /proc/sys/fs/inotify/max_user_instances")
server.start_daemon()
check("without inotify: it serves", wait_until(server.is_up, 10), said())
server.restart()
check("without inotify: it serves after a restart of the server", wait_until(server.is_up, 10), said())
equal("without inotify: that is said once", said().count("cannot be watched"), 1)
server.stop_daemon()
server.stop()
done()
