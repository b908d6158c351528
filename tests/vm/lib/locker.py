# SPDX-License-Identifier: GPL-2.0
"""Takes, drops and tests for fcntl locks as standard input says (see v3.Locker), and answers each line. With the word
`read-only` it opens files so."""

import errno
import fcntl
import json
import os
import struct
import sys

KINDS = {"r": fcntl.LOCK_SH, "w": fcntl.LOCK_EX, "u": fcntl.LOCK_UN}
FLAGS = os.O_RDONLY if "read-only" in sys.argv else os.O_RDWR | os.O_CREAT
FLOCK = "hhqqi"
files = {}


def test(file, first, length):
    """Does nobody else have a lock there?"""
    flock = fcntl.fcntl(file, fcntl.F_GETLK, struct.pack(FLOCK, fcntl.F_WRLCK, os.SEEK_SET, first, length, 0))
    return struct.unpack(FLOCK, flock)[0] == fcntl.F_UNLCK


for line in sys.stdin:
    path, kind, first, length, wait = json.loads(line)
    try:
        if path not in files:
            files[path] = os.open(path, FLAGS, 0o666)
        if kind == "t":
            print("ok" if test(files[path], first, length) else "EAGAIN", flush=True)
            continue
        flags = KINDS[kind] | (0 if wait or kind == "u" else fcntl.LOCK_NB)
        fcntl.lockf(files[path], flags, length, first)
        print("ok", flush=True)
    except OSError as e:
        print(errno.errorcode.get(e.errno, e.errno), flush=True)
