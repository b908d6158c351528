#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The server of 87-grace-by-export.scenario. A hundred exports are made anew; one is on a disk, as are the records."""

import os
import time

import harness
from ktap import check, done, equal
from nfs import Server, patience, sh, wait_until
from nfs4 import Nfs4
from nlm import Nlm
from recorders import Nfsdcld

# lockd cannot have a shorter one than 10 s; after the reset it has to last.
GRACE = 25 if harness.STAGE else 10
EXPORTS = [f"x{n:02}" for n in range(100)]
ROOT = "/srv/root"
sh("mkdir -p /srv/data; mount /dev/disk/data /srv/data; mkdir -p /srv/data/held /srv/data/nfsdcld")
server = Server(directory=ROOT, state="/srv/data/nfsdcld", lease=10, grace=GRACE)
server.set_up()
sh(f". /test/lib/lib.sh; start_rpc; mkdir -p {ROOT}/held; mount --bind /srv/data/held {ROOT}/held")
for fsid, export in enumerate(EXPORTS):
    os.makedirs(f"{ROOT}/{export}")
    sh(f"mount -t tmpfs tmpfs {ROOT}/{export}")
    with open(f"{ROOT}/{export}/nlm", "wb"):
        pass
with open("/etc/exports", "w", encoding="ascii") as f:
    options = "rw,no_root_squash,no_subtree_check"
    f.write(f"{ROOT} *(ro,fsid=0,no_subtree_check)\n{ROOT}/held *({options},fsid=1)\n")
    f.writelines(f"{ROOT}/{x} *({options},fsid={n + 10})\n" for n, x in enumerate(EXPORTS))


def start():
    """Starts the server, with NFSv3."""
    sh(f"echo {server.lease} > /proc/fs/nfsd/nfsv4leasetime; echo {GRACE} > /proc/fs/nfsd/nfsv4gracetime; "
       f"echo {GRACE} > /proc/sys/fs/nfs/nlm_grace_period; exportfs -ra; pidof rpc.mountd || rpc.mountd; rpc.nfsd 8")


def confirm(name):
    """A client of this machine."""
    this = Nfs4(1, "127.0.0.1", name)
    assert (this.establish(), this.reclaim_complete()) == ("OK", "OK")
    return this


def first_lock(client, export):
    """What the first OPEN and the first LOCK on an export end with."""
    opened = client.open(client.path(export), "mine")
    return opened.status, client.lock(opened).status if opened.status == "OK" else None


def held_by_nlm(client):
    """A lock of NLM on an export of its own."""
    return Nlm(4, "127.0.0.1", "localhost").lock(client.path("x99/nlm"))


server.start_daemon()
start()
if not harness.STAGE:
    # lockd's own grace period comes first.
    client = confirm("local")
    assert wait_until(lambda: held_by_nlm(client) == "GRANTED", 2 * GRACE, step=1)
    harness.put("up")
    harness.get("locked")
    check("two exports are held when the client has held nothing on the third for a while",
          wait_until(lambda: server.status()["exports_held"] == 2, 60))
    check("the daemon is told that it has all holds",
          wait_until(lambda: server.status()["all_held"] == 1, 60))
    # It has nothing that would have to be waited for.
    assert (client.destroy_session(), client.destroy_clientid()) == ("OK", "OK")
    harness.put("cut")
    harness.get("gone")
    harness.reset("again")

equal("one client is on record, and waited for",
      [server.status()[key] for key in ("records_known", "reclaimers_awaited")], [1, 1])
check("there is a grace period", server.in_grace())
new = confirm("new")
first = time.monotonic()
equal("on an export that nobody held anything on, a client opens and locks at once",
      first_lock(new, "x01"), ("OK", "OK"))
check(f"in less than a second ({time.monotonic() - first:.3f} s)", time.monotonic() - first < patience(1))
first = time.monotonic()
equal("and with NLM", Nlm(4, "127.0.0.1").lock(new.path("x02/nlm"), monitored=False), "GRANTED")
check(f"in less than a second ({time.monotonic() - first:.3f} s)", time.monotonic() - first < patience(1))
equal("and on all the others", {first_lock(new, export) for export in EXPORTS[3:50] + EXPORTS[51:-1]}, {("OK", "OK")})
equal("where a lock is held, nobody opens", first_lock(new, "held"), ("GRACE", None))
equal("where a lock of NLM was held, one opens, but does not lock", first_lock(new, "x99"), ("OK", "GRACE"))
equal("nor with NLM", held_by_nlm(new), "DENIED_GRACE")
check("all that was in the grace period", server.in_grace())
ended = time.monotonic()
harness.put("back")
harness.get("written")
check("the grace period ends when who held something has it again",
      wait_until(lambda: not server.in_grace(), 20))
check(f"soon ({time.monotonic() - ended:.0f} s)", time.monotonic() - ended < GRACE / 2)
equal("where a lock of NLM was held, locks wait for lockd's", held_by_nlm(new), "DENIED_GRACE")
equal("but not where only one of NFSv4 was", first_lock(new, "held"), ("OK", "OK"))
check("it comes to its end", wait_until(lambda: held_by_nlm(new) == "GRANTED", 2 * GRACE, step=1))

harness.put("done")
server.stop()
start()
check("after a clean stop there is a grace period", server.in_grace())
equal("but not where nobody held anything", first_lock(confirm("late"), "x50"), ("OK", "OK"))

# The same with nfsdcld: all of them wait.
server.stop()
server.stop_daemon()
server.recorder = Nfsdcld(server.state)
server.start_daemon()
start()
kept = confirm("kept")
equal("with nfsdcld, a client holds something", first_lock(kept, "x03")[0], "OK")
server.stop()
start()
equal("and all exports are in grace", first_lock(confirm("newer"), "x04"), ("GRACE", None))
done()
