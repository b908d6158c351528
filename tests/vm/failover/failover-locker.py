#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Processes of 60-failover's client.

failover-locker.py loop FILE LOG: locks and unlocks all the time, and notes begin, end and result of each.
failover-locker.py grab FILE LOG: the same, but does not wait for the lock.
failover-locker.py hold PREFIX COUNT: locks files, and writes to all when told.
"""

import errno
import fcntl
import os
import sys
import time


def loop(path, log, flags):
    """Locks and unlocks; the log's times are those of the machine."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    with open(log, "w", buffering=1, encoding="ascii") as f:
        while True:
            began, result = time.monotonic(), "ok"
            try:
                fcntl.lockf(fd, flags)
                fcntl.lockf(fd, fcntl.LOCK_UN)
            except OSError as e:
                result = errno.errorcode[e.errno]
            f.write(f"{began:.3f} {time.monotonic():.3f} {result}\n")
            time.sleep(0.2)


def hold(prefix, count):
    """Locks files, then writes to each for each line on standard input: says how many failed, and why."""
    fds = [os.open(f"{prefix}{number}", os.O_RDWR | os.O_CREAT) for number in range(count)]
    for fd in fds:
        fcntl.lockf(fd, fcntl.LOCK_EX)
    print("locked", flush=True)
    for number, _ in enumerate(sys.stdin):
        failed = []
        for fd in fds:
            try:
                os.pwrite(fd, f"{number:8}\n".encode(), 0)
                os.fsync(fd)
            except OSError as e:
                failed.append(errno.errorcode[e.errno])
        print("ok" if not failed else f"{len(failed)} failed: {' '.join(sorted(set(failed)))}", flush=True)


if sys.argv[1] == "loop":
    loop(sys.argv[2], sys.argv[3], fcntl.LOCK_EX)
elif sys.argv[1] == "grab":
    loop(sys.argv[2], sys.argv[3], fcntl.LOCK_EX | fcntl.LOCK_NB)
else:
    hold(sys.argv[2], int(sys.argv[3]))
