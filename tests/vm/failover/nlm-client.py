#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The clients of 38-move-nlm.scenario: NFSv3, 4.0 and 4.2 by two addresses, while their export moves, and back.

Then the power of its server is cut.
"""

import harness
from ktap import check, done, equal
from mounted import Mounted
from nfs import wait_until

MOVE_GRACE = 40

clients = Mounted(3)
servers, locked, wanted = clients.servers, clients.locked, clients.files
equal(f"{len(wanted)} files are locked by NFSv3, 4.0 and 4.2, with IPv4 and IPv6", locked("a"), wanted)
for source, target in ("ab", "ba"):
    what = f"from {source} to {target}"
    equal(f"{what}: all write", set(clients.answers()), {"ok"})
    left = servers.ask(source, "leave", "ha")
    taken = servers.ask(target, "take", "ha", str(MOVE_GRACE), left.pop("list"))
    print(f"# {source}: {left}\n# {target}: {taken}")
    away = sum(left["seconds"][step] for step in ("address", "list", "unexport", "release")) + sum(
        taken["seconds"][step] for step in ("takeover", "export", "address"))
    print(f"# {what}: without umount and mount, the steps took {away:.2f} s")
    check(f"{what}: both NLM clients were told", "2 of 2 NLM clients told" in taken["what"]["clients"], taken)
    equal(f"{what}: all write again", set(clients.answers()), {"ok"})
    check(f"{what}: all have their locks", wait_until(lambda: locked(target) == wanted, 30, 0.5), locked(target))
    check(f"{what}: the grace period ends when they have", wait_until(lambda: not servers.ask(target, "graced"), 10, 0.5))
    check(f"{what}: the server has the locks then", locked(target) == wanted, locked(target))
equal("a crash of a: all write", set(clients.answers()), {"ok"})
harness.kill("a")
taken = servers.ask("b", "recover", "ha", str(MOVE_GRACE), "a")
print(f"# b: {taken}")
check("both NLM clients were told, as they are on record", "2 of 2 NLM clients told" in taken["what"]["clients"], taken)
equal("all write again", set(clients.answers()), {"ok"})
check("all have their locks", wait_until(lambda: locked("b") == wanted, 30, 0.5), locked("b"))
servers.boot("a", "again")
clients.end()
done()
