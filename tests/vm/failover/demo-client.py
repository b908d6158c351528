#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The clients of the demo, which tells what happens."""

import os
import threading
import time

import harness
from conductor import Servers
from ktap import check, done, equal
from nfs import Holder, sh, wait_until

ADDRESS = "10.77.0.50"
began = time.monotonic()


def say(text):
    """A line of the timeline."""
    print(f"# {time.monotonic() - began:6.1f} s  {text}", flush=True)


class Writer(threading.Thread):
    """A process that has a file locked, and writes to it all the time."""

    def __init__(self, version, source):
        super().__init__(daemon=True)
        self.version, path = version, f"/mnt/{version}"
        os.makedirs(path)
        sh(f"mount -t nfs -o vers={version},hard {ADDRESS}:{source} {path}")
        self.file = f"file-{version}"
        self.holder = Holder(f"{path}/{self.file}")
        self.wrote, self.errors, self.ends = [], set(), False
        self.start()

    def run(self):
        """Writes, until it is to end."""
        while not self.ends:
            result = self.holder.write()
            if result == "ok":
                self.wrote.append(time.monotonic())
            else:
                self.errors.add(result)
            time.sleep(0.05)

    def outage(self, since, back):
        """Waits until it has written twice after it can again; for how long it could not since a time."""
        check(f"NFS {self.version} writes again",
              wait_until(lambda: sum(when > back for when in self.wrote) > 1, 60, 0.05))
        times = [when for when in self.wrote if when > since]
        return max(after - before for before, after in zip([since, *times], times))


def outages(since):
    """When the export is served again: how long each could not write, in words."""
    back = time.monotonic()
    seen = ", ".join(f"{writer.outage(since, back):.1f} s for NFS {writer.version}" for writer in writers)
    say(f"all write again; the longest that one could not: {seen}")


def locked(server):
    """Does a server hold all locks?"""
    wanted = sorted(writer.file for writer in writers)
    has = wait_until(lambda: sorted({line.split()[0] for line in servers.ask(server, "locked", "ha")}) == wanted, 30, 0.2)
    check(f"{server} holds the locks", has, servers.ask(server, "locked", "ha"))
    return "yes" if has else "no"


def took(steps):
    """The steps of a move, in words."""
    return ", ".join(f"{step} {seconds:.2f} s" for step, seconds in steps["seconds"].items())


sh("modprobe nfsv4; modprobe nfs; modprobe nfsv3; rpcbind -w; rpc.statd --no-notify")
servers, writers = Servers("ab"), []
began = time.monotonic()
servers.ask("a", "serve", "ha")
say(f"servers a and b run; a serves an export at the floating address {ADDRESS}")
writers.append(Writer("4.2", "/ha"))
say("a client mounts it over NFSv4.2, locks a file, and writes to it all the time")
since = time.monotonic()
servers.ask("a", "restart")
say("nfsd was stopped and started on a")
outages(since)
say(f"does a hold the lock, as before? {locked('a')}")
since = time.monotonic()
say("a's machine is reset: power off, only the disks are kept")
servers.boot("a", "again")
servers.ask("a", "resume", "ha")
say("it has booted, and serves the export again")
outages(since)
say(f"does a hold the lock? {locked('a')}")
servers.ask("a", "lockd_ready")
writers.append(Writer("3", "/srv/ha"))
say("another client mounts it over NFSv3, and locks a file by NLM")
since = time.monotonic()
left = servers.ask("a", "leave", "ha")
say(f"a: nfsd-ha move-out: {took(left)}")
taken = servers.ask("b", "take", "ha", "30", left["list"])
say(f"b: nfsd-ha move-in: {took(taken)}")
outages(since)
say(f"does b hold the locks? {locked('b')}")
since = time.monotonic()
harness.kill("b")
say("b's power is cut")
taken = servers.ask("a", "recover", "ha", "30", "b")
say(f"a: nfsd-ha move-in, with what b had on record: {took(taken)}")
outages(since)
say(f"does a hold the locks? {locked('a')}")
servers.boot("b", "again")
for writer in writers:
    writer.ends = True
    writer.join(60)
equal("no write has failed", [writer.errors for writer in writers], [set()] * 2)
equal("no lock was lost", sh("dmesg | grep -i 'lost\\|failed to reclaim'", check=False), "")
servers.end()
done()
