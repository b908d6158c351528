#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The client of 87-grace-by-export.scenario: it holds a lock on one export, and has only looked at another one."""

import os
import time

import harness
from ktap import check, done, equal
from nfs import Holder, patience, sh

LINK = next(name for name in os.listdir("/sys/class/net") if name != "lo")
harness.get("up")
for path in ("held", "x00"):
    sh(f"mkdir -p /mnt/{path}; mount -t nfs -o vers=4.2,timeo=50 server:/{path} /mnt/{path}")
holder = Holder("/mnt/held/file")
sh("echo text > /mnt/x00/file && cat /mnt/x00/file")
harness.put("locked")
harness.get("cut")
sh(f"ip link set {LINK} down")
harness.put("gone")
harness.get("back")
sh(f"ip link set {LINK} up")
equal("who held something goes on", holder.write(), "ok")
began = time.monotonic()
other = Holder("/mnt/x00/other")
check(f"and locks elsewhere ({time.monotonic() - began:.1f} s)", time.monotonic() - began < patience(5))
harness.put("written")
harness.get("done")
done()
