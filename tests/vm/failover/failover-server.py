#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""A server of 60-failover.scenario."""

import socket

import conductor
import failover
from nfs import sh

name = socket.gethostname()
sh("modprobe nfsd; mount -t nfsd nfsd /proc/fs/nfsd")
node = failover.Node(name, {"a": 5678, "b": 9999}[name])
node.start()
conductor.serve(name, node)
