#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The clients of 74-trouble.scenario: moves with more that happens at the same time."""

import time

import heartbeat
from conductor import Servers
from fleet import Fleet, Times, end_writers, moved
from ktap import check, done, equal
from move import EXPORTS
from nfs import SLOW, sh, wait_until
from writers import Client, Writer, await_writers, failures, make_clients, number_of_clients, ranges, say

# A client may wait for a server that is off for as long as that takes.
sh("modprobe nfsv4; modprobe nfs; sysctl -q kernel.hung_task_timeout_secs=0")
# One of each version can be away, and others are there. make test-long has 6.
COUNT = number_of_clients(4)
servers = Servers("ab")
heartbeat.start("a", "b")
servers.ask("a", "serve", "ha")
servers.ask("b", "serve", "hb")
servers.await_grace()
ha, hb = Fleet("ha", make_clients("one", COUNT), pause=1), Fleet("hb", make_clients("two", 3), pause=1)
stays = {}
for server in "ab":
    client = Client(f"stay-{server}", "4.1")
    stays[server] = [Writer(client, f"{client.mount(f'{server}:/local', server)}/{client.name}")]
everybody = [*ha.writers, *hb.writers, *stays["a"], *stays["b"]]
await_writers(everybody, "a client of each server's own export writes, too")


def seconds(count):
    """A time for a server, which may be slow."""
    return str(count * SLOW)


def finish(what, times, *moves, late=()):
    """What the clients of the exports that moved to a server have seen, and that all others go on."""
    for fleet, target in moves:
        fleet.judge(f"{what}, {fleet.export}", servers, target, times, late=late)
    await_writers(everybody, f"{what}: all others write, too", times.back)
    equal(f"{what}: no write failed at all", failures(everybody), {})
    for server, writers in stays.items():
        equal(f"{what}: {server}'s other export has its locks", servers.ask(server, "locked", "local"), ranges(writers))


def together(*orders):
    """Has both servers do something at the same time. Returns what they answer."""
    for order in orders:
        servers.tell(*order)
    answers = [servers.answer(order[0]) for order in orders]
    for order, answer in zip(orders, answers):
        say(f"{order[0]}: {answer}")
    return answers


def cut_off(writers):
    """Has nothing reach the servers any more that the clients send to a floating address."""
    for writer in writers:
        for export in EXPORTS.values():
            # A link that is down would be an error that ends the mount, in a net namespace (fatal_neterrors, nfs(5)).
            writer.client.run(f"ip neigh replace {export.address} lladdr 02:00:00:00:00:99 dev {writer.client.name} "
                              "nud permanent")


def reconnect(writers):
    """Ends that."""
    for writer in writers:
        for export in EXPORTS.values():
            writer.client.run(f"ip neigh del {export.address} dev {writer.client.name}")


def since(began, *taken):
    """The times of a move that has just been done, for the address as for all of it; of several, when the first came."""
    back = time.monotonic() - max((answer["here"] for answer in taken), default=0)
    return Times(began, back, back - began)


began = time.monotonic()
of_ha, of_hb = (answer["list"] for answer in together(("a", "leave", "ha"), ("b", "leave", "hb")))
taken = together(("a", "take", "hb", seconds(10), of_hb), ("b", "take", "ha", seconds(10), of_ha))
finish("two at once", since(began, *taken), (ha, "b"), (hb, "a"))

# b has ha now, and hb comes while all of b is in grace.
began = time.monotonic()
left = servers.ask("a", "leave", "hb")
of_hb = left.pop("list")
say(f"a: {left}")
servers.ask("b", "restart")
say(f"b starts nfsd again: {servers.ask('b', 'take', 'hb', seconds(15), of_hb)}")
times = since(began)
check("in b's own grace period: a client that moved writes again",
      wait_until(lambda: any(w.wrote(times.back) for w in hb.writers), 60))
equal("in b's own grace period: it is not over then", servers.ask("b", "in_grace"), True)
finish("in b's own grace period", times, (hb, "b"), (ha, "b"))

# The power of a is cut when some have reclaimed, and one has not, as it is away.
cut_off(hb.writers[:1])
began = time.monotonic()
back = moved(servers, "hb", "b", "a").back
await_writers(hb.writers[1:], "a is reset in the middle: others write again", back)
states = servers.ask("a", "listed")
check("a is reset in the middle: some have reclaimed, and not all", {"waiting"} < set(states), states)
reconnect(hb.writers[:1])
servers.boot("a", "middle")
say(f"a's power is cut, and it takes over again: {servers.ask('a', 'take', 'hb', seconds(20))}")
finish("a is reset in the middle", since(began), (hb, "a"), late=hb.writers[:1])

began = time.monotonic()
servers.boot("a", "after")
servers.ask("a", "resume", "hb")
say("a's power was cut after the move, and it has hb again, without a list")
finish("a is reset after it", since(began), (hb, "a"))

# One of each version is away while its export moves.
away, there = ha.writers[:3], ha.writers[3:]
cut_off(away)
began = time.monotonic()
back = moved(servers, "ha", "b", "a").back
await_writers(there, "partitioned: the others write again", back)
check("partitioned: the grace period ends", wait_until(lambda: not servers.ask("a", "graced"), 60, 0.5))
ended = time.monotonic()
reconnect(away)
check("partitioned: who comes back after it is answered", wait_until(lambda: all(w.writes(ended) for w in away), 90),
      [w.name for w in away if not w.writes(ended)])
time.sleep(2)
equal("partitioned: and told that its lock is lost", failures(away, ended), {w.name: {"EIO"} for w in away})
equal("partitioned: none of its writes succeeds any more", [w.wrote(ended) for w in away], [0] * 3)
got = {name for _, _, name, result in ha.tries(began) if result == "GOT"}
equal("partitioned: somebody else can have their locks, and not the others'", got, {w.file for w in away})
equal("partitioned: no write of the others failed", failures([*there, *hb.writers, *stays["a"], *stays["b"]]), {})
kept = set(servers.ask("a", "locked", "ha"))
check("partitioned: the server has the others' locks", set(ranges(there)) <= kept, kept)
end_writers(ha.writers, servers, "a", "ha")
end_writers(hb.writers, servers, "a", "hb")
heartbeat.end()
# Who still writes when the servers are gone keeps this machine from switching off.
for server, writers in stays.items():
    end_writers(writers, servers, server, "local")
servers.end()
done()
