#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""A machine of the scenarios of re-export: see layers.py."""

import layers

layers.run(layers.Original)
