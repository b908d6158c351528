#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: once=yes timeout=300 module=load
"""Clients of NFSv4.1 lock, wait and reboot while they have locks, beside processes of the server that wait for them.

92-reboot-storm.py [seconds=N] [seed=N]

No two may ever have locks that conflict, and none may lose one that it has reclaimed.
"""

import os
import random
import subprocess
import sys
import threading
import time

from fullserver import FullServer, RawHost
from ktap import check, done, equal
from nfs import SLOW, wait_until
from nfs4 import Nfs4
from stormtable import COUNTERS, FILES, LOG, READ, SIZE, UNITS, WRITE, Hold, Table, on_server, say

WORDS = dict(word.split("=", 1) for word in sys.argv[1:])
SECONDS, SEED = int(WORDS.get("seconds", 12)), int(WORDS.get("seed", random.randrange(10**6)))
CLIENTS, LOCALS = 3, 4
server = FullServer(grace=10, lease=30)
server.set_up()
server.start()
host = RawHost()
server.end_grace()
path = server.export("a", "fsid=1234")
files = [host.create(path, f"s{number}") for number in range(FILES)]
for number in range(FILES):
    os.chmod(f"{path}/s{number}", 0o666)
print(f"# seconds={SECONDS} seed={SEED}", flush=True)


class Rebooter(threading.Thread):
    """A client, which has one lock at a time."""

    def __init__(self, me):
        super().__init__()
        self.me, self.rng = me, random.Random(f"{SEED}-{me}")
        self.table, self.reboots, self.abandoned = Table(CLIENTS + LOCALS), 0, 0
        self.nfs = Nfs4(1, host.server_ip, f"rebooter-{me}", **host.where)
        self.opens = []
        self.begin()
        assert self.nfs.reclaim_complete() == "OK"
        self.open_all()

    def begin(self):
        """A new self, which knows nothing of the former one."""
        assert self.nfs.reboot() == "OK"

    def open_all(self):
        """Opens all files."""
        self.opens = [self.nfs.open_fh(fh) for fh in files]
        assert {one.status for one in self.opens} == {"OK"}, [one.status for one in self.opens]

    def run(self):
        while not self.table.stopped:
            try:
                self.step()
            except Exception as e:  # pylint: disable=broad-exception-caught
                say(f"{self.me}: {type(e).__name__}: {e}")
                self.table.count(self.me, "errors")
                return

    def step(self):
        """Takes a lock, has it for a while, reboots or not, and lets go of it."""
        units = self.rng.choice((1, 1, 2, 3, 6))
        hold = Hold(self.rng.choice((READ, WRITE)), self.rng.randrange(FILES), self.rng.randrange(UNITS - units + 1), units)
        where = hold.first * SIZE, hold.units * SIZE, hold.kind == WRITE
        lock = self.nfs.lock(self.opens[hold.file], *where)
        if lock.status != "OK":
            assert lock.status == "DENIED", lock.status
            self.table.count(self.me, "refused")
            time.sleep(self.rng.uniform(0, 0.1))
            return
        self.mark(hold)
        time.sleep(self.rng.uniform(0, 0.1))
        if self.rng.random() < 0.4:
            lock = self.reboot(hold, where)
        if lock:
            self.table.unmark(self.me)
            assert self.nfs.unlock(lock, *where[:2]) == "OK"

    def mark(self, hold):
        """Says that it has a lock."""
        others = self.table.mark(self.me, hold)
        self.table.count(self.me, "locks")
        if others:
            self.table.count(self.me, "conflicts")
            say(f"CONFLICT: {self.me} has {hold}, and so have {[(n, self.table.holds().get(n)) for n in others]}; "
                f"the server has {sorted(on_server(path))}")

    def reboot(self, hold, where):
        """Reboots, perhaps more than once, and reclaims the lock, or leaves it; the lock."""
        for _ in range(self.rng.choice((1, 1, 2))):
            self.begin()
            self.reboots += 1
            time.sleep(self.rng.uniform(0, 0.3))
        if self.rng.random() < 0.2:
            self.abandoned += 1
            self.table.unmark(self.me)
            assert self.nfs.reclaim_complete() == "OK"
            self.open_all()
            return None
        opened = self.nfs.open_reclaim(files[hold.file])
        lock = self.nfs.lock(opened, *where, reclaim=True) if opened.status == "OK" else opened
        there = hold in on_server(path)
        self.table.count(self.me, "checked")
        if lock.status != "OK" or not there:
            self.table.count(self.me, "lost")
            say(f"LOST: {self.me} had {hold}: {opened.status}, {lock.status}; the server has {sorted(on_server(path))}")
            self.table.unmark(self.me)
        if lock.status == "OK" and self.rng.random() < 0.3:
            # Once more, with what it has reclaimed.
            self.begin()
            self.reboots += 1
            opened = self.nfs.open_reclaim(files[hold.file])
            lock = self.nfs.lock(opened, *where, reclaim=True)
            assert (opened.status, lock.status) == ("OK", "OK"), (opened.status, lock.status)
        assert self.nfs.reclaim_complete() == "OK"
        assert lock.status != "OK" or hold in on_server(path)
        self.open_all()
        return lock if lock.status == "OK" else None


class Locals:
    """Processes of the server that lock the same files, and wait."""

    def __init__(self):
        self.lives = 0
        self.running = [self.spawn(n) for n in range(LOCALS)]

    def spawn(self, n):
        """Starts one, each time with other random numbers."""
        self.lives += 1
        # pylint: disable-next=consider-using-with
        return subprocess.Popen(["python3", "/test/nlm/stormer.py", str(CLIENTS + n), str(CLIENTS + LOCALS),
                                 f"{SEED}-{n}-{self.lives}", path, path])

    def keep(self):
        """Starts anew those that have killed themselves."""
        for n, process in enumerate(self.running):
            if process.poll() is not None:
                self.running[n] = self.spawn(n)

    def end(self):
        """Waits for their end; how many there are then."""
        wait_until(lambda: all(process.poll() is not None for process in self.running), 40)
        return sum(process.poll() is None for process in self.running)


def storm(seconds):
    """Lets all loose for a while; the counters, how often clients have rebooted, and who does not end."""
    table = Table(CLIENTS + LOCALS, create=True)
    rebooters, others = [Rebooter(me) for me in range(CLIENTS)], Locals()
    for rebooter in rebooters:
        rebooter.start()
    end = time.monotonic() + seconds * SLOW
    while time.monotonic() < end:
        time.sleep(0.3)
        others.keep()
    table.stop()
    for rebooter in rebooters:
        rebooter.join(60)
    stuck = others.end() + sum(rebooter.is_alive() for rebooter in rebooters)
    for rebooter in rebooters:
        rebooter.nfs.reclaim_complete()
        rebooter.nfs.destroy_session()
        rebooter.nfs.destroy_clientid()
    total = {name: sum(table.counter(n, name) for n in range(CLIENTS + LOCALS)) for name in COUNTERS}
    total["reboots"] = sum(rebooter.reboots for rebooter in rebooters)
    with open(LOG, encoding="ascii") as f:
        for line in f.readlines()[:20]:
            print(f"#   {line.rstrip()}")
    print(f"# {', '.join(f'{count} {name}' for name, count in total.items())}; seed={SEED}", flush=True)
    return total, stuck


def former_selves(whose):
    """Sets the parameter."""
    with open("/sys/module/nfsd_ha/parameters/former_selves", "w", encoding="ascii") as f:
        f.write(whose)


former_selves("off")
total, _ = storm(5)
check("the checker finds what is lost without former selves", total["lost"] > 0)
former_selves("all")
total, stuck = storm(SECONDS)
check("clients have rebooted, and reclaimed", total["reboots"] > 10 and total["checked"] > 10)
equal("no two locks conflict", total["conflicts"], 0)
equal("no lock is lost", total["lost"], 0)
equal("no error", total["errors"], 0)
equal("all end", stuck, 0)
equal("no former self is left", server.status()["former_selves"], 0)
done()
