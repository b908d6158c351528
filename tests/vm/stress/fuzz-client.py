# SPDX-License-Identifier: GPL-2.0
"""Opens, locks, writes, unlocks and closes a file until standard input ends; then says as JSON how often,
how many seconds the longest time took, and which errors there were."""

import collections
import fcntl
import json
import os
import select
import sys
import time

done, longest, errors = 0, 0.0, collections.Counter()
while not select.select([sys.stdin], [], [], 0.02)[0]:
    began = time.monotonic()
    try:
        fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o666)
        fcntl.lockf(fd, fcntl.LOCK_EX, 100)
        os.write(fd, b"x")
        fcntl.lockf(fd, fcntl.LOCK_UN, 100)
        os.close(fd)
        done += 1
    except OSError as e:
        errors[str(e)] += 1
    longest = max(longest, time.monotonic() - began)
print(json.dumps({"done": done, "longest": longest, "errors": errors}))
