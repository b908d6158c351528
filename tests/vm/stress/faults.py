# SPDX-License-Identifier: GPL-2.0
"""Lets allocations fail that the module makes, one after the other, on a kernel with fault injection.

Documentation/fault-injection/fault-injection.rst. Whatever allocates with our code on its stack
counts, so what the kernel allocates for us, too.
"""

import contextlib
import itertools
import os

from nfs import sh
from nfs4 import Nfs4

DEBUG = "/sys/kernel/debug"
KINDS = ("failslab", "fail_page_alloc")
# So many allocations may fail; what is left of it says how many have.
TIMES = 1_000_000
# Where modules are loaded.
MODULES = (0xFFFF_FFFF_A000_0000, 0xFFFF_FFFF_FF00_0000)


def available():
    """Has this kernel fault injection?"""
    return os.path.exists(f"{DEBUG}/failslab/require-start")


def text(module="nfsd_ha"):
    """The addresses of a module's functions."""
    with open("/proc/kallsyms", encoding="ascii") as f:
        at = [int(line.split()[0], 16) for line in f
              if line.endswith(f"[{module}]\n") and line.split()[1] in "tT"]
    return min(at), max(at) + 4096


def limit(addresses):
    """Only what is allocated with one of these addresses on the stack may fail."""
    start, end = addresses
    for kind in KINDS:
        for name, value in (("probability", 0), ("times", TIMES), ("verbose", 1),
                            ("verbose_ratelimit_interval_ms", 0), ("ignore-gfp-wait", "N"),
                            ("stacktrace-depth", 32), ("require-start", start), ("require-end", end)):
            with open(f"{DEBUG}/{kind}/{name}", "w", encoding="ascii") as f:
                f.write(f"{value}\n")
    with open(f"{DEBUG}/fail_page_alloc/min-order", "w", encoding="ascii") as f:
        f.write("0\n")


@contextlib.contextmanager
def some(percent):
    """So many of a hundred allocations fail, whoever makes them."""
    def write(probability, verbose):
        for kind in KINDS:
            for name, value in (("verbose", verbose), ("probability", probability)):
                with open(f"{DEBUG}/{kind}/{name}", "w", encoding="ascii") as f:
                    f.write(f"{value}\n")

    write(percent, 0)
    try:
        yield
    finally:
        write(0, 1)


@contextlib.contextmanager
def fragmented():
    """No two pages in a row are free."""
    directory = f"{DEBUG}/fail_page_alloc"

    def write(probability, order):
        for name, value in (("min-order", order), ("probability", probability)):
            with open(f"{directory}/{name}", "w", encoding="ascii") as f:
                f.write(f"{value}\n")

    write(100, 1)
    try:
        yield
    finally:
        write(0, 0)


def _set(number, tasks):
    for task in tasks:
        with open(f"/proc/{task}/fail-nth", "w", encoding="ascii") as f:
            f.write(f"{number}\n")


def _left(tasks):
    """For each of the tasks, how many allocations it has left; 0 if one has failed."""
    left = []
    for task in tasks:
        with open(f"/proc/{task}/fail-nth", encoding="ascii") as f:
            left.append(int(f.read()))
    return left


def each(act, tasks=("thread-self",), numbers=range(1, 1000)):
    """Has `act` done with the first allocation failing, with the second, and so on, or with some of them.

    The allocations are those of this thread or of other tasks, which may be a function that is called
    each time before. Yields the number and the result of each time; ends when there are no so many, and
    that result is not one of them.
    """
    for number in numbers:
        who = tasks() if callable(tasks) else tasks
        _set(number, who)
        try:
            result = act()
            left = _left(who)
        finally:
            _set(0, who)
        if min(left) > 0:
            return
        yield number, result


def each_of(command):
    """The same for a command that is started anew each time. Yields what it says."""
    for number in itertools.count(1):
        before = _failed()
        said = sh(f"echo {number} >/proc/self/fail-nth; exec {command}", check=False).strip()
        if _failed() == before:
            return
        yield number, said


def _failed():
    """How many allocations have failed since limit()."""
    left = 0
    for kind in KINDS:
        with open(f"{DEBUG}/{kind}/times", encoding="ascii") as f:
            left += int(f.read())
    return len(KINDS) * TIMES - left


class Patient(Nfs4):
    """A client that asks again by another connection if there is no answer: sunrpc drops what it has no memory for."""

    def call(self, procedure, arguments=b"", timeout=2):
        try:
            return super().call(procedure, arguments, timeout)
        except TimeoutError:
            return super().call(procedure, arguments)
