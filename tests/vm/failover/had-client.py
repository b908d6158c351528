#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The clients of 89-crash-had.scenario: NFSv3, 4.0 and 4.2 by two addresses, whose server crashes, and then the next one."""

import harness
from ktap import check, done, equal
from mounted import Mounted
from nfs import wait_until

MOVE_GRACE = 30
# By which addresses somebody has come: two of NFSv4, two of NFSv3.
ADDRESSES = ["10.77.0.50", "fd77::50"]
RECORD = {"nfs4": 2, "nlm": ADDRESSES, "connections": sorted(2 * ADDRESSES), "lists": []}

clients = Mounted(2)
servers, locked, wanted = clients.servers, clients.locked, clients.files
equal(f"{len(wanted)} files are locked by NFSv3, 4.0 and 4.2, with IPv4 and IPv6", locked("a"), wanted)
for crashed, target in ("ab", "ba"):
    what = f"{crashed} crashes"
    check(f"{what}: all were on its record, on no list, and who was connected",
          wait_until(lambda: servers.ask(crashed, "on_record") == RECORD, 15, 0.5), servers.ask(crashed, "on_record"))
    equal(f"{what}: all write", set(clients.answers()), {"ok"})
    harness.kill(crashed)
    taken = servers.ask(target, "recover", "ha", str(MOVE_GRACE), crashed)
    print(f"# {target}: {taken}", flush=True)
    check(f"{what}: both clients of NFSv4 may reclaim", " 2 clients of NFSv4 " in taken["what"]["takeover"], taken)
    check(f"{what}: both NLM clients were told", "2 of 2 NLM clients told" in taken["what"]["clients"], taken)
    check(f"{what}: who was connected was told to come", not taken["what"]["clients"].startswith("0 connections"), taken)
    equal(f"{what}: all write again", set(clients.answers()), {"ok"})
    check(f"{what}: all have their locks", wait_until(lambda: locked(target) == wanted, 30, 0.5), locked(target))
    servers.ask(target, "end_grace")
    servers.boot(crashed, "again")
clients.end()
done()
