# SPDX-License-Identifier: GPL-2.0
"""Locks the file of the first argument, then writes to it for each line on standard input."""

import fcntl
import os
import sys

fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.lockf(fd, fcntl.LOCK_EX)
print("locked", flush=True)
for number, _ in enumerate(sys.stdin):
    try:
        os.pwrite(fd, f"{number:8}\n".encode(), 0)
        os.fsync(fd)
        print("ok", flush=True)
    except OSError as e:
        print(e.errno, flush=True)
