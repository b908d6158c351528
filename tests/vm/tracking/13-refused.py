#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: once=yes timeout=180 module=load
"""Who may not reclaim: a client that is not on record, and one that comes too late."""

import fcntl
import time

from ktap import check, done, equal
from nfs import Client, Server, wait_until

server = Server(lease=10)
server.set_up()
server.start_daemon()
server.start()
a, b, c = clients = [Client(name, "4.2") for name in "abc"]
for client in clients:
    client.mount()
holders = [client.holder() for client in clients]
equal("all write under their locks", [h.write() for h in holders], ["ok"] * 3)

server.stop()
server.forget(b.name)
c.link("down")
server.start()
equal("two clients are on record", server.status()["records_known"], 2)
began = time.monotonic()
equal("the one that is on record reclaims", holders[0].write(), "ok")
check("the grace period goes on for the one that was cut off", server.in_grace())
equal("the one that is not on record does not reclaim", holders[1].write(), "EIO")
check("the server has refused it", server.status()["reclaims_refused"] > 0, server.status())
equal("its lock is gone, the other one is there",
      (server.locks(a.file), server.locks(b.file)), (1, 0))
check("the grace period ends by time",
      wait_until(lambda: not server.in_grace(), 60) and time.monotonic() - began > 8)
equal("one has reclaimed, one has not", server.status()["grace_done"], 1)

with open(f"{server.directory}/{c.file}", "r+b") as f:
    fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
    check("somebody else gets its lock after the grace period", True)
    c.link("up")
    holders[2].ask()
    equal("it comes too late, and is told so", holders[2].answer(), "EIO")
    equal("the other keeps the lock", server.locks(c.file), 1)
equal("the one that reclaimed goes on", holders[0].write(), "ok")
for holder in holders:
    holder.stop()
done()
