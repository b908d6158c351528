#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The server of the demo: stops and starts nfsd, then loses power."""

import time

import harness
from ktap import check, done
from nfs import Server, sh

sh("mkdir -p /srv/data; mount /dev/disk/data /srv/data")
server = Server(directory="/srv/data/export", state="/srv/data/nfsdcld", lease=20, tmpfs=False)
server.set_up()
server.start_daemon()


def start(key):
    """Starts nfsd, and tells who may reclaim."""
    server.start()
    status = server.status()
    check("the module tracks the clients", status["state"] == "active", status)
    harness.put(key, str(status["records_known"]))


def held(key):
    """The client's lock is there, and keeps others out."""
    locks, free = server.locks("file-a"), server.can_lock("file-a")
    good = locks == 1 and not free
    with open("/proc/locks", encoding="ascii") as f:
        check("the client holds its lock", good, [locks, free, f.read()])
    harness.put(key, "yes" if good else "no")


if not harness.STAGE:
    start("up")
    harness.get("locked")
    harness.put("recorded", " ".join(sorted(server.records()["current"])))
    server.stop()
    harness.put("down")
    time.sleep(1)
    start("up-again")
    harness.get("written")
    held("held")
    harness.get("reset-it")
    harness.reset("after")
start("back")
harness.get("written-again")
held("held-again")
done()
