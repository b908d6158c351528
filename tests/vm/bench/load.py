# SPDX-License-Identifier: GPL-2.0
"""Runs nfs4load, and what the server's and the daemon's threads did meanwhile."""

import json
import os
import subprocess

from bench import PREFIX, checked


def load(steps, clients, in_flight=1, connections=None, **options):
    """Runs nfs4load with clients of our records' names; its steps as name: summary.

    Clients begin a step when all have ended the one before.
    """
    options = {"prefix": PREFIX, "steps": steps, "clients": clients, "in-flight": in_flight,
               "connections": connections or min(in_flight, 16), **options}
    words = [f"--{key.replace('_', '-')}={value}" for key, value in options.items()]
    run = subprocess.run(["/test/nfs4load", "--phases", "--json", "--quiet", *words], check=False,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=900)
    checked("nfs4load succeeds", run.returncode == 0, run.stdout[-2000:])
    return {step["step"]: step for step in json.loads(run.stdout.splitlines()[-1])["steps"]}


def _processes():
    for pid in os.listdir("/proc"):
        if pid.isdigit():
            try:
                with open(f"/proc/{pid}/comm", encoding="ascii") as f:
                    name = f.read().strip()
                yield pid, name
            except OSError:
                pass  # it has ended


class CpuTime:
    """In a with statement: afterwards it has how long processes ran, and how often they began to."""

    def __init__(self, *names):
        self.names = names
        self.seconds = dict.fromkeys(names, 0)
        self.runs = dict.fromkeys(names, 0)

    def _add(self, sign):
        for pid, name in _processes():
            if name in self.names:
                for task in os.listdir(f"/proc/{pid}/task"):
                    with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as f:
                        ran, _, times = map(int, f.read().split())
                    self.seconds[name] += sign * ran / 1e9
                    self.runs[name] += sign * times

    def __enter__(self):
        self._add(-1)
        return self

    def __exit__(self, *_):
        self._add(1)

    def __sub__(self, other):
        """What this one has more."""
        rest = CpuTime(*self.names)
        for name in self.names:
            rest.seconds[name] = self.seconds[name] - other.seconds[name]
            rest.runs[name] = self.runs[name] - other.runs[name]
        return rest

    def each(self, number):
        """What each of so many took, in words."""
        return "each " + ", ".join(
            f"{name} {self.seconds[name] / number * 1e6:.1f} us of CPU in "
            f"{self.runs[name] / number:.1f} runs" for name in self.names)
