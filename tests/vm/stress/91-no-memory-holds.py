#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: timeout=600 module=load once=yes smp=1
"""Every allocation fails once of what puts holds on record, and some of all at once: what is granted is in nfsd-had's file.

Only a debug kernel can do that (make test-debug), and sees what is forgotten or used after that.
"""

import collections
import contextlib
import itertools
import os
import random
import sqlite3
import time

import faults
import recorders
from fullserver import FullServer, RawHost
from ktap import check, done, equal
from nfs import sh, wait_until
from nlm import Nlm, Responder

if not faults.available():
    print("1..0 # SKIP this kernel has no fault injection")
    raise SystemExit(0)

STATE = "/var/lib/nfsd-ha"
numbers = itertools.count(100)
server = FullServer(grace=10, lease=10)
server.recorder = recorders.NfsdHad(STATE)
os.makedirs(STATE, exist_ok=True)
server.set_up()
faults.limit(faults.text())
# The last sweep takes longer than the daemon would count on what it was told before.
sh("echo 86400 >/sys/module/nfsd_ha/parameters/holds_valid")
server.start()
server.stop()
server.grace = 300
sh("rpc.nfsd 1")
host = RawHost()
Responder(host.netns)
server.end_grace()


def rows():
    """What is in the daemon's file: for each hold the client's name, and the fsid as text."""
    with contextlib.closing(sqlite3.connect(f"file:{server.recorder.file}?mode=ro", uri=True)) as db:
        return {(bytes(name).decode(), str(export)) for name, export in db.execute(
            "SELECT name, export FROM holds WHERE epoch >= "
            "(SELECT coalesce(max(epoch), 0) FROM epochs WHERE ended IS NOT NULL)")}


def new_export():
    """A file on an export that nobody holds anything on, and its fsid."""
    fsid = str(next(numbers))
    return host.create(server.export(f"x{fsid}", f"fsid={fsid}")), fsid


def confirm(name):
    """A client that may open."""
    client = faults.Patient(1, host.server_ip, name, **host.where)
    assert (client.establish(), client.reclaim_complete()) == ("OK", "OK")
    return client


def is_said():
    """Has the daemon heard that it has all holds? From then on, nothing is granted without one."""
    return server.status()["all_held"] == 1


def sweep(what, prepare, act, wanted):
    """Has something granted for the first time on an export, with each allocation failing of the thread that does that.

    `wanted` is what a client hears if it is granted, and then what it may hear if it is not.
    """
    now = []

    def before():
        now[:] = prepare()
        assert wait_until(is_said, 60)
        return now[0]

    def granted():
        said = act(*now[1:-1])
        return said, now[-1] in rows()

    seen = [result for _, result in faults.each(granted, before)]
    print(f"# {what}: {dict(collections.Counter(seen))}", flush=True)
    check(f"allocations of {what} have failed", seen)
    equal(f"{what}: it is granted or refused", {said for said, _ in seen} - {wanted[0], *wanted[1:]}, set())
    equal(f"{what}: what is granted is on record",
          [number for number, (said, stored) in enumerate(seen, 1) if said == wanted[0] and not stored], [])
    before()
    equal(f"{what}: with memory it is granted", granted(), (wanted[0], True))


def for_nfs4():
    """The thread, what is opened, and the row that comes of it."""
    file, fsid = new_export()
    return [nfsd], file, ("one", fsid)


def for_nlm():
    """The same for NLM."""
    file, fsid = new_export()
    return [lockd], file, ("", fsid)


def at_random():
    """Clients open and close while one allocation of ten fails, whoever makes it."""
    places, clients = [new_export() for _ in range(3)], [confirm(f"random-{n}") for n in range(3)]
    held, seen, missing = {}, collections.Counter(), []
    assert wait_until(is_said, 60)
    with faults.some(10):
        end = time.monotonic() + 40
        while time.monotonic() < end:
            comer, (file, fsid) = random.choice(clients), random.choice(places)
            key = (comer.name, fsid)
            if key in held:
                comer.close_file(held.pop(key))
                continue
            opened = comer.open_fh(file)
            seen[opened.status] += 1
            if opened.status == "OK":
                held[key] = opened
                missing += [key] if key not in rows() else []
    print(f"# at random: {dict(seen)}", flush=True)
    equal("at random: an OPEN is granted or refused", set(seen), {"OK", "GRACE"} | (set(seen) & {"DELAY"}))
    equal("at random: what is granted is on record", missing, [])
    check("at random: the daemon has all holds again", wait_until(is_said, 60))
    equal("at random: what is open is on record", [key for key in held if key not in rows()], [])
    for (name, fsid), opened in held.items():
        (comer,) = (one for one in clients if one.name == name)
        assert comer.close_file(opened) == "OK"

    def is_left():
        for comer in clients:
            assert comer.renew() == "OK"
        return [row for row in rows() if row[0].startswith("random-")]

    check("at random: what is open no more is not", wait_until(lambda: not is_left(), 90, 2), is_left())


def after_a_restart():
    """The server starts with an export that is held, with each allocation failing of the daemon that says so."""
    file, fsid = new_export()
    holder = confirm("holder")
    equal("a client holds something", (holder.open_fh(file).status, ("holder", fsid) in rows()), ("OK", True))
    assert wait_until(is_said, 60)
    server.stop()
    server.stop_daemon()
    sh(f"cp -a {STATE} {STATE}.before")
    free = []

    def before():
        # As it was: a start of which not all could be stored would leave the next one in grace for all.
        if free:
            server.stop()
            server.stop_daemon()
        sh(f"rm -rf {STATE}; cp -a {STATE}.before {STATE}")
        server.start_daemon()
        free[:] = [f"x{next(numbers)}"]
        server.export(free[0], f"fsid={free[0][1:]}")
        return os.listdir(f"/proc/{server.daemon.pid}/task")

    def asked():
        sh("rpc.nfsd 1")
        other = confirm("other")
        return other.open_fh(file).status, other.open(other.path(free[0]), "f").status

    # There are some for each export that is held: not each of them.
    some = itertools.chain(range(1, 40), range(40, 1000, 7))
    seen = collections.Counter(result for _, result in faults.each(asked, before, some))
    print(f"# after a restart, what is held and what is not: {dict(seen)}", flush=True)
    check("allocations of records have failed", seen)
    equal("what was held is in grace", {held for held, _ in seen}, {"GRACE"})
    before()
    equal("with memory, nothing else is", asked(), ("GRACE", "OK"))


client = confirm("one")
other = Nlm(4, host.server_ip, "other", **host.where)
(nfsd,), (lockd,) = sh("pgrep -x nfsd").split(), sh("pgrep -x lockd").split()
check("the daemon is told that it has all holds", wait_until(is_said, 60))
# Who has no memory to find out whether an export is in grace says that it is.
sweep("an OPEN", for_nfs4, lambda file: client.open_fh(file).status, ("OK", "DELAY", "GRACE"))
sweep("a lock of NLM", for_nlm, other.lock, ("GRANTED", "NOLOCKS", "DENIED_GRACE"))
sweep("a share of NLM", for_nlm, lambda file: other.share(file, "s"), ("GRANTED", "NOLOCKS", "DENIED_GRACE"))
at_random()
after_a_restart()
done()
