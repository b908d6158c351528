# SPDX-License-Identifier: GPL-2.0
"""KTAP results of a test written in Python (Documentation/dev-tools/ktap.rst)."""

import os
import sys

_results = []
# A test that resets its VM goes on counting.
_before = int(os.environ.get("VM_RESULTS", 0))


def check(name, condition, detail=""):
    """Reports one result; `detail` says what was seen if it failed."""
    _results.append(bool(condition))
    number = _before + len(_results)
    print(f"{'ok' if condition else 'not ok'} {number} {name}", flush=True)
    if not condition and detail != "":
        print(f"# {detail}", flush=True)


def equal(name, seen, wanted):
    """Reports whether something is what it should be."""
    check(name, seen == wanted, f"saw {seen!r}, wanted {wanted!r}")


def done():
    """Prints the plan and ends the test."""
    print(f"1..{_before + len(_results)}", flush=True)
    sys.exit(0 if all(_results) else 1)
