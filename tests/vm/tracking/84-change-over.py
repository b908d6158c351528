#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: once=yes timeout=240 module=load
"""nfsd-had comes in place of nfsdcld, and nfsdcld in place of nfsd-had, while the server runs: no client loses a lock.

As docs/records.md says it. Both in its grace period, too.
"""

import json
import os

import recorders
from ktap import check, done, equal
from nfs import Client, Server, sh, wait_until
from program import BUSY, DONE, tool
from reclaim import NAMES, write_all

CLD, HAD, OUT = "/var/lib/nfs/nfsdcld", "/var/lib/nfsd-ha", "/root/nfsdcld"
FILE = f"{HAD}/records.sqlite"


def records(*words):
    """Runs nfsd-ha records."""
    status, out, error = tool("--json", "records", *words)
    check(f"records {words[0]} is done", status == DONE, (words, out, error))
    return json.loads(out) if out.strip() else {}


def to_had():
    """From nfsdcld to nfsd-had."""
    server.stop_daemon()
    sh(f"rm -rf {HAD}/*")
    told = records("import", CLD)
    server.recorder = recorders.NfsdHad(HAD)
    server.start_daemon()
    return told


def to_cld():
    """And back."""
    server.stop_daemon()
    sh(f"rm -rf {OUT} {CLD}/main.sqlite*")
    records("export", "--nfsdcld", OUT)
    sh(f"cp {OUT}/main.sqlite {CLD}/")
    server.recorder = recorders.Nfsdcld(CLD)
    server.start_daemon()


def all_go_on(what):
    """The server restarts: all reclaim, and the grace period ends."""
    server.restart()
    equal(f"{what}: all may reclaim after a restart", server.records()["recovery"], NAMES)
    equal(f"{what}: all write under their locks", write_all(holders), ["ok"] * 3)
    equal(f"{what}: the server holds them", [server.locks(c.file) for c in clients], [1, 1, 1])


def all_stored(what):
    """The grace period ends, with all on record."""
    sh("echo Y > /proc/fs/nfsd/v4_end_grace")
    check(f"{what}: all are on record when the grace period is over",
          wait_until(lambda: not server.in_grace() and server.records() == {"current": NAMES, "recovery": set()}, 20),
          server.records())


sh("echo 5 > /sys/module/nfsd_ha/parameters/upcall_timeout")
server = Server(lease=15, grace=60, recorder=recorders.Nfsdcld)
server.set_up()
server.start_daemon()
server.start()
clients = [Client(name, version) for name, version in zip("abc", ("4.0", "4.1", "4.2"))]
for client in clients:
    client.mount()
holders = [client.holder() for client in clients]
equal("nfsdcld: three clients write under their locks", write_all(holders), ["ok"] * 3)

equal("an import is refused while nfsdcld runs", tool("records", "import", CLD)[0], BUSY)
told = to_had()
equal("three clients are on record now", (told["clients"], told["changed"]), (3, True))
equal("a second import is refused while nfsd-had runs", tool("records", "import", CLD)[0], BUSY)
listed = records("list")
equal("records list shows them", len(listed), 3)
status, out, error = tool("export-clients", "--database", FILE, "0")
check("export-clients takes its file", status == DONE and out.count("NFSv4.") == 3, (out, error))
all_go_on("nfsd-had")
all_stored("nfsd-had")
records("check")

to_cld()
all_go_on("nfsdcld again")
# In the grace period, with all on record again but for the client of NFSv4.0.
told = to_had()
equal("in the grace period: all are taken over", told["clients"], 3)
equal("in the grace period: all write", write_all(holders), ["ok"] * 3)
all_go_on("nfsd-had, from the grace period")
to_cld()
equal("nfsdcld, in the grace period: all write", write_all(holders), ["ok"] * 3)
all_stored("nfsdcld, in the grace period")
all_go_on("nfsdcld, from the grace period")
all_stored("nfsdcld, from the grace period")
to_had()
all_go_on("nfsd-had, in the end")
all_stored("nfsd-had, in the end")

equal("all write in the end", write_all(holders), ["ok"] * 3)
for holder in holders:
    holder.stop()
for client in clients:
    client.umount()
check("who has gone is on record no more", wait_until(lambda: server.records()["current"] == set(), 10),
      server.records())
server.stop()
server.stop_daemon()
check("the records are closed", not os.path.exists(f"{FILE}-wal"))
done()
