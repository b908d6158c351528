#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: once=yes timeout=240 module=ship
"""Clients of NLM and of NFSv4.0, which cannot say that they have reclaimed all, are listed with what they held.

The grace period of their export ends when all of it is back, and not before.
"""

import time

from control import command, read
from fullserver import serve
from ktap import check, done, equal
from nfs import load, sh, succeeds, wait_until
from nfs4 import READ, Nfs4
from nlm import ACCESS_BOTH, DENY_WRITE, Nlm

server, host = serve()
load()
HOME, OTHER = host.server_ip, host.other_ip
HOST = HOME[:-1] + "2"
a, b = (host.create(server.export(name, f"fsid={fsid}")) for name, fsid in (("a", 1234), ("b", 5678)))


def client(name, minor=0, address=HOME):
    """A client of NFSv4 that has come anew: what it held here is gone. nfsd takes eight bytes of each name."""
    this = Nfs4(minor, address, name, **host.where)
    assert this.establish() == "OK"
    return this


def nlm_client(name="nlm", address=HOME, version=4):
    """A client of NLM."""
    return Nlm(version, address, name, **host.where)


def line_of(name="nlm"):
    """The line for a list, as the files show what a client holds; what it holds goes."""
    for line in (line.split() for line in read("nlm_clients").splitlines()[1:]):
        if line[-2] == name and line[0] == "1234":
            return f"nlm {line[1]} {line[2]} {line[3]} holds={line[-1]}"
    line = next(line.split() for line in read("nfs4_clients").splitlines() if line.startswith(f"1234 {name} "))
    return f"{name} holds={line[-1]}"


def begin(*lines, closed=True, seconds=60, scope="1234"):
    """Begins a grace period with a list."""
    command("fsid_grace", f"{scope} {seconds}")
    for line in lines:
        assert command("reclaim_clients", f"{scope} {line}") == ("ok", "listed 1\n"), line
    if closed:
        assert command("fsid_grace", f"{scope} listed")[0] == "ok"


def grace_of(scope="1234"):
    """Is a scope in grace?"""
    return f"{scope} left" in read("fsid_grace")


def states():
    """How far those are who are listed for a."""
    return [line.split()[-1] for line in read("reclaim_clients").splitlines()]


def goes_on(what, scope="1234"):
    """It does, though there was time for some looks."""
    time.sleep(0.75)
    check(what, grace_of(scope), read("reclaim_clients"))


def ends(what, scope="1234"):
    """It does, within a second on an idle host."""
    began = time.monotonic()
    came = wait_until(lambda: not grace_of(scope), 1, 0.02)
    check(what, came, (read("fsid_grace"), read("reclaim_clients")))
    print(f"# {what}: after {time.monotonic() - began:.2f} s")


# What is written.
begin(closed=False)
for text in ("m holds=", "m holds=x", "m holds=-1", "m holds=" + "1" * 33, "m holds=1 ", "m holds=1 holds=2",
             "m holds=1 x", f"nlm {HOME} {HOST}", f"nlm {HOME} {HOST} holds=1", f"nlm {HOME} {HOST} 2",
             f"nlm {HOME} x 4",
             f"nlm {HOME} {HOST} 4 x", f"nlm {HOME} {HOST} 4 holds=x", f"xxx {HOME} {HOST} 4", f"nlm {HOME} {HOST} 04"):
    equal(f"{text[:30]!r} is malformed", command("reclaim_clients", f"1234 ok\n1234 {text}")[0], "EINVAL")
equal("nothing is listed", read("reclaim_clients"), "")
for text in ("nlm", "nlm holds=5", "holds=5 holds=0fF", f"nlm {HOME} {HOST} 4", f"nlm {HOME} ::ffff:{HOST} 4 holds=7",
             f"nlm {HOME} {HOST} 4 holds=6", f"nlm {HOME} {HOST} 3", "nlm " + "ab" * 32,
             f"nlm {HOME} {HOST} 1 holds=0"):
    equal(f"{text[:30]!r} is good", command("reclaim_clients", f"1234 {text}")[0], "ok")
equal("all are shown, with the greatest amounts", read("reclaim_clients").splitlines(), [
    f"1234 nlm {'ab' * 32} holds=5 # waiting", "1234 holds=5 holds=ff # waiting",
    f"1234 nlm {HOME} {HOST} 4 holds=7 # waiting", f"1234 nlm {HOME} {HOST} 3 # waiting",
    f"1234 nlm {HOME} {HOST} 1 holds=0 # complete"])
command("fsid_grace", "1234 0")

# NLM: many ranges of one owner, and one of another.
nlm = nlm_client()
RANGES = [{"offset": 4 * n, "length": 2, "svid": 1 + n // 40} for n in range(41)]
equal("a client of NLM has many ranges", {nlm.lock(a, **one) for one in RANGES}, {"GRANTED"})
line = line_of()
equal("which are 82 bytes", line, f"nlm {HOME} {HOST} 4 holds=52")
nlm.free_all()
begin(line)
equal("it reclaims all but one", {nlm.lock(a, reclaim=True, **one) for one in RANGES[:-1]}, {"GRANTED"})
goes_on("the grace period goes on")
equal("it reclaims one again, and sends some again",
      {nlm.lock(a, reclaim=True, **RANGES[n]) for n in (0, 0, 0, 5)}, {"GRANTED"})
goes_on("and goes on still")
nlm.lock(a, reclaim=True, **RANGES[-1])
ends("with the last range it ends")
equal("others get locks", nlm.lock(b), "GRANTED")
nlm.free_all()

# A range may come back in pieces.
assert nlm.lock(a, length=100) == "GRANTED"
line = line_of()
nlm.free_all()
begin(line)
equal("a range comes back in pieces",
      {nlm.lock(a, offset=at, length=9, reclaim=True) for at in range(0, 90, 10)}, {"GRANTED"})
goes_on("which are not all")
equal("the rest", nlm.lock(a, offset=0, length=100, reclaim=True), "GRANTED")
ends("is")
nlm.free_all()

# Shares, and a whole file.
assert (nlm.share(a, "one", DENY_WRITE, ACCESS_BOTH), nlm.lock(b, length=0), nlm.lock(a, length=0)) == ("GRANTED",) * 3
line = line_of()
equal("a share, and a lock of a whole file", line[-22:], "holds=8000000000000004")
nlm.free_all()
begin(line)
equal("it reclaims the lock", nlm.lock(a, length=0, reclaim=True), "GRANTED")
goes_on("a share is waited for")
equal("it reclaims the share", nlm.share(a, "one", DENY_WRITE, ACCESS_BOTH, reclaim=True), "GRANTED")
ends("and has all")
nlm.free_all()

# NFSv4.0: many ranges of one owner have one stateid.
old = client("old-client")
opened = old.open(old.path("/a"), "f")
lock = old.lock(opened, 0, 2)
equal("one of NFSv4.0 has many ranges", {old.lock_more(lock, 4 * n, 2) for n in range(1, 30)}, {"OK"})
line = line_of("old-client")
equal("of one owner", [f for f in read("nfs4_clients").splitlines()[1].split()[2:4]], ["1", "30"])
equal("which are 60 bytes, and an open for both", line, "old-client holds=3f")
old = client("old-client")
begin(line)
opened = old.open_reclaim(a)
lock = old.lock(opened, 0, 2, reclaim=True)
equal("it reclaims all but one", (lock.status, {old.lock_more(lock, 4 * n, 2, reclaim=True) for n in range(1, 29)}),
      ("OK", {"OK"}))
goes_on("the grace period goes on")
equal("it reclaims some again", {old.lock_more(lock, 4 * n, 2, reclaim=True) for n in (0, 0, 3)}, {"OK"})
goes_on("and goes on still")
old.lock_more(lock, 4 * 29, 2, reclaim=True)
ends("with the last range it ends")

# It holds less than it did before it was seen with all.
old = client("old-client")
began = time.monotonic()
begin("old-client holds=5", seconds=3)
opened = old.open_reclaim(a)
lock = old.lock(opened, 0, 1, reclaim=True)
equal("one unlocks before it has all", old.unlock(lock, 0, 1), "OK")
old.lock_more(lock, 1, 1, reclaim=True)
goes_on("it is waited for")
check("the grace period ends by its time", wait_until(lambda: not grace_of(), 10, patient=False))
check("which is the full time", time.monotonic() - began >= 3, time.monotonic() - began)

# Modes, and a client that is listed without an amount; the list is not closed.
old = client("old-client")
begin("old-client holds=3", closed=False)
opened = old.open_reclaim(a, READ)
goes_on("an open for reading is not one for both")
equal("it has reclaimed something", states(), ["reclaimed"])
equal("the other one", old.open_reclaim(a).status, "OK")
goes_on("has all, but others may come")
command("fsid_grace", "1234 listed")
ends("when nobody else is expected, it ends")
old = client("old-client")
begin("old-client")
equal("one without an amount", old.open_reclaim(a).status, "OK")
goes_on("is waited for")
command("reclaim_clients", "1234 old-client holds=3")
ends("until there is an amount")

# Several, one of which has finished first; and one of NFSv4.1.
old, new = client("old-client"), client("new-client", 1)
begin("old-client holds=4", "new-client holds=1", f"nlm {HOME} {HOST} 4 holds=3")
opened = old.open_reclaim(a)
lock = old.lock(opened, 0, 1, reclaim=True)
check("one has all", wait_until(lambda: "complete" in states(), 1, 0.02), states())
equal("it unlocks", old.unlock(lock, 0, 1), "OK")
equal("one of NFSv4.1 reclaims", new.open_reclaim(a).status, "OK")
equal("one of NLM, too", nlm.lock(a, offset=50, length=3, reclaim=True), "GRANTED")
goes_on("one of NFSv4.1 says itself that it has finished")
equal("who had all is complete, whatever it has now", states(), ["complete", "reclaimed", "complete"])
equal("it does", new.reclaim_complete(), "OK")
check("and then it ends at once", not grace_of())
nlm.free_all()

# Which scope, which address, which version.
begin(f"nlm {HOME} {HOST} 4 holds=1", f"nlm {OTHER} {HOST} 4 holds=1")
begin(f"nlm {HOME} {HOST} 4 holds=1", scope="5678")
begin(f"nlm {HOME} {HOST} 3 holds=1", scope="77")
nlm.lock(b, reclaim=True)
ends("who reclaims on an export has all there", "5678")
goes_on("and nothing on another one")
nlm.lock(a, exclusive=False, reclaim=True)
goes_on("nor at another address")
nlm_client(address=OTHER).lock(a, exclusive=False, reclaim=True)
ends("until it comes to that")
check("another version is another client", grace_of("77"))
command("fsid_grace", "77 0")
nlm.free_all()
nlm_client(address=OTHER).free_all()

# Floating addresses.
command("floating_addresses", OTHER)
old, same = client("old-client", address=OTHER), client("old-client")
begin("old-client holds=3")
equal("one came to a floating address", old.open_reclaim(a).status, "OK")
ends("and is listed without it")
for this in (old, same):
    this.close()
command("floating_addresses", f"-{OTHER}")
old = client("old-client")
begin(f"old-client@{OTHER} holds=3")
equal("one came to another address", old.open_reclaim(a).status, "RECLAIM_BAD")
goes_on("than it is listed with")
old = client("old-client", address=OTHER)
equal("where the address is not floating", old.open_reclaim(a).status, "OK")
ends("it may be listed with it")
old.close()

# One that has gone costs the full time; what there was before is not what was reclaimed.
old = client("old-client")
assert old.open(old.path("/a"), "f").status == "OK"
began = time.monotonic()
begin("gone holds=1", "old-client holds=3", seconds=3)
goes_on("who has gone is waited for")
equal("and who has reclaimed nothing", states(), ["waiting", "waiting"])
check("until the time is over", wait_until(lambda: not grace_of(), 10, patient=False) and time.monotonic() - began >= 3)
old.close()

# The module goes while it looks; the server, which is there since before it came, does not keep it.
begin("gone holds=1")
sh("echo 0 >/sys/kernel/livepatch/nfsd_ha/enabled")
check("the module can be unloaded while somebody is waited for", wait_until(lambda: succeeds("rmmod nfsd_ha"), 10))
load()

# A restart of the server.
begin(f"nlm {HOME} {HOST} 4 holds=3")
nlm.lock(a, length=1, reclaim=True)
server.stop()
time.sleep(0.6)
server.start()
server.end_grace()
nlm = nlm_client()
equal("after a restart of the server it has lost all", nlm.lock(a, length=2, reclaim=True), "GRANTED")
goes_on("and is waited for")
nlm.lock(a, offset=2, length=1, reclaim=True)
ends("when it has all, it ends")
nlm.free_all()

done()
