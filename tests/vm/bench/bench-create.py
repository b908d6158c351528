#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: timeout=900 module=ship
"""How long it takes to put a client on record, and how many a second when 64 come at once.

The daemon answers at once.
"""

from bench import OURS, QUICK, STOCK, BenchServer, checked, report
from ktap import check, done
from load import CpuTime, load

CLIENTS, ROUNDS = (500, 2) if QUICK else (2_000, 5)

server = BenchServer(threads=80)
server.set_up()
for turn in range(ROUNDS):
    for side in (STOCK, OURS):
        server.begin(side)
        load("session,complete,destroy", 100, 64)
        # What sessions take is in both.
        with CpuTime("nfsd", "cldstub") as sessions:
            load("session", CLIENTS, 64, first=CLIENTS)
        with CpuTime("nfsd", "cldstub") as both:
            steps = load("session,complete", CLIENTS, 64)
        alone = load("session,complete", CLIENTS // 4, 1, first=2 * CLIENTS)["complete"]
        stats = server.end()
        checked("each was recorded", stats["create"] == CLIENTS + CLIENTS // 4 + 100, stats)
        report("create-one", side, alone["median_us"], unit="us")
        report("create-many", side, steps["complete"]["rate"], unit="/s",
               note=(both - sessions).each(CLIENTS))
check("clients were recorded, one after the other and 64 at once", True)
done()
