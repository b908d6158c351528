#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""A server of 60-failover.scenario: does what the client's VM asks for, and tells how long it took."""

import json
import os
import socket

import failover
import harness
from ktap import check, done
from nfs import sh

name = socket.gethostname()
sh("modprobe nfsd; mount -t nfsd nfsd /proc/fs/nfsd")
node = failover.Node(name, {"a": 5678, "b": 9999}[name])
node.start()
boot = harness.STAGE or "first"
harness.put(f"{name}-{boot}-up")
asked = 0
while True:
    asked += 1
    words = harness.get(f"{name}-{boot}-{asked}").split()
    if words[0] == "end":
        break
    try:
        answer = getattr(node, words[0])(*words[1:])
    # pylint: disable-next=broad-exception-caught
    except Exception as e:
        answer = {"error": repr(e)}
    harness.put(f"{name}-{boot}-{asked}-answer", json.dumps(answer))
check(f"server {name} has done all", os.path.exists("/proc/fs/nfsd/threads"))
done()
