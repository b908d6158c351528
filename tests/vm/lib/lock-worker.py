#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Processes of clients that keep their locks through a fail-over.

lock-worker.py write FILE LOG PAUSE: opens a file, locks two ranges of it, then writes to it, with fsync, all the
    time, with a pause of so many seconds after each.
    The log has a line for each write: begin, end, result.
lock-worker.py grab LOG FILE...: tries to lock something in each range of each file, all the time, with a thread
    for each file. The log has a line for each try: begin, end, file, result.
"""

import errno
import fcntl
import os
import sys
import threading
import time

from record import record

RECORD = len(record(0))


def write(path, log, pause):
    """Writes for ever."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    fcntl.lockf(fd, fcntl.LOCK_EX, 0, 0)
    fcntl.lockf(fd, fcntl.LOCK_UN, 1 << 40, 1 << 40)
    written = 0
    with open(log, "w", buffering=1, encoding="ascii") as f:
        while True:
            began, result = time.monotonic(), "ok"
            try:
                os.pwrite(fd, record(written).encode(), written * RECORD)
                os.fsync(fd)
                written += 1
            except OSError as e:
                result = errno.errorcode[e.errno]
            f.write(f"{began:.3f} {time.monotonic():.3f} {result}\n")
            time.sleep(pause)


def attempt(fd, start):
    """Tries to lock a byte; what came of it."""
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, start)
        fcntl.lockf(fd, fcntl.LOCK_UN, 1, start)
        return "GOT"
    except OSError as e:
        return errno.errorcode[e.errno]


def grab(log, paths):
    """Tries to lock for ever."""
    with open(log, "w", buffering=1, encoding="ascii") as f:

        def loop(path):
            fd = os.open(path, os.O_RDWR)
            while True:
                for start in (5, (1 << 41) + 5):
                    began = time.monotonic()
                    result = attempt(fd, start)
                    f.write(f"{began:.3f} {time.monotonic():.3f} {os.path.basename(path)} {result}\n")
                time.sleep(0.8)

        threads = [threading.Thread(target=loop, args=[path]) for path in paths]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


if sys.argv[1] == "write":
    write(sys.argv[2], sys.argv[3], float(sys.argv[4]))
else:
    grab(sys.argv[2], sys.argv[3:])
