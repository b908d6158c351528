#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: timeout=300 module=load mem=1024
"""A minute of storm.py; run that for ten."""

import storm

storm.run(seconds=60)
