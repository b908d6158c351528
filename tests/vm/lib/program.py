# SPDX-License-Identifier: GPL-2.0
"""nfsd-ha, the program for admins, as a test runs it."""

import json
import subprocess

from ktap import check

DONE, FAILED, USAGE, BUSY, ABSENT = range(5)


def tool(*words, **more):
    """Runs nfsd-ha: its exit status, what it prints, and what it complains of."""
    result = subprocess.run(["/test/nfsd-ha", *words], check=False, text=True, capture_output=True, **more)
    return result.returncode, result.stdout, result.stderr


def steps(*words, **more):
    """The steps that were done, each with its seconds, and all that is said."""
    status, out, error = tool("--json", *words, **more)
    check(f"{' '.join(words[:1])} is done", status == DONE, (words, out, error))
    said = json.loads(out)
    return {step["name"]: step["seconds"] for step in said["steps"]}, said
