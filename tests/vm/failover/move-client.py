#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The clients of 72-move.scenario: an export moves, and back, and after a crash; then in the stock way."""

import time

import harness
import heartbeat
from conductor import Servers
from fleet import Fleet, Times, end_writers, moved
from ktap import check, done, equal
from move import MOVE_GRACE
from nfs import sh, wait_until
from writers import Client, Writer, await_writers, failures, make_clients, number_of_clients, ranges, say

# make test-long has 20.
COUNT = number_of_clients(4)
CALM = 8.0
OTHERS = {"a": "the other export of a", "b": "the other export of b"}

# A client may wait for a server that is off for as long as that takes.
sh("modprobe nfsv4; modprobe nfs; sysctl -q kernel.hung_task_timeout_secs=0")
servers = Servers("ab")
heartbeat.start(*OTHERS)
servers.ask("a", "serve", "ha")
servers.await_grace()
fleet = Fleet("ha", make_clients("c", COUNT))
# A client of both: it has mounted the export that moves, and each server's own.
both = Client("both", "4.2")
mover = fleet.writer(both)
stays = {}
for version, server in zip(("4.1", "4.2"), OTHERS):
    clients = (Client(f"watch-{server}", version), both)
    # Each of their operations counts.
    stays[server] = [Writer(c, f"{c.mount(f'{server}:/local', server)}/{c.name}", 0.2) for c in clients]
everybody = [*fleet.writers, mover, *stays["a"], *stays["b"]]
await_writers(everybody, "a client of both servers, and one of each, write, too")
equal("the server has all locks", servers.ask("a", "locked", "ha"), ranges([*fleet.writers, mover]))
calm = time.monotonic()
time.sleep(CALM)
usual = {server: max(w.longest(calm) for w in stays[server]) for server in OTHERS}
say(f"longest operation on the exports that stay: {usual}")
rows = []


def locks_elsewhere(what, *where):
    """The clients of the exports that stay have their locks."""
    for server in where:
        equal(f"{what}: {OTHERS[server]} has all locks", servers.ask(server, "locked", "local"), ranges(stays[server]))


def judge(what, times, target, unharmed=tuple(OTHERS)):
    """After a move: what the clients have seen, also those of the exports that stay on servers that were not reset."""
    outages = fleet.judge(what, servers, target, times, [mover])
    longest = {server: max(w.longest(times.since) for w in stays[server]) for server in unharmed}
    for server, seconds in longest.items():
        still = heartbeat.stood_still(server, times.since)
        check(f"{what}: no operation on {OTHERS[server]} took over 3 times its longest before",
              seconds <= 3 * (usual[server] + still),
              f"{seconds:.2f} s, before {usual[server]:.2f} s; a machine stood still for {still:.2f} s")
        equal(f"{what}: none failed there", failures(stays[server], times.since), {})
    locks_elsewhere(what, *unharmed)
    rows.append((what, times.away, outages, longest))


judge("from a to b", moved(servers, "ha", "a", "b"), "b")
judge("from b to a", moved(servers, "ha", "b", "a"), "a")
since = time.monotonic()
harness.kill("a")
steps = servers.ask("b", "recover", "ha", str(MOVE_GRACE), "a")
back = time.monotonic() - steps["here"]
say(f"a's power is cut; b: {steps}")
judge("crash of a", Times(since, back, back - since), "b", "b")
servers.boot("a", "again")
again = time.monotonic()
await_writers(stays["a"], "a boots: the clients of its other export write again", again)
equal("none of their writes failed", failures(everybody), {})
locks_elsewhere("a boots", "a")
end_writers([*fleet.writers, mover], servers, "b", "ha")
for server in OTHERS:
    end_writers(stays[server], servers, server, "local")

# For the record: the same clients, without the module on the servers.
for server in OTHERS:
    servers.ask(server, "detach")
servers.await_grace()
old = Fleet("ha", fleet.clients, "-stock")
times = moved(servers, "ha", "b", "a", "stock_")
# The stock code leaves revoked locks with their owners. A lease after the umount b's laundromat looks at them, reads freed
# inodes, and may spin for ever with client_lock held.
harness.kill("b")
wait_until(lambda: all(w.writes(times.back) for w in old.writers), 90)
tries = old.tries(times.since)
time.sleep(5)
kept = servers.ask("a", "locked", "ha")
lost = failures(old.writers, times.since)
check(f"stock: clients lose their locks: {len(kept)} of {2 * COUNT} are left", len(kept) < 2 * COUNT, kept)
say(f"stock: {len(lost)} of {COUNT} clients have errors: {lost}")
say(f"stock: somebody else got {len({name for _, _, name, r in tries if r == 'GOT'})} of their locks")
rows.append(("stock", times.away, sorted(w.longest(times.since) for w in old.writers if w.name not in lost), {}))
print("# " + "-" * 78)
print(f"# {'':16} {'address away':>13} {'median outage':>14} {'longest':>9} {'longest on a':>13} {'on b':>8}   (s)")
for title, away, outages, others in rows:
    seconds = [f"{s:.1f}" for s in (outages[len(outages) // 2], outages[-1])] if outages else ["never", "never"]
    seconds += [f"{others[s]:.2f}" if s in others else "-" for s in OTHERS]
    print(f"# {title:16} {away:13.1f} {seconds[0]:>14} {seconds[1]:>9} {seconds[2]:>13} {seconds[3]:>8}")
print("# " + "-" * 78)
heartbeat.end()
# Who still writes when the servers are gone keeps this machine from switching off.
for writer in old.writers:
    writer.end()
servers.end()
done()
