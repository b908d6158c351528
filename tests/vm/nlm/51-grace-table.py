#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: timeout=600 disk=in:64M disk=out:64M disk=uuid:64M disk=plain:64M module=load
"""A grace period of one scope answers every request as the server's grace period does.

Each request type is a row of a table. Its answers are collected
  a  in the grace period of the whole server (stock code, before the scope's exists);
  b  in no grace period;
  c  in the scope of a grace period of the module;
  d  outside of that scope, at the same time;
  e  in the scope, when its grace period is over.
c must be a, and d and e must be b. Raw clients ask (rpc, nlm, nfs4): each row says exactly what
is sent, and nothing is sent again.
"""

import os
import time

from fullserver import FullServer, Place, RawHost
from ktap import check, done, equal
from nfs import SLOW, sh, wait_until
from nfs4 import ONES, Nfs4
from nlm import Nlm, Responder

SETTINGS = "abcde"
# A row whose answer in the scope is not that of the server's grace period.
DIFFERENT = {
    # Who may reclaim is a question of its own: outside of the server's own grace period, those that are listed for
    # the scope (70-reclaim-clients). The records that the server started with are dropped when that ends, and that
    # it has a client of NFSv4.0 on record says nothing of the scope.
    "4.0 OPEN reclaim": "RECLAIM_BAD",
    "4.1 OPEN reclaim": "RECLAIM_BAD",
    "4.2 OPEN reclaim": "RECLAIM_BAD",
}


class NlmRows:
    """The requests of one version of NLM."""

    def __init__(self, version, server_ip, responder, where):
        self.version, self.label = version, f"NLM{version}"
        self.client = Nlm(version, server_ip, caller=f"raw{version}", responder=responder, **where)

    def rows(self):
        """Pairs of a name and a function of the place and of an offset that is used once."""
        client, svid = self.client, 100 + self.version
        for msg in (False, True):
            end = "_MSG" if msg else ""
            what = {"msg": msg, "svid": svid}
            yield f"TEST{end}", lambda p, at, w=what: client.test(p.fh["nlm"], offset=at, **w)
            for block in (False, True):
                for reclaim in (False, True):
                    name = f"LOCK{end}{' block' if block else ''}{' reclaim' if reclaim else ''}"
                    yield name, lambda p, at, w=what, b=block, r=reclaim: client.lock(
                        p.fh["nlm"], offset=at, block=b, reclaim=r, **w)
            yield f"CANCEL{end}", lambda p, at, w=what: client.cancel(p.fh["nlm"], offset=at, **w)
            yield f"UNLOCK{end}", lambda p, at, w=what: client.unlock(p.fh["nlm"], offset=at, **w)
            # Byte 0 is locked by somebody else, see Place.
            yield f"TEST{end}, taken", lambda p, at, w=what: client.test(p.fh["nlm"], **w)
            for block, reclaim in ((False, False), (False, True), (True, False)):
                kind = " block" if block else " reclaim" if reclaim else ""
                yield (f"LOCK{end}{kind}, taken", lambda p, at, w=what, b=block, r=reclaim:
                       client.lock(p.fh["nlm"], block=b, reclaim=r, **w))
            yield f"CANCEL{end}, blocked", lambda p, at, w=what: client.cancel(p.fh["nlm"], **w)
        for reclaim in (False, True):
            end = " reclaim" if reclaim else ""
            yield f"NM_LOCK{end}", lambda p, at, r=reclaim: client.lock(
                p.fh["nlm"], offset=at, svid=svid, monitored=False, reclaim=r)
            yield f"SHARE{end}", lambda p, at, r=reclaim: client.share(
                p.fh["nlm"], oh=f"share-{at}", reclaim=r)
        yield "UNSHARE", lambda p, at: client.unshare(p.fh["nlm"], oh=f"share-{at}")


class Nfs4Rows:
    """The requests of one minor version of NFSv4.

    `late` is on record, has reclaimed an open and a lock, and never says that it is done; `new` is
    not on record and says so at once; `stranger` is not on record, and tries to reclaim.
    """

    def __init__(self, minor, server_ip, where):
        self.minor, self.label = minor, f"4.{minor}"
        self.late = Nfs4(minor, server_ip, f"late-{minor}", **where)
        self.new = Nfs4(minor, server_ip, f"new-{minor}", **where)
        self.stranger = Nfs4(minor, server_ip, f"stranger-{minor}", **where)
        self.opened, self.lock, self.laid_out = {}, {}, {}

    def record(self, place):
        """Gets `late` on record, with a file open."""
        late = self.late
        equal(f"{self.label}: the client is known", late.establish(), "OK")
        late.reclaim_complete()
        equal(f"{self.label}: it opens a file", late.open(place.directory, "base").status, "OK")

    def reclaim(self, places):
        """After the server's restart: `late` reclaims a file and a lock in each place."""
        seen = [self.late.establish(), self.new.establish(), self.new.reclaim_complete(),
                self.stranger.establish()]
        for place in places:
            opened = self.late.open_reclaim(place.fh["base"])
            lock = self.late.lock(opened, 100 + self.minor, 1, reclaim=True)
            seen += [opened.status, lock.status]
            self.opened[place], self.lock[place] = opened, lock
            self.laid_out[place] = self.late.open_reclaim(place.fh[f"layout-{self.minor}"])
        equal(f"{self.label}: clients come back, and one reclaims", set(seen), {"OK"})

    def prepare(self, place):
        """Makes the names that the rows use as they must be."""
        for name in ("remove", "old"):
            place.fresh(f"{name}-{self.minor}")
        for name in ("created", "new"):
            place.gone(f"{name}-{self.minor}")
        os.setxattr(f"{place.path}/data", f"user.remove-{self.minor}", b"x")
        for client in (self.late, self.new, self.stranger):
            client.renew()

    def judge(self, setting, place, seen):
        """Is what was refused undone, and what was granted done?"""
        done_there = {"OPEN, create": os.path.exists(f"{place.path}/created-{self.minor}"),
                      "REMOVE": not os.path.exists(f"{place.path}/remove-{self.minor}"),
                      "RENAME": os.path.exists(f"{place.path}/new-{self.minor}")}
        said = {name: seen[f"{self.label} {name}"] == "OK" for name in done_there}
        equal(f"{self.label} ({setting}): what is answered is done", done_there, said)

    def layout(self, place):
        """LAYOUTGET. Layouts are leases, which are off, as nfsd would give out delegations."""
        sh("sysctl -q fs.leases-enable=1")
        status = self.late.layout_get(self.laid_out[place])
        sh("sysctl -q fs.leases-enable=0")
        return status

    def rows(self):
        """Pairs of a name and a function of the place and of an offset that is used once."""
        late, new, minor = self.late, self.new, self.minor
        data = lambda p: p.fh["data"]  # pylint: disable=unnecessary-lambda-assignment
        yield "OPEN, create", lambda p, at: new.open(p.directory, f"created-{minor}").status
        yield "OPEN, no create", lambda p, at: new.open(p.directory, "data", False).status
        if minor:
            yield "OPEN by handle", lambda p, at: new.open_fh(data(p)).status
            yield "OPEN, not done", lambda p, at: late.open(p.directory, "data", False).status
            yield "OPEN reclaim, done", lambda p, at: new.open_reclaim(data(p)).status
        yield "OPEN reclaim", lambda p, at: late.open_reclaim(data(p)).status
        yield "OPEN reclaim, no record", lambda p, at: self.stranger.open_reclaim(data(p)).status
        yield "LOCK", lambda p, at: late.lock(self.opened[p], at).status
        yield "LOCK reclaim", lambda p, at: late.lock(self.opened[p], at, reclaim=True).status
        yield "LOCK, more", lambda p, at: late.lock_more(self.lock[p], at)
        yield "LOCK reclaim, more", lambda p, at: late.lock_more(self.lock[p], at, reclaim=True)
        yield "LOCK, taken", lambda p, at: late.lock(self.opened[p]).status
        yield "LOCK reclaim, taken", lambda p, at: late.lock(self.opened[p], reclaim=True).status
        yield "LOCKT", lambda p, at: late.test_lock(p.fh["base"], at)
        yield "LOCKT, taken", lambda p, at: late.test_lock(p.fh["base"])
        yield "LOCKU", lambda p, at: late.unlock(self.lock[p], at)
        yield "READ", lambda p, at: late.read(p.fh["base"], self.opened[p].stateid)
        yield "WRITE", lambda p, at: late.write(p.fh["base"], self.opened[p].stateid)
        yield "READ zeros", lambda p, at: new.read(data(p))
        yield "READ ones", lambda p, at: new.read(data(p), ONES)
        yield "WRITE zeros", lambda p, at: new.write(data(p))
        yield "WRITE ones", lambda p, at: new.write(data(p), ONES)
        yield "SETATTR size, zeros", lambda p, at: new.set_size(data(p), 500)
        yield "SETATTR size, ones", lambda p, at: new.set_size(data(p), 500, ONES)
        yield "SETATTR mode", lambda p, at: new.set_mode(data(p), 0o666)
        yield "REMOVE", lambda p, at: new.remove(p.directory, f"remove-{minor}")
        yield "RENAME", lambda p, at: new.rename(p.directory, f"old-{minor}", f"new-{minor}")
        if minor:
            yield "LAYOUTGET", lambda p, at: self.layout(p)
            yield "LAYOUTCOMMIT", lambda p, at: late.layout_commit(self.laid_out[p])
            yield ("LAYOUTCOMMIT reclaim",
                   lambda p, at: late.layout_commit(self.laid_out[p], reclaim=True))
        if minor == 2:
            yield "SETXATTR", lambda p, at: new.set_xattr(data(p), "set")
            yield "REMOVEXATTR", lambda p, at: new.remove_xattr(data(p), f"remove-{minor}")


class Table:
    """Answers by row and setting."""

    def __init__(self, groups):
        self.groups, self.answers = groups, {}
        self.offset = 1000

    def collect(self, setting, place, only=None):
        """Asks everything in one place; with `only`, these rows. What is answered there, too."""
        seen = {}
        for group in self.groups:
            if isinstance(group, Nfs4Rows):
                group.prepare(place)
            for name, ask in group.rows():
                label = f"{group.label} {name}"
                if only and label not in only:
                    continue
                self.offset += 10
                seen[label] = ask(place, self.offset)
                if setting:
                    self.answers.setdefault(label, {})[setting] = seen[label]
            if setting and isinstance(group, Nfs4Rows):
                group.judge(setting, place, seen)
        return seen

    def show(self):
        """Prints the table."""
        print(f"# {'':32}" + "".join(f"{setting:14}" for setting in SETTINGS))
        for label, answers in self.answers.items():
            cells = "".join(f"{answers.get(setting, '-'):14}" for setting in SETTINGS)
            print(f"# {label:32}{cells}".rstrip(), flush=True)

    def judge(self):
        """One result for each row."""
        for label, answers in self.answers.items():
            a, b, c, d, e = (answers.get(setting) for setting in SETTINGS)
            wanted = DIFFERENT.get(label, a)
            check(f"{label}: {wanted} in the scope, else {b}",
                  (c, d, e) == (wanted, b, b), f"a {a}, b {b}, c {c}, d {d}, e {e}")


# For other kinds of scopes: rows that need nothing reclaimed in the place.
SOME = ("NLM1 LOCK", "NLM3 TEST", "NLM4 LOCK", "NLM4 LOCK reclaim", "NLM4 UNLOCK",
        "NLM4 LOCK_MSG", "NLM4 SHARE", "4.0 OPEN, create", "4.1 OPEN, no create", "4.2 READ zeros",
        "4.2 READ ones", "4.1 REMOVE", "4.0 RENAME")


def other_scopes(server, table, scopes, outside):
    """A few rows for each kind of scope: (name, scope, place, is the place in the scope?)."""
    for name, scope, place, matches in scopes:
        # A longer handle than 32 bytes is not for the older versions.
        rows = [row for row in SOME
                if len(place.fh["nlm"]) <= 32 or not row.startswith(("NLM1", "NLM3"))]
        try:
            server.grace_of(scope, 600)
        except OSError as e:
            check(f"scope {name}", False, f"{scope}: {e}")
            continue
        within, without = table.collect(None, place, rows), table.collect(None, outside, rows)
        server.grace_of(scope, 0)
        after = table.collect(None, place, rows)
        for label in rows:
            a, b = (table.answers[label][setting] for setting in ("ab" if matches else "bb"))
            check(f"scope {name}, {label}: {a} in it, else {b}",
                  (within[label], without[label], after[label]) == (a, b, b),
                  f"saw {within[label]}, {without[label]}, {after[label]}")


def address_scopes(server, host, responder, place):
    """A scope of a server's address: requests to it, and to another one, for the same file."""
    v4, v6 = host.server_ip, host.server_ip6
    fh, what = place.fh["nlm"], {"svid": 7, "offset": 500}
    for scope, other in ((v4, host.other_ip), (v6, host.other_ip6), (v4, v6), (v6, v4)):
        seen = []
        for address in (scope, other):
            lockd = Nlm(4, address, f"at-{address}", responder, **host.where)
            client = Nfs4(1, address, f"at-{address}", **host.where)
            seen.append([client.establish(), client.reclaim_complete()])
            server.grace_of(f"ip:{scope}", 600)
            seen[-1] += [lockd.lock(fh, **what), lockd.test(fh, **what),
                         lockd.test(fh, msg=True, **what), client.read(place.fh["data"]),
                         client.open(place.directory, "data", False).status]
            server.grace_of(f"ip:{scope}", 0)
            seen[-1] += [lockd.lock(fh, **what), lockd.unlock(fh, **what),
                         client.read(place.fh["data"])]
            lockd.close()
        after = ["GRANTED", "GRANTED", "OK"]
        equal(f"scope ip:{scope}, requests to {scope}", seen[0],
              ["OK", "OK"] + ["DENIED_GRACE"] * 3 + ["GRACE"] * 2 + after)
        equal(f"scope ip:{scope}, requests to {other}", seen[1],
              ["OK", "OK"] + ["GRANTED"] * 3 + ["OK"] * 2 + after)


def while_reclaiming(server, lockd, place):
    """A scope's grace period goes on while a client is in the midst of reclaiming, and not much longer."""
    seconds = 12 * SLOW
    server.grace_of("1234", seconds)
    began = time.monotonic()
    time.sleep(seconds - 2)
    while time.monotonic() - began < seconds + 3:
        reclaimed = lockd.lock(place.fh["nlm"], offset=900, reclaim=True)
        time.sleep(0.3)
    new = lockd.lock(place.fh["nlm"], svid=8, offset=901)
    equal("after its time, who reclaims goes on, and who wants something new waits", (reclaimed, new),
          ("GRANTED", "DENIED_GRACE"))
    # A quarter of the grace period.
    time.sleep(seconds / 4 + 1)
    equal("when nobody reclaims any more, it is over", lockd.lock(place.fh["nlm"], svid=8, offset=901), "GRANTED")


def end_grace(server, lockd, place):
    """Ends the server's grace periods; nfsd does so in a worker, a little later."""
    server.end_grace()
    check("the server's grace periods end",
          wait_until(lambda: lockd.test(place.fh["nlm"], offset=50) == "GRANTED"))


def main():
    """All of it."""
    server, host = FullServer(), RawHost()
    server.set_up()
    responder = Responder(host.netns)
    uuid = "5f3cf6a1-6f0d-4d6b-93a5-2f1f6a7b8c9d"
    # XFS is what has layouts.
    xfs = "mkfs.xfs -q -f --unsupported"
    inside = Place(server, host, "in", "pnfs,fsid=1234", device="/dev/disk/in", make=xfs)
    outside = Place(server, host, "out", "pnfs,fsid=4321", device="/dev/disk/out", make=xfs)
    option = Place(server, host, "option", f"fsid={uuid}")
    disk = Place(server, host, "disk", device="/dev/disk/uuid", make="mkfs.ext4 -q")
    part = Place(server, host, "disk/part", device=None)
    plain = Place(server, host, "plain", device="/dev/disk/plain", make="mkfs.ext4 -q -U clear")
    nfs4 = [Nfs4Rows(minor, host.server_ip, host.where) for minor in (0, 1, 2)]
    table = Table([NlmRows(version, host.server_ip, responder, host.where)
                   for version in (1, 3, 4)] + nfs4)

    server.start()
    for place in (inside, outside, option, disk, part, plain):
        place.handles()
        print(f"# export {place.name}: {place.kind()}", flush=True)
    lockd = Nlm(4, host.server_ip, "probe", **host.where)
    end_grace(server, lockd, inside)
    # On record, and never back: no grace period ends before we say so.
    ghost = Nfs4(1, host.server_ip, "ghost", **host.where)
    equal("a client that will not come back", (ghost.establish(), ghost.reclaim_complete()),
          ("OK", "OK"))
    for group in nfs4:
        group.record(inside)

    server.restart()
    for client in [lockd] + [group.client for group in table.groups if group not in nfs4]:
        client.close()
        client.port = None  # lockd has another one
    for group in nfs4:
        group.reclaim((inside, outside))
    table.collect("a", inside)
    check("the server's grace period was still going on", server.in_grace())
    end_grace(server, lockd, inside)
    table.collect("b", inside)
    if not os.path.exists(server.scope_file):
        table.show()
        check("fsid_grace is there", False, "fsid_grace is missing")
        done()
    server.grace_of("1234", 600)
    table.collect("c", inside)
    table.collect("d", outside)
    server.grace_of("1234", 0)
    table.collect("e", inside)
    table.show()
    table.judge()
    of_disk = sh("blkid -s UUID -o value /dev/disk/uuid").strip()
    other_scopes(server, table, [
        ("UUID of the export", uuid, option, True),
        ("UUID of the file system", of_disk, disk, True),
        ("UUID, of a directory", of_disk, part, True),
        ("device", plain.device(), plain, True),
        ("device of what has a UUID", disk.device(), disk, True),
        ("device of another", plain.device(), disk, False)], outside)
    address_scopes(server, host, responder, inside)
    while_reclaiming(server, lockd, inside)
    done()


main()
