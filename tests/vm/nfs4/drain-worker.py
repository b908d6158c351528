#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Does operations that are not idempotent in a directory, one after the other, until its input ends.

To each line it answers with how many it has done since the last one, how long the longest took, and what has failed.
"""

import json
import os
import sys
import threading
import time

directory, name = sys.argv[1:]
lock = threading.Lock()
seen = {"count": 0, "longest": 0.0, "errors": []}


def do(what, *args):
    """Does one."""
    began = time.monotonic()
    try:
        result = what(*args)
    except OSError as e:
        result = None
        with lock:
            seen["errors"].append(f"{what.__name__} {args[0]}: {e.strerror}")
    with lock:
        seen["count"] += 1
        seen["longest"] = max(seen["longest"], time.monotonic() - began)
    return result


def create(path):
    """An exclusive create."""
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))


def work():
    """Goes on for ever."""
    number = 0
    while True:
        number += 1
        here = f"{directory}/{name}-{number}"
        do(os.mkdir, here)
        do(create, f"{here}/f")
        do(os.link, f"{here}/f", f"{here}/g")
        do(os.symlink, "f", f"{here}/s")
        do(os.rename, f"{here}/g", f"{here}/h")
        for one in "fhs":
            do(os.unlink, f"{here}/{one}")
        do(os.rmdir, here)


threading.Thread(target=work, daemon=True).start()
for _ in sys.stdin:
    with lock:
        print(json.dumps(seen), flush=True)
        seen = {"count": 0, "longest": 0.0, "errors": []}
