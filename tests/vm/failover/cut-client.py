#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The clients of 48-move-cut.scenario: NFSv3, 4.0 and 4.2, while the power of the server that their export leaves is cut."""

import harness
from ktap import check, done, equal
from mounted import Mounted
from nfs import wait_until

MOVE_GRACE = str(20)

mounted = Mounted(1)
servers = mounted.servers


def all_write(what, server):
    """All clients write under their locks, which the server has, also when the grace period is over."""
    equal(f"{what}: all write", mounted.answers(), ["ok"] * len(mounted.files))
    check(f"{what}: the grace period ends", wait_until(lambda: not servers.ask(server, "graced"), 60, 0.5))
    equal(f"{what}: the server has all locks", mounted.locked(server), mounted.files)


all_write("at first", "a")

# Nothing is away yet, and a has forgotten who held what when it is asked again.
what = "cut after prepare, and the same command"
print(f"# {what}: {servers.ask('a', 'leave_until', 'ha', 'prepare')} were done")
servers.boot("a", "one")
check(f"{what}: after a's own grace period", wait_until(lambda: not servers.ask("a", "in_grace"), 60, 0.5))
left = servers.ask("a", "leave_again", "ha")
clients = left.pop("list")
print(f"# a: {left}\n# b: {servers.ask('b', 'take', 'ha', MOVE_GRACE, clients)}")
all_write(what, "b")

what = "cut after release, and the way back"
print(f"# {what}: {servers.ask('b', 'leave_until', 'ha', 'release')} were done")
servers.boot("b", "two")
print(f"# b: {servers.ask('b', 'turn_back', 'ha')}")
all_write(what, "b")

what = "cut after list, and the other server takes over from the database"
print(f"# {what}: {servers.ask('b', 'leave_until', 'ha', 'list')} were done")
harness.kill("b")
print(f"# a: {servers.ask('a', 'recover', 'ha', MOVE_GRACE, 'b')}")
all_write(what, "a")
servers.boot("b", "three")

# Nobody has come to b, so its record does not have them; nor of the time before its reset.
what = "cut of the other server before anybody has come to it, and back"
check(f"{what}: after b's own grace period", wait_until(lambda: not servers.ask("b", "in_grace"), 60, 0.5))
clients = servers.ask("a", "leave", "ha")["list"]
print(f"# {what}: {servers.ask('b', 'take_until', 'ha', 'export', clients)} were done")
harness.kill("b")
print(f"# a: {servers.ask('a', 'recover', 'ha', MOVE_GRACE, 'b')}")
all_write(what, "a")
servers.boot("b", "four")

mounted.end()
done()
