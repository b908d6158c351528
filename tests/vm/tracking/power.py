# SPDX-License-Identifier: GPL-2.0
"""What the two machines of 47-power-cut.scenario agree on."""

import random
import sys

WORDS = dict(word.split("=") for word in sys.argv[1:])
CUTS = int(WORDS.get("cuts", 2))
SEED = int(WORDS.get("seed", random.SystemRandom().randrange(10**6)))
# How nfsdcld's database is written; see docs/nfsdcld.md.
JOURNAL = WORDS.get("journal", "wal")
# Clients between two cuts, more than ever get their answer.
COUNT = 1000
