#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: once=yes timeout=300 module=load mem=1024
"""A quarter of a minute of storm.py; `make test-long` has ten."""

import storm

storm.run(seconds=15)
