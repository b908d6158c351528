#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Takes an fcntl write lock: lock.py hold FILE FLAG creates FLAG when it has the lock, and holds it until FLAG
is removed; lock.py try FILE fails if the lock is not granted at once."""

import fcntl
import os
import sys
import time

fd = os.open(sys.argv[2], os.O_RDWR | os.O_CREAT)
if sys.argv[1] == "try":
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as e:
        sys.exit(f"no lock on {sys.argv[2]}: {e}")
else:
    fcntl.lockf(fd, fcntl.LOCK_EX)
    flag = sys.argv[3]
    with open(flag, "w", encoding="ascii"):
        pass
    while os.path.exists(flag):
        time.sleep(0.1)
