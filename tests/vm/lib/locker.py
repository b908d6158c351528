# SPDX-License-Identifier: GPL-2.0
"""Takes and drops fcntl locks as standard input says (see v3.Locker), and answers each line."""

import errno
import fcntl
import json
import os
import sys

KINDS = {"r": fcntl.LOCK_SH, "w": fcntl.LOCK_EX, "u": fcntl.LOCK_UN}
files = {}

for line in sys.stdin:
    path, kind, first, length, wait = json.loads(line)
    try:
        if path not in files:
            files[path] = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        flags = KINDS[kind] | (0 if wait or kind == "u" else fcntl.LOCK_NB)
        fcntl.lockf(files[path], flags, length, first)
        print("ok", flush=True)
    except OSError as e:
        print(errno.errorcode.get(e.errno, e.errno), flush=True)
