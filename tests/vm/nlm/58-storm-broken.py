#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: once=yes timeout=200 module=none mem=1024
"""The checker of storm.py can fail: the stock kernel's release, which tells nobody, lets two clients
have the same lock."""

import storm

storm.run(seconds=60, mode="break")
