#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: timeout=900 smp=1 icount=yes module=ship
"""What it takes to put a client on record, one at a time and 64 at once: instructions, not time.

A RECLAIM_COMPLETE from its call to its answer, with the upcall to the daemon in between, on one CPU;
and without a daemon, where the stock kernel makes no upcall: that is what tracking cannot make cheaper.
"""

from bench import OURS, QUICK, STOCK, BenchServer, attach, checked, report
from ktap import check, done
from load import CpuTime, load

CLIENTS, ROUNDS = (50, 2) if QUICK else (2_000, 3)

server = BenchServer(threads=80)
server.set_up()
for turn in range(ROUNDS):
    for side in (STOCK, OURS):
        for row, in_flight in (("create-one-counted", 1), ("create-counted", 64)):
            server.begin(side)
            load("session,complete,destroy", 100, in_flight)
            with CpuTime("nfsd", "cldstub") as sessions:
                load("session", CLIENTS, in_flight, first=CLIENTS)
            with CpuTime("nfsd", "cldstub") as both:
                step = load("session,complete", CLIENTS, in_flight)["complete"]
            stats = server.end()
            checked("each was recorded", stats["create"] == CLIENTS + 100, stats)
            each = step["seconds"] * 1e6 / CLIENTS
            report(row, side, each, unit="us", note=(both - sessions).each(CLIENTS))
    attach(STOCK)
    server.start_threads()
    load("session,complete,destroy", 100, 64)
    step = load("session,complete", CLIENTS, 64)["complete"]
    server.stop()
    report("create-untracked", STOCK, step["seconds"] * 1e6 / CLIENTS, unit="us",
           note="no daemon: RECLAIM_COMPLETE without an upcall")
check("clients were recorded, one after the other", True)
done()
