#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The client of the demo, which tells what happens."""

import time

import harness
from ktap import done, equal
from nfs import Holder, sh

began = time.monotonic()


def say(text):
    """A line of the timeline."""
    print(f"# {time.monotonic() - began:6.1f} s  {text}", flush=True)


harness.get("up")
began = time.monotonic()
say("the server runs: nfsd with the module's tracking, nfsdcld with its SQLite database")
sh("mkdir -p /mnt/a; unshare --uts sh -ec 'hostname client-a; "
   "mount -t nfs -o vers=4.2,timeo=50 server:/ /mnt/a'")
holder = Holder("/mnt/a/file-a")
say("a client mounts the export over NFSv4.2, opens a file and locks it")
first = holder.write()
harness.put("locked")
say(f"nfsdcld has it on record: {harness.get('recorded')}")
harness.get("down")
say("nfsd is stopped")
known = harness.get("up-again")
say(f"nfsd is started again; clients that may reclaim: {known}")
asked = time.monotonic()
second = holder.write()
say(f"the client writes under its lock, {time.monotonic() - asked:.1f} s after it tried")
harness.put("written")
kept = harness.get("held")
say(f"does the server hold the lock, and keep others out? {kept}")
say("the server's machine is reset: power off, only the disk is kept")
harness.put("reset-it")
known = harness.get("back")
say(f"it has booted, and nfsd runs; clients that may reclaim: {known}")
asked = time.monotonic()
third = holder.write()
say(f"the client writes under its lock, {time.monotonic() - asked:.1f} s after it tried")
harness.put("written-again")
kept_again = harness.get("held-again")
say(f"does the server hold the lock, and keep others out? {kept_again}")
equal("the client writes before, between and after", [first, second, third], ["ok"] * 3)
equal("its lock is there each time", [kept, kept_again], ["yes", "yes"])
done()
