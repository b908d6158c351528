#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The server of 14-reset.scenario. Its exports and nfsdcld's database are on a disk."""

import harness
from ktap import check, done, equal
from nfs import Server, sh, wait_until
from reclaim import NAMES

sh("mkdir -p /srv/data; mount /dev/disk/data /srv/data")
server = Server(directory="/srv/data/export", state="/srv/data/nfsdcld", lease=10, tmpfs=False)
server.set_up()
server.start_daemon()
server.start()
FILES = ["file-a", "file-b", "file-c"]

if not harness.STAGE:
    harness.put("up")
    harness.get("locked")
    equal("the database has the three clients", server.records()["current"], NAMES)
    equal("the server holds their locks", [server.locks(f) for f in FILES], [1, 1, 1])
    harness.reset("again")

equal("after the reset, the three are on record", server.status()["records_known"], 3)
check("there is a grace period for them", server.in_grace())
harness.put("back")
equal("they go on under their locks", harness.get("written"), "ok ok ok")
equal("the server holds the locks again", [server.locks(f) for f in FILES], [1, 1, 1])
check("a conflicting lock is refused", not any(server.can_lock(f) for f in FILES))
check("the grace period ends", wait_until(lambda: not server.in_grace(), 60))
wait_until(lambda: not server.records()["recovery"], 5)
equal("all three are on record for the next time", server.records()["current"], NAMES)
harness.put("done")
done()
