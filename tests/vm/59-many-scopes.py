#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: once=yes timeout=180 smp=1 module=ship
"""What it costs that scopes are in grace: with none, one and 10,000 of them, and without the module.

Locks and unlocks of an export that is in none of them are counted, in turns so that all settings see
the same noise. That can only slow them down, so the best of many turns is compared; more turns are
taken while the bound is missed.
"""

import os
import time

import v3
from control import command, read
from ktap import check, done, equal
from nfs import MODULE, SLOW, sh, wait_until
from nlmload import UNLOCK, Load, handles

SCOPES, ROUNDS, MOST_ROUNDS, SECONDS = 10_000 // SLOW, 4, 20, 0.4 * SLOW
# What a debug kernel adds to each lock that is taken and each byte that is read says little about the
# cost on another one.
LEAST = 1 if SLOW == 1 else 0.6

(a,), grace_end = v3.start([("a", 1234)])
a.make_files(20)
files = handles(a, 20)
v3.sleep_until(grace_end)
load = Load("load")
LOCKS = [(owner, 1, owner * 100, 50) for owner in range(1, 6)]


def rate():
    """Locks and unlocks a second."""
    began, count = time.monotonic(), 0
    while time.monotonic() - began < SECONDS:
        load.many(files, LOCKS)
        load.many(files, LOCKS, UNLOCK)
        count += 2 * len(files) * len(LOCKS)
    return count / (time.monotonic() - began)


def attached(yes):
    """Loads the module, or takes it out, unless that is so."""
    if yes == os.path.exists("/sys/module/nfsd_ha"):
        return
    if yes:
        sh(f"insmod {MODULE}")
    else:
        sh("echo 0 > /sys/kernel/livepatch/nfsd_ha/enabled")
        wait_until(lambda: not sh("ls /sys/kernel/livepatch").split())
        sh("rmmod nfsd_ha")


def compare(settings, enough):
    """Measures settings (name: what makes it so) in turns, until that is enough; the best of each."""
    best = dict.fromkeys(settings, 0)
    for turn in range(1, MOST_ROUNDS + 1):
        for name, act in settings.items():
            act()
            best[name] = max(best[name], rate())
        if turn >= ROUNDS and enough(best):
            break
    for name, seen in best.items():
        print(f"# {name:28} {seen:8.0f} a second, best of {turn}")
    return best


def nearly(name, other, share):
    """Is the rate of one setting at least this share of that of the other?"""
    return lambda best: best[name] > LEAST * share * best[other]


rate()
idle = nearly("loaded, no scope", "without the module", 0.9)
seen = compare({"without the module": lambda: attached(False),
                "loaded, no scope": lambda: attached(True)}, idle)
check("the module alone costs nothing that can be measured", idle(seen), seen)


def scopes(first, last, seconds):
    """Puts other scopes in grace, or with 0 ends that; says how long it took."""
    began = time.monotonic()
    results = {command("fsid_grace", f"{100_000 + n} {seconds}")[0] for n in range(first, last)}
    equal(f"{last - first} commands: {seconds} s of grace", results, {"ok"})
    print(f"# that took {time.monotonic() - began:.1f} s")


cheap = nearly("1 scope", "no scope", 0.85)
one = compare({"no scope": lambda: command("fsid_grace", "100000 0"),
               "1 scope": lambda: command("fsid_grace", "100000 3600")}, cheap)
check("one scope costs little", cheap(one), one)
scopes(1, SCOPES, 3600)
equal("all are in grace", len(read("fsid_grace").splitlines()), SCOPES)
all_of_them = f"{SCOPES:,} scopes"
many = compare({all_of_them: lambda: None},
               lambda best: best[all_of_them] > 0.85 * one["1 scope"])[all_of_them]
scopes(1, SCOPES, 0)
equal("one is left", len(read("fsid_grace").splitlines()), 1)
again = compare({"1 scope again": lambda: None}, lambda best: True)["1 scope again"]
check(f"{SCOPES:,} cost no more than one", many > LEAST * 0.85 * min(again, one["1 scope"]), (many, again, one))
done()
