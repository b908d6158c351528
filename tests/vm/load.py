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
    """In a with statement: afterwards `seconds` has what processes ran, by their names."""

    def __init__(self, *names):
        self.names, self.seconds = names, {}

    def _add(self, sign):
        for pid, name in _processes():
            if name in self.names:
                for task in os.listdir(f"/proc/{pid}/task"):
                    with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as f:
                        ran = int(f.read().split()[0]) / 1e9
                    self.seconds[name] = self.seconds.get(name, 0) + sign * ran

    def __enter__(self):
        self._add(-1)
        return self

    def __exit__(self, *_):
        self._add(1)

    def __sub__(self, other):
        """What this one has more."""
        rest = CpuTime(*self.names)
        rest.seconds = {name: seconds - other.seconds.get(name, 0)
                        for name, seconds in self.seconds.items()}
        return rest

    def each(self, number):
        """Of each name the microseconds for one of so many, in words."""
        return ", ".join(f"{name} {seconds / number * 1e6:.1f} us"
                         for name, seconds in self.seconds.items())
