#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: once=yes timeout=600 alone=yes mem=1536 module=load
"""nlm_unlock with ten locks on each of many files, beside as many of another fsid.

56-scale.py [FILES]: 1,000 by default; `make test-long` has 10,000.
"""

import os
import sys
import threading
import time

import v3
from control import clients
from ktap import check, done, equal
from nlmload import Load, handles
from nfs import SLOW, succeeds

FILES = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
OWNERS = 10
# Every owner has one lock on each file, every other one for reading; none can be merged.
LOCKS = [(owner, owner % 2, owner * 100, 50) for owner in range(1, OWNERS + 1)]

(a, b), grace_end = v3.start([("a", 1234), ("b", 5678)])
check("nlm_unlock is there", v3.has("nlm_unlock"))
if not v3.has("nlm_unlock"):
    done()
files = {}
for export in a, b:
    export.make_files(FILES)
    files[export] = handles(export, FILES)
v3.sleep_until(grace_end)


def in_proc_locks():
    """How many locks /proc/locks has of each."""
    counts = {f" {os.major(e.device):02x}:{os.minor(e.device):02x}:".encode(): 0 for e in (a, b)}
    with open("/proc/locks", "rb") as f:
        text = f.read()
    return [text.count(device) for device in counts]


def held():
    """fsid and locks of each line of nlm_clients that has some."""
    return sorted((line[0], line[4]) for line in clients() if line[4])


load = Load("load")
for export in a, b:
    began = time.monotonic()
    load.many(files[export], LOCKS)
    took = time.monotonic() - began
    print(f"# {FILES * OWNERS} locks on {FILES} files in {took:.1f} s: "
          f"{FILES * OWNERS / took:.0f} a second", flush=True)
began = time.monotonic()
equal("the server has all locks", in_proc_locks(), [FILES * OWNERS] * 2)
print(f"# reading /proc/locks: {time.monotonic() - began:.1f} s")
if v3.has("nlm_clients"):
    began = time.monotonic()
    equal("nlm_clients counts them", held(),
          [("1234", FILES * OWNERS), ("5678", FILES * OWNERS)])
    print(f"# reading nlm_clients: {time.monotonic() - began:.1f} s")

# How long a lock takes on the other fsid, before and during the release.
probe, stop, times = Load("probe"), threading.Event(), []
some = files[b][:: max(1, FILES // 100)]


def measured(act):
    """What `act` returns, and how long locks took meanwhile."""
    stop.clear()
    seen = []
    thread = threading.Thread(target=lambda: seen.extend(probe.measure(some, stop)))
    thread.start()
    try:
        return act(), seen
    finally:
        stop.set()
        thread.join()


_, quiet = measured(lambda: time.sleep(2))
(error, answer, took), busy = measured(lambda: v3.unlock(a.fsid))
print(f"# nlm_unlock of {FILES * OWNERS} locks on {FILES} files took {took:.2f} s: {answer}")
print(f"# a lock on the other fsid: {max(quiet) * 1000:.1f} ms at most before, "
      f"{max(busy) * 1000:.1f} ms during the release ({len(busy)} locks)")
equal("the release succeeds", error, 0)
equal("it counts what it has released", [answer.get(key) for key in ("locks", "blocks", "shares",
                                                                    "files")],
      [FILES * OWNERS, 0, 0, FILES])
equal("the other fsid has all of its locks", in_proc_locks(), [0, FILES * OWNERS])
if v3.has("nlm_clients"):
    equal("nlm_clients says the same", held(), [("5678", FILES * OWNERS)])
check("a lock on the other fsid waits no longer than a second", max(busy) < SLOW, max(busy))
took, output = a.unexport_and_umount()
equal("the file system can be unmounted", output, "")
print(f"# that took {took:.2f} s")
check("the server still grants locks", load.many(some, [(99, 1, 10**7, 1)]) is None)
check("it stops", succeeds("rpc.nfsd 0"))
done()
