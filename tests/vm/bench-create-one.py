#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: timeout=900 smp=1 icount=yes module=ship
"""How long it takes to put a client on record when there is one at a time: instructions, not time.

A RECLAIM_COMPLETE from its call to its answer, with the upcall to the daemon in between, on one CPU.
"""

from bench import OURS, QUICK, STOCK, BenchServer, checked, report
from ktap import check, done
from load import load

CLIENTS, ROUNDS = (50, 2) if QUICK else (2_000, 5)

server = BenchServer(threads=8)
server.set_up()
for turn in range(ROUNDS):
    for side in (STOCK, OURS):
        server.begin(side)
        load("session,complete,destroy", 10)
        steps = load("session,complete", CLIENTS)
        stats = server.end()
        checked("each was recorded", stats["create"] == CLIENTS + 10, stats)
        report("create-one", side, steps["complete"]["seconds"] * 1e6 / CLIENTS, unit="us")
check("clients were recorded, one after the other", True)
done()
