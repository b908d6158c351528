#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""A server of 72-move.scenario and 74-trouble.scenario."""

import socket

import conductor
import move

name = socket.gethostname()
node = move.Node(name)
node.start()
conductor.serve(name, node)
