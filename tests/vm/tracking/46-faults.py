#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: timeout=600 module=ship once=yes
"""A random walk: the daemon is killed, stopped, slow and beside itself, nfsd restarts, clients come and go.

In the end the database has the clients that are there, and nobody else. Words: seed=N,
steps=N (1000 in make test-long), daemon=nfsd-had.
"""

import contextlib
import itertools
import os
import random
import signal
import sqlite3
import sys
import threading
import time

from cld import PIPE
from ktap import check, done, equal
from nfs import Server, load, patience, sh, succeeds, switch_off, wait_until
from nfs4 import Nfs4

LIMIT = 1
WORDS = dict(word.split("=") for word in sys.argv[1:])
SEED = int(WORDS.get("seed", random.SystemRandom().randrange(10**6)))
STEPS = int(WORDS.get("steps", 300))


class Walk:
    """A server, its daemon and its clients."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        # A lease so long that no client is expired: it goes when it says so.
        self.server = Server(lease=3600, grace=10)
        self.server.set_up()
        self.server.start_daemon()
        self.server.start()
        self.clients = {}
        self.numbers = itertools.count()
        self.stopped = False
        self.taken = {}
        self.longest = 0
        self.threads = []

    # --- the clients ---

    def come(self):
        """A new client, up to a state that it may reclaim."""
        client = Nfs4(1, "127.0.0.1", f"walk-{next(self.numbers)}")
        if self.introduce(client):
            self.clients[client.name] = client

    def crowd(self):
        """Some clients come at the same time."""
        threads = [threading.Thread(target=self.come) for _ in range(self.random.randrange(2, 6))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def introduce(self, client):
        """The client makes itself known, and says that it has nothing to reclaim."""
        began = time.monotonic()
        good = client.establish() == "OK" and client.reclaim_complete() == "OK"
        # nfsd keeps 64 connections of clients that it does not know by a certificate.
        client.close()
        self.longest = max(self.longest, time.monotonic() - began)
        return good

    def go(self):
        """A client says good-bye."""
        if self.clients:
            name = self.random.choice(sorted(self.clients))
            client = self.clients.pop(name)
            began = time.monotonic()
            assert client.destroy_session() == "OK"
            assert client.destroy_clientid() == "OK"
            client.close()
            self.longest = max(self.longest, time.monotonic() - began)

    def restart(self):
        """nfsd restarts; nine of ten clients come back."""
        self.server.restart()
        for name, client in sorted(self.clients.items()):
            if self.random.random() < 0.1 or not self.introduce(client):
                del self.clients[name]

    # --- the daemon ---

    def signal(self, number):
        """Sends the daemon a signal."""
        with contextlib.suppress(ProcessLookupError):
            self.server.daemon.send_signal(number)

    def kill(self):
        """The daemon is killed."""
        self.signal(signal.SIGKILL)
        self.server.daemon.wait(patience(10))
        self.stopped = False

    def start(self):
        """The daemon is started, if it does not run."""
        if self.server.daemon.poll() is not None:
            self.server.start_daemon()

    def stop(self):
        """The daemon is stopped."""
        self.signal(signal.SIGSTOP)
        self.stopped = True

    def go_on(self):
        """The daemon goes on."""
        self.signal(signal.SIGCONT)
        self.stopped = False

    def slow(self):
        """Somebody else has the daemon's database locked for a while."""
        seconds = self.random.uniform(0.1, 1.5 * LIMIT)

        def lock():
            with contextlib.suppress(sqlite3.OperationalError), \
                    contextlib.closing(sqlite3.connect(self.server.recorder.file,
                                                       timeout=1)) as db:
                db.execute("BEGIN EXCLUSIVE")
                time.sleep(seconds)
                db.rollback()
        thread = threading.Thread(target=lock, daemon=True)
        thread.start()
        self.threads.append(thread)

    def garbage(self):
        """Somebody writes nonsense to the pipe."""
        length = self.random.choice((1, 8, 100, 1034, 1067, 4096, 5000))
        data = bytearray(self.random.randbytes(length))
        if self.random.random() < 0.5:
            data[:2] = bytes((2, self.random.randrange(7)))
            data[2:4] = bytes((self.random.choice((0, 0x8d)), 0xff))[: len(data[2:4])]
        with contextlib.suppress(OSError):
            pipe = os.open(PIPE, os.O_WRONLY | os.O_NONBLOCK)
            with contextlib.suppress(OSError):
                os.write(pipe, data)
            os.close(pipe)

    def thief(self):
        """Somebody else has the pipe open for a while, and reads what is there."""
        seconds = self.random.uniform(0, LIMIT)

        def steal():
            with contextlib.suppress(OSError):
                pipe = os.open(PIPE, os.O_RDWR | os.O_NONBLOCK)
                time.sleep(seconds)
                with contextlib.suppress(OSError):
                    os.read(pipe, 2000)
                os.close(pipe)
        thread = threading.Thread(target=steal, daemon=True)
        thread.start()
        self.threads.append(thread)

    # --- the walk ---

    def step(self):
        """One step."""
        actions = ((self.come, 25), (self.crowd, 5), (self.go, 23), (self.start, 12), (self.go_on, 8),
                   (self.garbage, 12), (self.kill, 4), (self.stop, 3), (self.slow, 3),
                   (self.thief, 4), (self.restart, 1))
        (action,) = self.random.choices([a for a, _ in actions], [w for _, w in actions])
        self.taken[action.__name__] = self.taken.get(action.__name__, 0) + 1
        action()

    def calm(self):
        """Everything is well again."""
        for thread in self.threads:
            thread.join(10)
        self.go_on()
        self.start()


def stuck_threads():
    """nfsd's threads that wait in a way that nothing can end."""
    return sum(1 for line in sh("ps -eo stat=,comm=").splitlines()
               if line.startswith("D") and line.endswith("nfsd"))


print(f"# seed={SEED} steps={STEPS}", flush=True)
load(f"upcall_timeout={LIMIT}")
walk = Walk(SEED)
last = time.monotonic()
for number in range(STEPS):
    walk.step()
    if time.monotonic() - last > 10:
        last = time.monotonic()
        print(f"# {number} of {STEPS} steps, {len(walk.clients)} clients", flush=True)
walk.calm()
print("# " + ", ".join(f"{name} {count}" for name, count in sorted(walk.taken.items())), flush=True)


def left():
    """What the daemon has not been told yet."""
    status = walk.server.status()
    return [status[key] for key in ("to_store", "to_remove", "grace_done_due", "in_flight")]


check("everything is done in the end",
      wait_until(lambda: not walk.server.in_grace() and not any(left()), 90), left())
status = walk.server.status()
print("# " + ", ".join(f"{key} {status[key]}" for key in
                       ("requeued", "timed_out", "retried", "bad_downcalls", "lost")), flush=True)
records = walk.server.records()
equal("clients that are there, and are not on record",
      sorted(set(walk.clients) - records["current"]), [])
equal("clients on record that are not there", sorted(records["current"] - set(walk.clients)), [])
equal("no old records are left", records["recovery"], set())
# Its own request, and one wait each for what may be made on the way to it.
check(f"no client waited much longer than the limit of {LIMIT} s (longest {walk.longest:.1f} s)",
      walk.longest < 4 * LIMIT)
equal("no thread hangs", stuck_threads(), 0)
walk.server.stop()
walk.server.stop_daemon()
check("the livepatch can be switched off", switch_off())
check("and the module unloaded", wait_until(lambda: succeeds("rmmod nfsd_ha"), 10))
done()
