# SPDX-License-Identifier: GPL-2.0
"""Clients of the exports that move, and one that wants their locks."""

import time
from collections import namedtuple

import heartbeat
from ktap import check, equal
from move import EXPORTS, MOVE_GRACE
from nfs import SLOW, wait_until
from worklog import Worklog
from writers import VERSIONS, Client, Writer, await_writers, failures, ranges, say

# Seconds that an outage may be longer than the address was away.
LIMIT = 5.0 * SLOW
# When a move began, when the address was there again, and how long it was away.
Times = namedtuple("Times", "since back away")


def end_writers(writers, servers, server, name):
    """Ends the writers of an export. All that they have written is there, by what its server's disk has."""
    for writer in writers:
        writer.end()
    counts = servers.ask(server, "records", name)
    # The last write may have been done before its writer was told, or not at all.
    lost = {w.name: (w.wrote(), counts[w.file]) for w in writers if counts[w.file] not in (w.wrote(), w.wrote() + 1)}
    equal(f"{sum(w.wrote() for w in writers)} writes to {len(writers)} files of {name} are there", lost, {})


class Fleet:
    """Clients of an export that moves, and one that wants their locks."""

    def __init__(self, export, clients, suffix="", pause=0.5):
        self.export, self.suffix, self.clients, self.pause = export, suffix, clients, pause
        self.source = f"{EXPORTS[export].address}:/{export}"
        self.writers = [self.writer(client) for client in self.clients]
        await_writers(self.writers, f"{len(clients)} clients open, lock and write on {export}")
        thief = Client(f"{export}-thief{suffix}", "4.2")
        at = thief.mount(self.source, export)
        self.grabs = Worklog(f"/tmp/{thief.name}.log")
        thief.start("grab", self.grabs.path, *(f"{at}/{writer.file}" for writer in self.writers))
        check("another client wants their locks", wait_until(self.grabs.since, 30))

    def writer(self, client):
        """A client's process on the export."""
        return Writer(client, f"{client.mount(self.source, self.export)}/{client.name}{self.suffix}", self.pause)

    def tries(self, since):
        """Waits until each lock was tried anew; the tries that ended after a time: begin, end, file, result."""
        now = time.monotonic()
        wanted = {writer.file for writer in self.writers}
        check("the locks are wanted again",
              wait_until(lambda: {name for b, _, name, _ in self.grabs.since(now) if b > now} >= wanted, 60))
        return self.grabs.since(since)

    def judge(self, what, servers, target, times, more=(), late=()):
        """After a move: the clients have kept what they had, and nobody else got it.

        `more` are writers of other clients; those of `late` have themselves to blame for their outage. Returns the
        outages that the clients have seen, sorted.
        """
        writers = [*self.writers, *more]
        await_writers(writers, f"{what}: all clients write again", times.back)
        time.sleep(2)
        outages = sorted(w.longest(times.since) for w in writers if w not in late)
        by_version = {v: [f"{w.longest(times.since):.1f}" for w in writers if w.client.version == v] for v in VERSIONS}
        say(f"{what}: outages by version: {by_version}")
        equal(f"{what}: no write failed", failures(writers, times.since), {})
        equal(f"{what}: the server has all locks", servers.ask(target, "locked", self.export), ranges(writers))
        still = heartbeat.stood_still(target, times.since)
        check(f"{what}: the outage was at most {LIMIT:.0f} s longer than the address was away",
              outages[-1] - times.away <= LIMIT + 3 * still,
              f"{outages[-1]:.1f} s, the address {times.away:.1f} s; a machine stood still for {still:.2f} s")
        check(f"{what}: the grace period ends", wait_until(lambda: not servers.ask(target, "graced"), 60, 0.5))
        tries = self.tries(times.since)
        # Who tries takes a rest now and then, and the address is not away for long.
        equal(f"{what}: somebody else wanted each meanwhile",
              {name for b, e, name, _ in tries if b < times.back + 2 and e > times.since}, {w.file for w in self.writers})
        equal(f"{what}: and got none in {len(tries)} tries", {r for _, _, _, r in tries}, {"EAGAIN"})
        return outages


def moved(servers, name, source, target, way=""):
    """Has an export move, in the stock kernel's way if asked to."""
    since = time.monotonic()
    first = servers.ask(source, f"{way}leave", name)
    clients = first.pop("list")
    second = servers.ask(target, f"{way}take", name, *(clients and [str(MOVE_GRACE), clients]))
    back = time.monotonic() - second["here"]
    say(f"{source}: {first}")
    say(f"{target}: {second}")
    return Times(since, back, back - since - first["gone"])
