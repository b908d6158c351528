# SPDX-License-Identifier: GPL-2.0
"""A process of the storm on a client: stormer.py ME PROCESSES SEED DIRECTORY SERVER-DIRECTORY."""

import fcntl
import os
import random
import signal
import sys
import time

from stormtable import FILES, READ, SIZE, UNITS, WRITE, Hold, Table, on_server, say

me, processes = int(sys.argv[1]), int(sys.argv[2])
rng = random.Random(sys.argv[3])
directory, server = sys.argv[4:6]
table = Table(processes)
files = [os.open(f"{directory}/s{n}", os.O_RDWR) for n in range(FILES)]


def take(hold, wait):
    """Takes a lock; whether it was granted."""
    flags = fcntl.LOCK_EX if hold.kind == WRITE else fcntl.LOCK_SH
    began = time.monotonic()
    try:
        fcntl.lockf(files[hold.file], flags | (0 if wait else fcntl.LOCK_NB), hold.units * SIZE,
                    hold.first * SIZE)
    except (BlockingIOError, PermissionError):
        table.count(me, "refused")
        return False
    except OSError as e:
        table.count(me, "errors")
        say(f"{me}: {hold}: {e}")
        time.sleep(0.1)
        return False
    finally:
        table.longest(me, time.monotonic() - began)
    return True


def still_there(hold):
    """Does the server still have it? While a release is under way there is no telling: it waits."""
    while not table.stopped:
        number = table.quiet()
        if number is not None:
            there = hold in on_server(server)
            if table.quiet() == number:
                return there
        time.sleep(0.05)
    return True


while not table.stopped:
    units = rng.choice((1, 1, 2, 3, 6))
    wanted = Hold(rng.choice((READ, WRITE)), rng.randrange(FILES), rng.randrange(UNITS - units + 1),
                  units)
    blocking = rng.random() < 0.5
    if not take(wanted, blocking):
        time.sleep(rng.uniform(0, 0.05))
        continue
    others = table.mark(me, wanted)
    table.count(me, "locks")
    if others:
        table.count(me, "conflicts")
        say(f"CONFLICT: {me} has {wanted}, {'after waiting' if blocking else 'at once'}, and so have "
            f"{[(n, table.holds().get(n)) for n in others]}; the server has "
            f"{sorted(on_server(server))}")
    # Some hold it for so long that a release comes meanwhile.
    time.sleep(rng.uniform(0.5, 4) if rng.random() < 0.1 else rng.uniform(0, 0.05))
    if rng.random() < 0.3:
        table.count(me, "checked")
        if not still_there(wanted):
            table.count(me, "lost")
            say(f"LOST: {me} had {wanted}; the server has {sorted(on_server(server))}")
    table.unmark(me)
    if rng.random() < 0.01:
        # The kernel drops the lock of a process that dies, after this mark is gone.
        table.count(me, "kills")
        os.kill(os.getpid(), signal.SIGKILL)
    try:
        fcntl.lockf(files[wanted.file], fcntl.LOCK_UN, wanted.units * SIZE, wanted.first * SIZE)
    except OSError as e:
        table.count(me, "errors")
        say(f"{me}: unlock of {wanted}: {e}")
