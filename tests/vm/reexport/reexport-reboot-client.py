#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The end clients of 86-reexport-reboot, and who wants their locks.

`clients=N` is how many (20 in make test-long), `parts=A:B` what happens (`all` in make test-long), `cuts=N` how often the
re-export server's power is cut at random moments in the part `at_random`, with `seed=N`.
"""

import random
import sys
import time

import harness
from conductor import Servers
from end_client import mount, prepare, process
from ktap import check, done, equal
from layers import EDGE_GRACE, EDGE_LEASE
from nfs import SLOW, sh, wait_until
from worklog import Worklog
from writers import Client, Writer, await_writers, failures, make_clients, number_of_clients, ranges, say

COUNT = number_of_clients(4)
EXPORTS = ("one", "two")
# Which original server has which export of the edge.
OWNERS = {"one": "o", "two": "o", "three": "p"}


def word(name, usual):
    """The number that a word of the test gives."""
    return next((int(w.removeprefix(f"{name}=")) for w in sys.argv[1:] if w.startswith(f"{name}=")), usual)


def thief(name, server):
    """A client that wants all that the writers have locked, by another server."""
    client = Client(f"thief-{name}", "4.2")
    at = {export: client.mount(f"{server}:/{export}", export) for export in EXPORTS}
    log = Worklog(f"/tmp/{client.name}.log")
    client.start("grab", log.path, *(f"{at[path_export(w)]}/{w.file}" for w in writers))
    return log


def path_export(writer):
    """The export that a writer's file is on."""
    return writer.path.split("/")[2].rsplit("-", 1)[1]


def await_told():
    """Waits until the original server was told that all is reclaimed."""
    told = wait_until(lambda: servers.ask("r", "is_told"), 90, 0.5)
    check("the original server is told that all is reclaimed", told, servers.ask("r", "originals"))
    return servers.ask("r", "originals")


def judge(what, since, waiter=True, early=False):
    """After a reboot: all have kept what they had, nobody else got it, and all write. `early`: an admin ends the grace period."""
    await_writers(writers, f"{what}: all write again", time.monotonic())
    outages = sorted(w.longest(since) for w in writers)
    say(f"{what}: outages from {outages[0]:.1f} to {outages[-1]:.1f} s")
    equal(f"{what}: no write failed", failures(writers, since), {})
    if early:
        # Its clients of NFSv3 have come, too.
        wait_until(lambda: servers.ask("o", "locked") == all_locks(), 60, 0.5)
        servers.ask("r", "sh", "echo Y >/proc/fs/lockd/nlm_end_grace; echo Y >/proc/fs/nfsd/v4_end_grace")
    equal(f"{what}: by NFSv3, too", [by_nfs3.lock(file, "w", 5, 1) for file in nfs3_files], ["ok"] * len(nfs3_files))
    equal(f"{what}: the original server has all locks", servers.ask("o", "locked"), all_locks())
    say(f"{what}: {await_told()}")
    equal(f"{what}: it has them afterwards", servers.ask("o", "locked"), all_locks())
    if waiter:
        equal(f"{what}: who waits there, waits", servers.ask("o", "locker", "waits"), {})
    for name, log in thieves.items():
        tries = [result for begin, end, _, result in log.since(since) if end > since]
        equal(f"{what}: who wants them by {name} got none in {len(tries)} tries", set(tries) - {"EAGAIN"}, set())


def all_locks():
    """What the original server has locked for the writers and by NFSv3."""
    return sorted(ranges(writers) + [f"{file.rsplit('/', 1)[1]} 0-9" for file in nfs3_files])


servers = Servers(["o", "p", "r", "s"])
prepare()
sh("sysctl -q kernel.hung_task_timeout_secs=0")
assert wait_until(lambda: not any(servers.ask(name, "in_grace") for name in servers.boots), 75 + EDGE_GRACE, 0.5)
clients = make_clients("c", COUNT)
writers = []
for number, client in enumerate(clients):
    export = EXPORTS[number % len(EXPORTS)]
    writers.append(Writer(client, f"{client.mount(f'r:/{export}', export)}/{client.name}"))
await_writers(writers, f"{COUNT} end clients open, lock and write on {len(EXPORTS)} exports")
at, by_nfs3 = mount("r", "3"), process()
nfs3_files = [f"{at}/{export}/nfs3-{export}" for export in EXPORTS]
equal("and one by NFSv3", [by_nfs3.lock(file, "w", 0, 10) for file in nfs3_files], ["ok"] * 2)
equal("the original server has all locks", servers.ask("o", "locked"), all_locks())
thieves = {"the original server": thief("o", "o"), "another re-export server": thief("s", "s")}
check("others want them", wait_until(lambda: all(log.since() for log in thieves.values()), 60))
servers.ask("o", "locker", "waits", "/srv/disk/root/one/nfs3-one", "w", "0", "1", "wait")


def cut():
    """The edge's power is cut."""
    since = time.monotonic()
    servers.boot("r", "cut")
    judge("its power is cut", since)


def cut_again():
    """And once more, while the end clients reclaim."""
    since = time.monotonic()
    servers.boot("r", "again-1")
    time.sleep(1)
    servers.boot("r", "again-2")
    judge("it is cut once more while they reclaim", since)


def at_random():
    """And at random moments, again and again."""
    chance = random.Random(word("seed", 1))
    for number in range(word("cuts", 0)):
        since = time.monotonic()
        for part in range(chance.choice((1, 1, 2, 3))):
            servers.boot("r", f"random-{number}-{part}")
            time.sleep(chance.random() * 8)
        # Its grace period is long enough for who comes late, and nobody is to wait for the rest of it.
        judge(f"cut {number} at random", since, early=True)


def both():
    """The original server's power is cut, too."""
    since = time.monotonic()
    harness.kill("o", "both")
    servers.boots["o"] = "both"
    servers.boot("r", "both")
    harness.get("o-both-up")
    judge("both are cut", since, waiter=False)


def alone():
    """That of the original server only, while the edge runs."""
    since = time.monotonic()
    servers.boot("o", "alone")
    judge("the original server is cut", since, waiter=False)


def restarted():
    """nfsd of the edge is started, stopped and started again, before the end clients are back."""
    since = time.monotonic()
    servers.ask("r", "next_time", "twice")
    servers.boot("r", "restart")
    judge("nfsd is restarted after its boot", since, waiter=False)


def loses(outage, export, told, within):
    """The lock of a file of an export is lost when the edge reboots: who is told says so, its machine or the edge, and others
    go on within so many seconds after the edge serves again."""
    what, file, owner = outage.__doc__.rstrip("."), f"{at42}/{export}/{outage.__name__}", OWNERS[export]
    others, one = servers.ask(owner, "locked"), process()
    equal(f"{what}: a lock", one.lock(file, "w", 0, 1), "ok")
    check(f"{what}: its original server has it", servers.ask(owner, "locked") != others)
    outage()
    began = time.monotonic()
    seen = sh(f"timeout {60 * SLOW} sh -c 'echo new > {file}-new && cat {file}-new'", check=False).strip()
    took = time.monotonic() - began
    equal(f"{what}: others go on after {took:.1f} s", seen, "new")
    check(f"{what}: that is within {within} s of the edge's boot", took < within, took)
    gone = wait_until(lambda: servers.ask(owner, "locked") == others, 30)
    check(f"{what}: the lock is gone", gone, servers.ask(owner, "locked"))
    say(f"{what}: {servers.ask('r', 'originals')}")
    lost = "dmesg | tail -20 | grep 'lost 1 locks'"
    check(f"{what}: {told} says so", servers.ask(told, "sh", lost) if told in servers.boots else sh(lost, check=False))
    # Its own machine keeps it until it closes the file.
    one.stop()
    other = process()
    equal(f"{what}: locks are as ever", other.lock(file, "w", 0, 1), "ok")
    other.stop()


def finds(fault):
    """`nfsd-ha check` finds a fault on the edge."""
    found = servers.ask("r", "check")
    check(f"nfsd-ha check says {fault}", fault in found, found)


def revoked():
    """An admin of the original server revokes what the edge has reclaimed, before that is told that it is all."""
    servers.boot("r", "revoked")
    assert wait_until(lambda: any(int(one["granted"]) for one in servers.ask("r", "originals")), 60, 0.1)
    servers.ask("o", "sh", "echo /srv/root > /proc/fs/nfsd/unlock_filesystem")


def stock():
    """The edge reboots, one of its two original servers is a stock one."""
    servers.boot("r", "stock")


def local():
    """A local process of the edge opens a file before nfsd is started."""
    servers.ask("r", "next_time", "late")
    servers.boot("r", "local")
    for export, told in (("three", ["p"]), ("one", ["o", "p"])):
        servers.ask("r", "locker", "local", f"/srv/root/{export}/local-{export}", "w", "0", "1", "now")
        check(f"a local process of the edge opens a file: {told} are told at once",
              wait_until(lambda wanted=told: servers.ask("r", "told") == wanted, 5), servers.ask("r", "originals"))
        servers.ask("r", "locker", "local", f"/srv/root/{export}/local-{export}", "u", "0", "0", "now")
    servers.ask("r", "serve_all")


def beside_stock():
    """What is locked at the other original server meanwhile is kept."""
    other, lost = process(), sh("dmesg").count("lost 1 locks")
    equal("a lock at the original server with the module", other.lock(f"{at42}/one/other", "w", 0, 1), "ok")
    loses(stock, "three", "client", EDGE_LEASE)
    finds("reexport-original")
    equal("that is kept", servers.ask("o", "locked"), ["other 0-0"])
    await_told()
    equal("so it is afterwards", servers.ask("o", "locked"), ["other 0-0"])
    equal("one lock is lost", sh("dmesg").count("lost 1 locks"), lost + 1)
    other.stop()


def after_local():
    """What a local process does costs end clients their locks."""
    loses(local, "one", "client", EDGE_LEASE)
    finds("reexport-refused")


def after_revoked():
    """So does an admin of the original server; who wants the file waits for the edge's grace period, two leases at most."""
    loses(revoked, "one", "r", 2 * EDGE_LEASE)


# One power cut alone is in `cut_again`.
USUAL = "cut_again:at_random:both:alone:after_local:beside_stock"
wanted = next((w.removeprefix("parts=") for w in sys.argv[1:] if w.startswith("parts=")), USUAL).split(":")
first, last = (cut, cut_again, at_random, both, alone, restarted), (after_revoked, after_local, beside_stock)
unknown = set(wanted) - {part.__name__ for part in first + last} - {"all"}
assert not unknown, f"these are no parts: {unknown}"


def play(parts):
    """Plays those that are wanted."""
    for part in parts:
        if "all" in wanted or part.__name__ in wanted:
            part()


play(first)
for name, log in thieves.items():
    # While the original server is in grace they wait, and may have an answer late.
    now = time.monotonic()
    check(f"who wants them by {name} tries on", wait_until(lambda log=log, now=now: any(begin > now for begin, *_ in log.since()), 60))
    tries = [result for *_, result in log.since()]
    equal(f"and got none in {len(tries)} tries", set(tries), {"EAGAIN"})
for writer in writers:
    writer.end()
by_nfs3.stop()
sh("pkill -f lock-worke[r]; true")
servers.ask("o", "end_lockers")
at42 = mount("r", "4.2", (*EXPORTS, "three"))
play(last)
servers.end()
done()
