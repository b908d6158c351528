#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: once=yes timeout=180 module=load
"""Locks survive a restart of the server: NFSv4.0, 4.1, 4.2."""

import reclaim
from ktap import done

reclaim.with_module(("4.0", "4.1", "4.2"), early=False)
done()
