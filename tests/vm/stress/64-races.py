#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: timeout=1200 module=ship once=yes mem=1024 smp=2
"""Loops against each other: the module is loaded and unloaded, nfsd starts and stops, net namespaces
with a server of their own come and go, rpc_pipefs is mounted and unmounted, daemons come and go, the
control files are used, addresses drain and do no more, and clients of NFSv3, NFSv4 and NLM connect and ask for things.

Each loop must get through, whatever the others do; nothing may hang, leak or report. What it is worth
is on the debug kernel. Words: seed=N, seconds=N (600 in make test-debug).
"""

import collections
import errno
import os
import random
import sys
import threading
import time

from cld import GET_VERSION, PIPE, Pipe
from control import FILES, command, read
from fullserver import FullServer
from ktap import check, done, equal
from nfs import MODULE, SLOW, load, sh, succeeds, unload
from nfs3 import Nfs3, mount_handle
from nfs4 import Nfs4
from nlm import Nlm
from rpc import RpcError

WORDS = dict(word.split("=") for word in sys.argv[1:])
SEED = int(WORDS.get("seed", random.SystemRandom().randrange(10**6)))
SECONDS = float(WORDS.get("seconds", 12 * SLOW))
# An address that drains at times.
DRAINS = "127.0.0.2"
PARAMETERS = "/sys/module/nfsd_ha/parameters"
# How a request may end while its server comes and goes.
GONE = (OSError, EOFError, RpcError, AssertionError)


class Races:
    """The loops, and how often each got through."""

    def __init__(self, server, fh):
        self.server, self.fh = server, fh
        self.end = time.monotonic() + SECONDS
        # On a busy host some need longer to get through once.
        self.last = self.end + 100 * SLOW
        self.loops = [self.module, self.nfsd, self.namespaces, self.pipefs, self.daemons, self.daemons,
                      self.controls, self.controls, self.drains, self.connects, self.nfs4, self.nlm]
        self.times = collections.Counter()
        self.broken = []
        # Held by a daemon that reads: a message in two halves is nobody's.
        self.reading = threading.Lock()

    def run(self):
        """Has all loops run until the time is over; returns those that are still running then."""
        threads = [threading.Thread(target=self.repeat, args=(loop, random.Random(f"{SEED} {n}")),
                                    name=loop.__name__, daemon=True) for n, loop in enumerate(self.loops)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0, self.last - time.monotonic()) + 100 * SLOW)
        return [thread.name for thread in threads if thread.is_alive()]

    def repeat(self, loop, dice):
        """One of the loops."""
        while time.monotonic() < self.end or time.monotonic() < self.last and not self.all_through():
            try:
                if loop(dice):
                    self.times[loop.__name__] += 1
            except Exception as e:  # pylint: disable=broad-except
                self.broken.append(f"{loop.__name__}: {e!r}")
                return

    def all_through(self):
        """Has each got through, or is one broken?"""
        return self.broken or all(self.times[loop.__name__] for loop in self.loops)

    # --- each returns whether it got through, once ---

    def module(self, dice):
        """insmod, disable, rmmod: in the midst of it all."""
        sh(f"insmod {MODULE}")
        sh(f"echo 1 > {PARAMETERS}/upcall_timeout; echo {dice.choice((1, 2, 128))} > {PARAMETERS}/upcalls_in_flight")
        time.sleep(dice.random() * 2 * SLOW)
        unload()
        return True

    def nfsd(self, dice):
        """The server starts, and stops."""
        started = succeeds("rpc.nfsd 4")
        time.sleep(dice.random() * SLOW)
        sh("rpc.nfsd 0")
        return started

    def namespaces(self, dice):
        """A net namespace with mounts and a server comes; it ends in the order of the moment."""
        name = f"r{dice.randrange(4)}"
        sh(f"ip netns add {name}")
        ends = ["umount -l /proc/fs/nfsd", "umount -l /run/rpc_pipefs", "rpc.nfsd 0"]
        dice.shuffle(ends)
        # Without its file system, rpc.nfsd can stop nothing.
        if ends.index("rpc.nfsd 0") > ends.index("umount -l /proc/fs/nfsd"):
            ends.remove("rpc.nfsd 0")
            ends.insert(0, "rpc.nfsd 0")
        inside = ("mount -t nfsd nfsd /proc/fs/nfsd; mount -t rpc_pipefs rpc_pipefs /run/rpc_pipefs; "
                  "ip link set lo up; rpc.nfsd -N 3 2 || true; cat /proc/fs/nfsd/client_tracking || true; "
                  f"sleep {dice.random():.2f}; {'; '.join(ends)}")
        sh(f"nsenter --net=/run/netns/{name} unshare --mount sh -ec '{inside}'")
        sh(f"ip netns del {name}")
        return True

    def pipefs(self, dice):
        """The file system of the pipes is mounted, and unmounted."""
        sh("mount -t rpc_pipefs rpc_pipefs /run/rpc_pipefs")
        time.sleep(dice.random() * 2 * SLOW)
        sh("umount -l /run/rpc_pipefs")
        return True

    def daemons(self, dice):
        """A daemon opens the pipe, answers some upcalls, and goes."""
        try:
            pipe = Pipe(PIPE)
        except OSError:
            time.sleep(0.05)
            return False
        # The stock code waits for ever for an answer to what was read. A server keeps the code that
        # it has begun with, and its pipe ends with it.
        ours = is_ours()
        try:
            for _ in range(dice.randrange(6)):
                with self.reading:
                    upcall = pipe.read(0.2 * dice.random() / SLOW)
                if upcall and not (ours and dice.random() < 0.2):
                    pipe.write(upcall.answer(dice.choice((0, 0, 0, -errno.ENOSPC)) if ours else 0,
                                             first=2 if upcall.command == GET_VERSION else None))
        except (OSError, KeyError):
            pass  # the server has stopped
        finally:
            pipe.close()
        return True

    def controls(self, dice):
        """A control file is read and written."""
        name = dice.choice(FILES)
        text = dice.choice(("1234", "1234 2", "1234 0", "ip:127.0.0.1", "ip:127.0.0.1 1", "0", "?", "1234 listed",
                            f"1234 race-client-{dice.randrange(100)}", "127.0.0.1", "-127.0.0.1"))
        try:
            fd = os.open(f"/proc/fs/nfsd/{name}", os.O_RDWR | os.O_NONBLOCK)
        except OSError:
            time.sleep(0.02)
            return False
        try:
            os.read(fd, 1 << 16)
            os.write(fd, text.encode())
        except OSError:
            pass
        finally:
            os.close(fd)
        return True

    def drains(self, dice):
        """An address drains, and is served again."""
        address = dice.choice(("127.0.0.1", DRAINS, DRAINS))
        try:
            began = command("drain", f"{address} {dice.choice((0, 1, 600))}")[0]
            time.sleep(dice.random() * 0.2)
            return (began, command("drain", f"-{address}")[0]) == ("ok", "ok")
        except OSError:
            return time.sleep(0.02)

    def connects(self, dice):
        """Clients of NFSv3 connect, ask, and are there for a moment."""
        clients = [Nfs3(DRAINS) for _ in range(1 + dice.randrange(8))]
        try:
            through = all([client.getattr(self.fh)[0] == 1 for client in clients])
            time.sleep(dice.random() * 0.1)
        except GONE:
            through = False
        for client in clients:
            client.close()
        return through or time.sleep(0.05)

    def nfs4(self, dice):
        """A client of NFSv4 comes, and goes or not."""
        # Of a name the stock code hashes eight bytes, whether it has them or not: KASAN reports that
        # for RECLAIM_COMPLETE.
        client = Nfs4(dice.choice((0, 1, 2)), "127.0.0.1", f"race-client-{dice.randrange(100)}")
        try:
            through = client.establish() == "OK" and client.reclaim_complete() == "OK"
            if through and client.minor and dice.random() < 0.5:
                client.destroy_session()
                client.destroy_clientid()
        except GONE:
            through = False
        client.close()
        return through or time.sleep(0.05)

    def nlm(self, dice):
        """A client of NLM locks, reclaims or unlocks."""
        client = Nlm(4, "127.0.0.1", f"race-{dice.randrange(10)}")
        try:
            at = dice.randrange(100)
            client.lock(self.fh, offset=at, reclaim=dice.random() < 0.3)
            through = client.unlock(self.fh, offset=at) in ("GRANTED", "DENIED_GRACE")
        except GONE:
            through = False
        client.close()
        return through or time.sleep(0.05)


def is_ours():
    """Has the server our client tracking?"""
    try:
        with open("/proc/fs/nfsd/client_tracking", encoding="ascii") as f:
            return f.readline().split()[1] in ("active", "waiting")
    except OSError:
        return False


print(f"# seed={SEED} seconds={SECONDS:.0f}", flush=True)
server = FullServer(grace=2)
server.set_up()
server.stop_daemon()
server.export("a", "fsid=1234")
server.start()
server.end_grace(nfsd=False)
handle = Nfs3("127.0.0.1").create(mount_handle(server.directory + "/a", "127.0.0.1"), "f")
server.stop()
sh("umount /run/rpc_pipefs")

races = Races(server, handle)
equal("every loop ends", races.run(), [])
equal("and none failed", races.broken, [])
for what in sorted({loop.__name__ for loop in races.loops}):
    check(f"{what}: got through at least once", races.times[what])
print(f"# {dict(races.times)}")

# And now in peace.
sh("rpc.nfsd 0; mount -t rpc_pipefs rpc_pipefs /run/rpc_pipefs")
load()
server.start_daemon()
server.start()
equal("a server that starts now is tracked", server.status()["state"], "active")
server.end_grace()
equal("nothing drains", read("drain"), "")
one = Nfs4(1, "127.0.0.1", "one")
equal("a client comes", (one.establish(), one.reclaim_complete()), ("OK", "OK"))
equal("and is on record", one.name in server.records()["current"], True)
equal("and NLM grants", Nlm(4, "127.0.0.1", "one").lock(handle), "GRANTED")
server.stop()
unload()
check("the module can be unloaded", not os.path.exists("/sys/module/nfsd_ha"))
done()
