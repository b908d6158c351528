#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The clients of 47-power-cut.scenario: they keep a list of those who had an answer."""

import json
import random
import subprocess

import harness
from ktap import check, done, equal
from nfs import wait_until
from power import COUNT, CUTS, SEED

ACKED = "/tmp/acked"
LOAD = ["/test/nfs4load", "--server", "10.77.0.1", "--quiet"]


def acked():
    """The clients that had an answer."""
    with open(ACKED, encoding="ascii") as f:
        return f.read().splitlines()


def cut(number):
    """Cuts the power while clients come; returns how many had an answer, and how many reclaim."""
    with open(ACKED, "w", encoding="ascii"):
        pass
    first = number * COUNT
    come = LOAD + ["--prefix", "cut-", "--first", str(first), "--clients", str(COUNT),
                   "--in-flight", "32", "--steps", "session,complete,open", "--acked", ACKED]
    # Others that come and go, so that there are removes, too.
    go = LOAD + ["--prefix", f"go-{number}-", "--clients", "2000", "--in-flight", "8",
                 "--steps", "session,complete,destroy"]
    with subprocess.Popen(go, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as going, \
            subprocess.Popen(come, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as coming:
        wanted = walk.randrange(1, COUNT // 3)
        assert wait_until(lambda: len(acked()) >= wanted, 120, 0.01), len(acked())
        harness.kill("server", str(number + 1))
        coming.kill()
        going.kill()
    names = acked()
    equal(f"the server is up after cut {number + 1}", harness.get(f"up-{number + 1}"), "yes")
    result = subprocess.run(
        LOAD + ["--names-from", ACKED, "--in-flight", "8", "--steps", "session,reclaim-open",
                "--json"], stdout=subprocess.PIPE, text=True, check=False)
    steps = {step["step"]: step for step in json.loads(result.stdout)["steps"]}
    failed = {kind: step["failed"] for kind, step in steps.items() if step["failed"]}
    print(f"# cut {number + 1} of {CUTS}: {len(names)} clients had an answer, "
          f"{steps['reclaim-open']['count']} reclaim, {failed or 'none'} failed", flush=True)
    check(f"all who had an answer before cut {number + 1} reclaim",
          not failed and steps["reclaim-open"]["count"] == len(names) > 0, failed)
    harness.put(f"seen-{number + 1}")
    assert harness.get(f"open-{number + 1}") == "yes"
    return len(names)


walk = random.Random(SEED)
print(f"# seed={SEED}", flush=True)
harness.get("up-0")
harness.put("seen-0")
harness.get("open-0")
total = sum(cut(number) for number in range(CUTS))
print(f"# {CUTS} power cuts, {total} clients had an answer, all of them could reclaim", flush=True)
done()
