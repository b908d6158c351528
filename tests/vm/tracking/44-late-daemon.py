#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: timeout=180 module=load once=yes
"""nfsdcld comes after the server: in the grace period, and after it."""

import signal
import threading
import time

from ktap import check, done, equal
from nfs import Server, patience, sh, wait_until
from nfs4 import Nfs4


def client(name):
    """A client of the server."""
    this = Nfs4(1, "127.0.0.1", f"client-{name}")
    assert this.establish() == "OK"
    return this


def open_file(this):
    """Tells the server that nothing is left to reclaim, and opens a file."""
    assert this.reclaim_complete() == "OK"
    this.file = this.open(this.path("/"), this.name)
    assert this.file.status == "OK", this.file.status


def come_back(*clients):
    """The clients notice that the server has restarted."""
    for this in clients:
        assert this.establish() == "OK"


server = Server(lease=10)
server.set_up()
server.start_daemon()
server.start()
a, b = client("a"), client("b")
for each in (a, b):
    open_file(each)
equal("two clients are on record", server.records()["current"], {a.name, b.name})

# In the grace period.
server.stop()
server.stop_daemon()
began = time.monotonic()
server.start()
check("the server starts without a daemon in three seconds", time.monotonic() - began < 3)
equal("and its tracking waits", server.status()["state"], "waiting")
come_back(a, b)
reclaimed = []
thread = threading.Thread(target=lambda: reclaimed.append(a.open_reclaim(a.file.fh).status))
thread.start()
time.sleep(2)
equal("a client that reclaims waits for the daemon", reclaimed, [])
server.start_daemon()
thread.join(patience(20))
equal("and reclaims when it is there", reclaimed, ["OK"])
check("tracking is active", wait_until(lambda: server.status()["state"] == "active", 10))
check("in the grace period", server.in_grace())
equal("which ends when both are done", [each.reclaim_complete() for each in (a, b)], ["OK", "OK"])
check("at once", wait_until(lambda: not server.in_grace(), 3, patient=False), server.status())
equal("both are on record", server.records(), {"current": {a.name, b.name}, "recovery": set()})

# After the grace period. The limit is well under what a client of this test waits for an answer.
sh("echo 5 > /sys/module/nfsd_ha/parameters/upcall_timeout")
server.stop()
server.stop_daemon()
server.start()
check("the grace period ends without a daemon", wait_until(lambda: not server.in_grace(), 60))
equal("the records are told of it later", server.status()["grace_done_due"], 1)
come_back(a)
c = client("c")
for each in (a, c):
    open_file(each)
equal("two clients wait to be recorded", server.status()["to_store"], 2)
server.start_daemon()
check("which they are when the daemon comes",
      wait_until(lambda: server.status()["grace_done_due"] == 0, 10), server.status())
equal("and who has not come back is on record no more", server.records(),
      {"current": {a.name, c.name}, "recovery": set()})
server.restart()
come_back(a, b, c)
equal("so after a restart it cannot reclaim, and the others can",
      [each.open_reclaim(each.file.fh).status for each in (a, b, c)], ["OK", "RECLAIM_BAD", "OK"])

# Slower than the limit, when the grace period ends: it must not be told twice.
sh("echo 2 > /sys/module/nfsd_ha/parameters/upcall_timeout")
equal("the two are done", [each.reclaim_complete() for each in (a, c)], ["OK", "OK"])
server.restart()
come_back(a, c)
server.daemon.send_signal(signal.SIGSTOP)
sh("echo Y > /proc/fs/nfsd/v4_end_grace")
check("the grace period ends without an answer", wait_until(lambda: not server.in_grace(), 20))
time.sleep(4)
server.daemon.send_signal(signal.SIGCONT)
check("the daemon has done what it was told",
      wait_until(lambda: server.status()["grace_done_due"] == 0, 10), server.status())
equal("the records of those who had not reclaimed are gone", server.records(),
      {"current": set(), "recovery": set()})
d = client("d")
open_file(d)
server.restart()
server.restart()
equal("and a later one is on record after two restarts", server.status()["records_known"], 1)
server.stop()
server.stop_daemon()
done()
