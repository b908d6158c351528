#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: once=yes timeout=900 smp=1 icount=yes module=ship
"""What it costs that scopes are in grace: with none, one and many of them, and without the module.

59-many-scopes.py [scopes=N]

Locks and unlocks of an export that is in none of them are counted, in turns. Time is instructions here, so that it does
not matter what else the host does.
"""

import os
import sys
import time

import v3
from control import command, read
from ktap import check, done, equal
from nfs import SLOW, load, sh, wait_until
from nlmload import UNLOCK, Load, handles

WORDS = dict(word.split("=") for word in sys.argv[1:])
SCOPES, ROUNDS, SECONDS = int(WORDS.get("scopes", 3_000)) // SLOW, 2, 0.3 * SLOW
# What a debug kernel adds to each lock that is taken and each byte that is read says little about the
# cost on another one.
LEAST = 1 if SLOW == 1 else 0.6

(a,), grace_end = v3.start([("a", 1234)])
a.make_files(20)
files = handles(a, 20)
v3.sleep_until(grace_end)
locker = Load("load")
LOCKS = [(owner, 1, owner * 100, 50) for owner in range(1, 6)]


def rate():
    """Locks and unlocks a second."""
    began, count = time.monotonic(), 0
    while time.monotonic() - began < SECONDS:
        locker.many(files, LOCKS)
        locker.many(files, LOCKS, UNLOCK)
        count += 2 * len(files) * len(LOCKS)
    return count / (time.monotonic() - began)


def attached(yes):
    """Loads the module, or takes it out, unless that is so."""
    if yes == os.path.exists("/sys/module/nfsd_ha"):
        return
    if yes:
        load()
    else:
        sh("echo 0 > /sys/kernel/livepatch/nfsd_ha/enabled")
        wait_until(lambda: not sh("ls /sys/kernel/livepatch").split())
        sh("rmmod nfsd_ha")


def compare(settings):
    """Measures settings (name: what makes it so) in turns; the best of each."""
    best = dict.fromkeys(settings, 0)
    for _ in range(ROUNDS):
        for name, act in settings.items():
            act()
            best[name] = max(best[name], rate())
    for name, seen in best.items():
        print(f"# {name:28} {seen:8.0f} a second")
    return best


def nearly(what, rate_of_it, share, other):
    """The rate of one setting is at least this share of that of another one."""
    check(what, rate_of_it > LEAST * share * other, (rate_of_it, other))


rate()
seen = compare({"without the module": lambda: attached(False), "loaded, no scope": lambda: attached(True)})
nearly("the module alone costs nearly nothing", seen["loaded, no scope"], 0.98, seen["without the module"])


def scopes(first, last, seconds):
    """Puts other scopes in grace, or with 0 ends that; says how long it took."""
    began = time.monotonic()
    results = {command("fsid_grace", f"{100_000 + n} {seconds}")[0] for n in range(first, last)}
    equal(f"{last - first} commands: {seconds} s of grace", results, {"ok"})
    print(f"# that took {time.monotonic() - began:.1f} s")


one = compare({"no scope": lambda: command("fsid_grace", "100000 0"),
               "1 scope": lambda: command("fsid_grace", "100000 3600")})
nearly("one scope costs little", one["1 scope"], 0.9, one["no scope"])
# Each begin and end is a line of the console's, which takes longer than the command.
sh("dmesg -n notice")
scopes(1, SCOPES, 3600)
equal("all are in grace", len(read("fsid_grace").splitlines()), SCOPES)
all_of_them = f"{SCOPES:,} scopes"
many = compare({all_of_them: lambda: None})[all_of_them]
nearly(f"{SCOPES:,} cost no more than one", many, 0.95, one["1 scope"])
scopes(1, SCOPES, 0)
equal("one is left", len(read("fsid_grace").splitlines()), 1)
done()
