#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: timeout=900 module=ship
"""From the start of nfsd to the first lock that is no reclaim, with and without clients on record.

The daemon is there before, and clients come at once. A start without anybody to reclaim has no grace
period; one with clients on record ends when the last of them has reclaimed.
"""

import time

from bench import OURS, QUICK, STOCK, BenchServer, report
from ktap import check, done
from load import load

ROUNDS, CLIENTS = (1, 100) if QUICK else (3, 1_000)
VERIFIER = "1"


def first_lock(side, records):
    """Starts the server, reclaims for all on record, and locks; the seconds until each was done."""
    started = server.begin(side, records=records)
    began = time.monotonic() - started
    if records:
        load("session,reclaim-open,reclaim-lock,complete", records, 64, verifier=VERIFIER)
    reclaimed = time.monotonic() - began
    load("session,complete,open,lock", 1, prefix="new-")
    return started, reclaimed, time.monotonic() - began


server = BenchServer(threads=16)
server.set_up()
for turn in range(ROUNDS):
    for side in (STOCK, OURS):
        started, _, locked = first_lock(side, 0)
        report("start-empty", side, locked, unit="s", note=f"nfsd runs after {started:.2f} s")
        # The state that is reclaimed in the end.
        load("session,complete,open,lock", CLIENTS, 64, verifier=VERIFIER)
        server.end()
        started, reclaimed, locked = first_lock(side, CLIENTS)
        report("start-1000", side, locked, unit="s",
               note=f"nfsd runs after {started:.2f} s, all have reclaimed after {reclaimed:.2f} s")
        server.end()
check("a lock was granted after each start", True)
done()
