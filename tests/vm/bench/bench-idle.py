#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: timeout=1200 smp=1 icount=yes module=ship
"""What a module that is loaded and idle costs locks, opens, reads and writes: instructions, not time."""

import v3
from bench import OURS, QUICK, STOCK, attach, report
from ktap import check, done
from load import load

ROUNDS, SECONDS = (1, 0.5) if QUICK else (5, 2)
# Row, steps before the loop, the loop, and where its files are.
LOOPS = (("nlm-lock", "", "nlm-loop", {"export": "/srv/root/a"}),
         ("nfs4-lock", "session,complete,open,", "lock-loop", {"export": "/a"}),
         ("nfs4-open", "session,complete,", "open-loop", {"export": "/a"}),
         ("nfs4-io", "session,complete,open,", "io-loop", {"export": "/a"}))

_, grace_end = v3.start([("a", 1234)])
v3.sleep_until(grace_end)
for turn in range(ROUNDS):
    for side in (STOCK, OURS):
        attach(side)
        for row, before, loop, where in LOOPS:
            # The first one finds cold caches.
            load(before + loop, 4, 4, seconds=0.2, prefix="idle-", **where)
            steps = load(before + loop, 4, 4, seconds=SECONDS, prefix="idle-", **where)
            report(row, side, steps[loop]["rate"], unit="/s")
check("locks and opens were counted", True)
done()
