#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: timeout=900 module=ship once=yes disk=layouts:64M
"""A client of NFSv4.1 reboots while it has locks, and others wait for them: it keeps them until it has reclaimed them.

Raw clients, first with the stock code, then with the module. `--arg many=N`: only so many locks of one client;
`--arg midst=N`: an admin does so often what is in the way of reclaims.
"""

import itertools
import os
import statistics
import subprocess
import sys
import threading
import time

from control import command, read
from fullserver import FullServer, RawHost
from ktap import check, done, equal
import nfs
from nfs import load, patience, sh, succeeds, switch_off, wait_until
from nfs4 import Nfs4
from nlm import Nlm, Responder

ARGUMENTS = dict(word.split("=") for word in sys.argv[1:])
MANY, MIDST = int(ARGUMENTS.get("many", 200)), int(ARGUMENTS.get("midst", 1))
# Who reclaims has two of them.
LEASE = 90 if "many" in ARGUMENTS else 10
PARAMETER = "/sys/module/nfsd_ha/parameters/former_selves"
CONTROL = "/proc/fs/nfsd"
# A length that means: up to the end, whatever that is.
EOF = (1 << 64) - 1
server = FullServer(grace=10, lease=LEASE)
server.set_up()
server.start()
host = RawHost()
server.end_grace()
Responder(host.netns)
number = itertools.count(1)


class Client(Nfs4):
    """A client that can reboot."""

    def __init__(self, name, minor=1, finished=True):
        # nfsd itself reads eight bytes of each name.
        super().__init__(minor, host.server_ip, f"reboots-{name}", **host.where)
        assert self.establish() == "OK"
        if finished:
            assert self.reclaim_complete() == "OK"

    def reboot(self, finished=False):
        """Comes back with another verifier, and knows nothing of its former self."""
        assert super().reboot() == "OK"
        if finished:
            assert self.reclaim_complete() == "OK"

    def has_locked(self, fh, *ranges, **how):
        """Opens a file and locks ranges of it; the lock owner."""
        opened = self.open_fh(fh)
        assert opened.status == "OK", opened.status
        first, *more = ranges or [(0, 10)]
        lock = self.lock(opened, *first, **how)
        assert lock.status == "OK", lock.status
        assert [self.lock_more(lock, *one, **how) for one in more] == ["OK"] * len(more)
        return lock


class Waiter:
    """A process of the server that waits for a lock on a whole file."""

    def __init__(self, path):
        self.flag = f"/run/waiter-{next(number)}"
        # pylint: disable-next=consider-using-with
        self.process = subprocess.Popen(["python3", "/test/lib/lock.py", "hold", path, self.flag])
        assert wait_until(lambda: succeeds(f"grep -q -- '-> POSIX .* {self.process.pid} ' /proc/locks"), 20)

    def has_it(self, seconds=0):
        """Has it the lock, so many seconds later at most?"""
        return wait_until(lambda: os.path.exists(self.flag), seconds)

    def end(self):
        """It needs it no more."""
        self.process.kill()
        self.process.wait()


def new_file(name=None):
    """A new file: its handle and its path."""
    name = name or f"f{next(number)}"
    return host.create(PATH, name), f"{PATH}/{name}"


def locks_on(path):
    """The locks on a file, as /proc/locks has them: the kind, the first and the last byte."""
    inode = f":{os.stat(path).st_ino} "
    with open("/proc/locks", encoding="ascii") as f:
        lines = [line for line in f if inode in line and "->" not in line]
    return sorted(tuple(line.split()[at] for at in (3, 6, 7)) for line in lines)


def selves():
    """How many former selves there are."""
    return server.status()["former_selves"]


def results(*values):
    """The status of each, as text."""
    return [getattr(value, "status", value) for value in values]


PATH = server.export("a", "fsid=1234")
other = Client("other")


def test_stock():
    """What happens without the module: who waits gets the lock."""
    fh, path = new_file()
    locker = Client("locker")
    locker.has_locked(fh)
    waiter = Waiter(path)
    locker.reboot()
    check("the stock kernel gives the lock to who waits", waiter.has_it(5))
    opened = locker.open_reclaim(fh)
    equal("and nothing can be reclaimed", opened.status, "NO_GRACE")
    waiter.end()


def test_reclaim():
    """The lock stays, and is reclaimed."""
    fh, path = new_file()
    alien, _ = new_file()
    locker = Client("locker")
    locker.has_locked(fh, (0, 10), (20, 10))
    locker.has_locked(fh, (40, 10), exclusive=False)
    before = locks_on(path)
    waiter = Waiter(path)
    nlm = Nlm(4, host.server_ip, "waiter", **host.where)
    equal("a client of NLM waits, too", nlm.lock(fh, offset=5, block=True), "BLOCKED")
    locker.reboot()
    equal("there is a former self", selves(), 1)
    equal("its locks are there", locks_on(path), before)
    opened = other.open_fh(fh)
    equal("others are refused what it has, and served at once with what it has not",
          results(opened, other.lock(opened, 5, 1), other.lock(opened, 45, 1), other.lock(opened, 45, 1, exclusive=False),
                  other.lock(opened, 100, 1)), ["OK", "DENIED", "DENIED", "OK", "OK"])
    rows = [line.split() for line in read("nfs4_clients").splitlines()[1:] if " reboots-locker " in line]
    equal("nfs4_clients has what it holds", [row[:5] for row in rows], [["1234", "reboots-locker", "2", "3", "0"]])
    equal("an OPEN that reclaims nothing is told to wait", locker.open_fh(fh).status, "GRACE")
    equal("so is not who reclaims a file that it did not have", locker.open_reclaim(alien).status, "RECLAIM_BAD")
    opened = locker.open_reclaim(fh)
    equal("it reclaims its file", opened.status, "OK")
    equal("nobody else can", other.open_reclaim(fh).status, "NO_GRACE")
    equal("more than it had is refused, and another kind, and what it did not have",
          results(locker.lock(opened, 0, 11, reclaim=True), locker.lock(opened, 0, 10, exclusive=False, reclaim=True),
                  locker.lock(opened, 10, 5, reclaim=True), locker.lock(opened, 40, 10, reclaim=True)),
          ["RECLAIM_BAD"] * 4)
    equal("that has changed nothing", sorted(set(locks_on(path)) & set(before)), before)
    lock = locker.lock(opened, 0, 10, reclaim=True)
    equal("it reclaims its locks",
          results(lock, locker.lock_more(lock, 20, 10, reclaim=True), locker.lock(opened, 40, 10, False, True)),
          ["OK"] * 3)
    equal("who begins anew reclaims once more what it has",
          [locker.lock_more(lock, *one, reclaim=True) for one in ((0, 10), (20, 10), (22, 3))], ["OK"] * 3)
    equal("but no more than that, and not of another kind",
          [locker.lock_more(lock, 0, 11, reclaim=True), locker.lock_more(lock, 0, 10, exclusive=False, reclaim=True)],
          ["RECLAIM_BAD"] * 2)
    equal("another owner reclaims none of them", results(locker.lock(opened, 0, 10, reclaim=True),
                                        locker.lock(opened, 20, 10, reclaim=True)), ["RECLAIM_BAD"] * 2)
    equal("they are the same ones", sorted(set(locks_on(path)) & set(before)), before)
    check("who waits has waited", not waiter.has_it())
    equal("it has finished", locker.reclaim_complete(), "OK")
    equal("there is no former self any more", selves(), 0)
    equal("its locks are there", sorted(set(locks_on(path)) & set(before)), before)
    equal("now it cannot reclaim", results(locker.open_reclaim(fh), locker.lock(opened, 0, 10, reclaim=True)),
          ["NO_GRACE"] * 2)
    equal("it unlocks", [locker.unlock(lock, 20, 10), locker.unlock(lock, 0, 10)], ["OK"] * 2)
    equal("and others have it", results(other.lock(other.open_fh(fh), 20, 10)), ["OK"])
    nlm.close()
    waiter.end()


def test_parts():
    """A lock is reclaimed in parts, and not all of it."""
    fh, _ = new_file()
    locker = Client("parts")
    locker.has_locked(fh, (0, 100))
    locker.reboot()
    opened = locker.open_reclaim(fh)
    lock = locker.lock(opened, 20, 20, reclaim=True)
    equal("a part in the middle", lock.status, "OK")
    mine = other.open_fh(fh)
    equal("the rest is not free", results(*(other.lock(mine, at, 1) for at in (0, 25, 50, 99))), ["DENIED"] * 4)
    equal("nor can another owner reclaim it", locker.lock(opened, 0, 10, reclaim=True).status, "RECLAIM_BAD")
    equal("the same owner reclaims more of it",
          [locker.lock_more(lock, 60, 10, reclaim=True), locker.lock_more(lock, 65, 10, reclaim=True),
           locker.lock_more(lock, 90, 10, reclaim=True), locker.lock_more(lock, 45, 5)], ["OK", "RECLAIM_BAD", "OK", "OK"])
    equal("and once more what it has", locker.lock_more(lock, 20, 20, reclaim=True), "OK")
    equal("and finishes", locker.reclaim_complete(), "OK")
    equal("what was not reclaimed is free",
          results(*(other.lock(mine, at, 1) for at in (0, 19, 40, 50, 59, 70, 89))), ["OK"] * 7)
    equal("what was reclaimed, or locked anew, is not",
          results(*(other.lock(mine, at, 1) for at in (20, 39, 45, 49, 60, 69, 90, 99))), ["DENIED"] * 8)


def test_owners():
    """Two lock owners, up to the end of the file; who lists clients sees them."""
    fh, path = new_file()
    locker = Client("owners")
    for at in (1000, 2000):
        locker.has_locked(fh, (at, 1000 if at == 1000 else EOF))
    before = locks_on(path)
    equal("two owners have locks beside each other", before, [("WRITE", "1000", "1999"), ("WRITE", "2000", "EOF")])
    locker.reboot()
    listed = sh(f"/test/nfsd-ha export-clients 1234")
    check("export-clients lists it", "reboots-owners" in listed, listed)
    opened = locker.open_reclaim(fh)
    equal("what two had is not one lock", locker.lock(opened, 1500, 1000, reclaim=True).status, "RECLAIM_BAD")
    # The one up to the end first, and by another owner than the first of them.
    locks = [locker.lock(opened, 2000, EOF, reclaim=True), locker.lock(opened, 1000, 1000, reclaim=True)]
    equal("each is reclaimed", (results(*locks), locks_on(path)), (["OK"] * 2, before))
    equal("others are refused", results(*(other.lock(other.open_fh(fh), at, 1) for at in (1000, 1999, 2000, 1 << 62))),
          ["DENIED"] * 4)
    equal("they go one by one", (locker.unlock(locks[0], 2000, EOF), locks_on(path)), ("OK", before[:1]))
    locker.reclaim_complete()


def test_end():
    """A former self ends without its new self."""
    fh, path = new_file()
    locker = Client("end")
    locker.has_locked(fh)
    waiter = Waiter(path)
    began = time.monotonic()
    locker.reboot()
    time.sleep(LEASE / 2)
    check("half a lease later the lock is there", not waiter.has_it())
    locker.renew()
    check("a lease later it is not", waiter.has_it(2 * LEASE))
    check("not before", time.monotonic() - began > LEASE - 1, time.monotonic() - began)
    waiter.end()
    equal("nothing can be reclaimed", results(locker.open_reclaim(fh)), ["NO_GRACE"])
    equal("and no former self is left", selves(), 0)

    locker = Client("end-2")
    files = [new_file()[0] for _ in range(8)]
    for fh in files:
        locker.has_locked(fh)
    locker.reboot()
    began = time.monotonic()
    told = []
    for fh in files:
        told.append(locker.open_reclaim(fh).status)
        time.sleep(LEASE / 3)
    check("who reclaims has longer, but two leases at most", 5 <= told.count("OK") <= 7 and told[-1] == "NO_GRACE", told)
    equal("and is left with what it has", selves(), 0)

    locker = Client("destroyed")
    locker.has_locked(files[0])
    locker.reboot()
    equal("a new self that leaves", [locker.destroy_session(), locker.destroy_clientid()], ["OK"] * 2)
    equal("takes it along", selves(), 0)


def test_again():
    """It reboots again and again."""
    fh, path = new_file()
    second, _ = new_file()
    locker = Client("again")
    locker.has_locked(fh)
    locker.has_locked(second)
    before = locks_on(path)
    waiter = Waiter(path)
    locker.reboot()
    equal("it reclaims one of two", results(locker.lock(locker.open_reclaim(fh), 0, 10, reclaim=True)), ["OK"])
    for _ in range(3):
        locker.reboot()
    equal("there are two former selves that had something", selves(), 2)
    equal("it reclaims both", results(locker.lock(locker.open_reclaim(fh), 0, 10, reclaim=True),
                                      locker.lock(locker.open_reclaim(second), 0, 10, reclaim=True)), ["OK"] * 2)
    locker.reclaim_complete()
    equal("that is all", (selves(), locks_on(path), waiter.has_it()), (0, before, False))
    waiter.end()
    for _ in range(20):
        locker.reboot()
        locker.open_reclaim(fh)
    check("who never finishes has a few", 2 < selves() <= 8, selves())
    locker.reclaim_complete()
    equal("and none in the end", selves(), 0)


def test_ordinary():
    """An ordinary client finishes at once; one of NFSv4.0 has no former self; nor has who had nothing open."""
    fh, path = new_file()
    locker = Client("ordinary")
    locker.has_locked(fh)
    began = time.monotonic()
    locker.reboot(finished=True)
    took = time.monotonic() - began
    equal("its old locks are gone when it has finished", (locks_on(path), selves()), ([], 0))
    check(f"soon ({1000 * took:.0f} ms)", took < patience(1))
    old = Client("old", minor=0)
    lock = old.lock(old.open(old.path("a"), os.path.basename(path)), 0, 10)
    equal("a client of NFSv4.0 locks it", lock.status, "OK")
    old.reboot()
    equal("and loses it as it reboots", (locks_on(path), selves()), ([], 0))
    idle = Client("idle")
    idle.reboot()
    equal("nobody keeps nothing", selves(), 0)


def test_somebody_else():
    """Somebody else comes with the client's name."""
    fh, path = new_file()
    locker = Client("name")
    locker.has_locked(fh)
    locker.reboot()
    equal("the new self leaves its session", locker.destroy_session(), "OK")
    thief = Nfs4(1, host.server_ip, "name", **host.where)
    thief.uid = 1000
    equal("the name is free for others then, and so says nfsd", thief.establish(), "OK")
    equal("who cannot reclaim", results(thief.open_reclaim(fh)), ["NO_GRACE"])
    equal("nor end it", (thief.reclaim_complete(), selves(), locks_on(path)), ("OK", 1, [("WRITE", "0", "9")]))
    thief.destroy_session()
    thief.destroy_clientid()
    equal("it can, when it has come back", (locker.establish(), selves()), ("OK", 1))
    equal("it reclaims", results(locker.lock(locker.open_reclaim(fh), 0, 10, reclaim=True)), ["OK"])
    equal("and finishes", (locker.reclaim_complete(), selves()), ("OK", 0))


def test_courtesy():
    """A client's lease has ended, when it reboots."""
    fh, path = new_file()
    locker = Client("late")
    locker.has_locked(fh)
    time.sleep(2 * LEASE)
    locker.reboot()
    equal("it has its former self", selves(), 1)
    other.reboot(finished=True)
    opened = other.open_fh(fh)
    began = time.monotonic()
    equal("which keeps its lock", other.lock(opened).status, "DENIED")
    check("others are told so at once", time.monotonic() - began < patience(2))
    equal("it reclaims it", results(locker.lock(locker.open_reclaim(fh), 0, 10, reclaim=True)), ["OK"])
    equal("and has it", (locker.reclaim_complete(), locks_on(path)), ("OK", [("WRITE", "0", "9")]))


def in_turns(objects, act):
    """Does something with each of the objects of each, four times as many of the second as of the first: the results, and the
    seconds that it took for the quickest quarter at most."""
    results_of, times = ([], []), ([], [])
    for at in range(MANY):
        for which in (0, 1) if at % 4 == 0 else (1,):
            began = time.monotonic()
            results_of[which].append(act(which, objects[which][at // 4 if which == 0 else at]))
            times[which].append(time.monotonic() - began)
    return results_of, [statistics.quantiles(one)[0] for one in times]


def test_many():
    """Many locks, of as many files: each takes as long as it does with few, at the same time."""
    counts = MANY // 4, MANY
    lockers = [Client(f"many-{count}") for count in counts]
    files = [[new_file()[0] for _ in range(count)] for count in counts]
    for locker, its in zip(lockers, files):
        for fh in its:
            locker.has_locked(fh)
    for locker in lockers:
        locker.reboot()
    opens, to_open = in_turns(files, lambda which, fh: lockers[which].open_reclaim(fh))
    locks, to_lock = in_turns(opens, lambda which, one: lockers[which].lock(one, 0, 10, reclaim=True))
    equal(f"all of {counts[0]} and of {counts[1]} are reclaimed", {one.status for one in sum((*opens, *locks), [])}, {"OK"})
    for which, count in enumerate(counts):
        began = time.monotonic()
        lockers[which].reclaim_complete()
        print(f"# {count} locks: {1000 * to_open[which]:.2f} ms for an OPEN, {1000 * to_lock[which]:.2f} for a LOCK; the end "
              f"took {1000 * (time.monotonic() - began):.1f} ms", flush=True)
        for one in opens[which]:
            lockers[which].close_file(one)
    for what, (few, many) in (("an OPEN", to_open), ("a LOCK", to_lock)):
        check(f"{what} takes as long with many", many < 2 * few, (few, many))


def test_admin():
    """What an admin does meanwhile."""
    fh, path = new_file()
    locker = Client("admin")

    def again():
        locker.reboot(finished=True)
        locker.has_locked(fh)
        locker.reboot()
        assert selves() == 1

    again()
    (name,) = [name for name in os.listdir(f"{CONTROL}/clients")
               if succeeds(f"grep -q 'path: .*{os.path.basename(path)}\\|filename.*{os.path.basename(path)}' "
                           f"{CONTROL}/clients/{name}/states")]
    began = time.monotonic()
    equal("expired by hand", succeeds(f"echo expire >{CONTROL}/clients/{name}/ctl"), True)
    check(f"at once ({time.monotonic() - began:.1f} s)", time.monotonic() - began < patience(2))
    equal("it is gone", (selves(), locks_on(path)), (0, []))

    again()
    sh(f"echo {PATH} >{CONTROL}/unlock_filesystem")
    equal("unlock_filesystem takes what it has", locks_on(path), [])
    equal("and it cannot be reclaimed", results(locker.open_reclaim(fh)), ["NO_GRACE"])

    again()
    command("drain", f"{host.other_ip} 1")
    command("drain", f"-{host.other_ip}")
    equal("draining another address leaves it", selves(), 1)
    locker.close()
    other.close()
    assert wait_until(lambda: "connected" not in str(released()), 20)
    equal("nlm_unlock releases what it has", locks_on(path), [])
    check("and nothing is left of it", wait_until(lambda: selves() == 0, 5))
    server.unexport("a")
    check("and the file system can be unmounted", succeeds(f"umount {PATH}"))
    server.export("a", "fsid=1234")


def released():
    """What nlm_unlock says."""
    try:
        return command("nlm_unlock", "1234")
    except OSError as e:
        return f"{e}: connected" if e.errno == 16 else f"{e}"


def test_delegation():
    """A file was delegated, to a Linux client: somebody with its name and its credentials comes anew."""
    sh("sysctl -q fs.leases-enable=1")
    real = nfs.Client("real", "4.2")
    real.mount()
    fh, path = new_file()
    # pylint: disable-next=consider-using-with
    reader = subprocess.Popen(["sh", "-c", f"exec sleep 1000 <{real.mount_point}/a/{os.path.basename(path)}"])
    check("a file is delegated", wait_until(lambda: locks_on(path) == [("READ", "0", "EOF")], 20), locks_on(path))
    sh("sysctl -q fs.leases-enable=0")
    names = sh(f"cat {CONTROL}/clients/*/info").split('"')
    (name,) = [name for name in names if name.endswith(real.name)]
    real.link("down")
    new = Nfs4(2, host.server_ip, name, **host.where)
    equal("its client comes anew, and has a former self", (new.establish(), selves()), ("OK", 1))
    equal("nothing is delegated any more", locks_on(path), [])
    began = time.monotonic()
    equal("others may write it", results(other.open_fh(fh)), ["OK"])
    check("at once", time.monotonic() - began < patience(1))
    equal("the client may reclaim it by an OPEN", results(new.open_reclaim(fh), new.reclaim_complete()), ["OK"] * 2)
    equal("and has no former self then", selves(), 0)
    reader.kill()
    reader.wait()
    real.link("up")
    sh(f"umount -l {real.mount_point}")


def test_layout():
    """A layout ends with the client that has it."""
    place = server.export("layouts", "pnfs,fsid=77", device="/dev/disk/layouts", make="mkfs.xfs -q -f --unsupported")
    fh = host.create(place, "f")
    with open(f"{place}/f", "wb") as f:
        f.write(bytes(4096))
        os.fsync(f.fileno())
    sh("sysctl -q fs.leases-enable=1")
    locker = Client("layouts")
    equal("a client gets a layout", locker.layout_get(locker.open_fh(fh), returns=False), "OK")

    def layouts():
        lines = sh(f"cat {CONTROL}/clients/*/states").splitlines()
        return [line for line in lines if "type: layout" in line and "revoked" not in line]

    sh("sysctl -q fs.leases-enable=0")
    equal("which is there", len(layouts()), 1)
    locker.reboot()
    equal("and not when it has rebooted", (layouts(), selves()), ([], 1))
    opened = locker.open_reclaim(fh)
    equal("the file is reclaimed", results(opened, locker.reclaim_complete(), locker.close_file(opened)), ["OK"] * 3)
    server.unexport("layouts")
    sh(f"umount {place}")


def test_midst():
    """A client reboots again and again, and an admin does this and that."""
    files = [new_file()[0] for _ in range(10)]
    over, counts = threading.Event(), {"reboots": 0, "failed": 0}

    def reboot():
        """Locks the files, reboots, and reclaims them; what it is told."""
        locker = Client("midst")
        for fh in files:
            locker.lock(locker.open_fh(fh), 0, 10)
        locker = Client("midst", finished=False)
        told = [locker.lock(locker.open_reclaim(fh), 0, 10, reclaim=True).status for fh in files]
        return [*told, locker.reclaim_complete()]

    def go_on():
        while not over.is_set():
            try:
                reboot()
                counts["reboots"] += 1
            # It was told something else, or nothing.
            except Exception:  # pylint: disable=broad-exception-caught
                counts["failed"] += 1

    thread = threading.Thread(target=go_on)
    thread.start()
    for turn in range(MIDST):
        for act in (lambda: sh(f"echo {PATH} >{CONTROL}/unlock_filesystem"),
                    lambda: command("fsid_grace", "1234 5"),
                    released,
                    lambda: command("fsid_grace", "1234 0"),
                    lambda: command("drain", f"{host.server_ip} 1"),
                    lambda: command("drain", f"-{host.server_ip}"),
                    server.stop,
                    server.start,
                    server.end_grace,
                    switch_off,
                    server.stop,
                    lambda: wait_until(lambda: succeeds("rmmod nfsd_ha"), 30),
                    load,
                    server.start,
                    server.end_grace):
            time.sleep(0.1 * (1 + turn % 4))
            act()
    # A slow host's client may not have had one turn without an act in its midst.
    before = counts["reboots"]
    went_on = wait_until(lambda: counts["reboots"] > before, 60)
    over.set()
    thread.join(60)
    check("it goes on, whatever an admin does", went_on and not thread.is_alive(), counts)
    assert wait_until(lambda: not server.in_grace() and selves() == 0, 60)
    equal("and reclaims all, when nobody does anything", set(reboot()), {"OK"})
    equal("nothing is left of it", selves(), 0)
    other.reboot(finished=True)


def test_parameter():
    """Whose locks stay."""
    def write(text):
        try:
            with open(PARAMETER, "w", encoding="ascii") as f:
                f.write(text)
            return "OK"
        except OSError as e:
            return e.errno

    def is_kept():
        locker = Client(f"parameter-{next(number)}")
        locker.has_locked(new_file()[0])
        locker.reboot()
        kept = selves()
        locker.reclaim_complete()
        return kept == 1

    client = sh(f"ip -n {host.netns} -4 -o addr show").split("inet ")[-1].split("/")[0]
    equal("malformed", [write(text) for text in ("\n", "some", "all,off", "192.0.2.1,", "1," * 600)], [22] * 5)
    with open(PARAMETER, encoding="ascii") as f:
        equal("it is as it was", f.read(), "all\n")
    seen = []
    for text in ("all", "off\n", "192.0.2.99", f"fd99::1, {client}"):
        seen.append((write(text), is_kept()))
    equal("all, nobody, and by address", seen, [("OK", True), ("OK", False), ("OK", False), ("OK", True)])
    write("all")


def test_stop():
    """The server stops, and the module is switched off."""
    fh, path = new_file()
    locker = Client("stop")
    locker.has_locked(fh)
    locker.reboot()
    equal("a former self", selves(), 1)
    # So after a crash, too.
    check("its client is on record at the daemon", "reboots-stop" in server.records()["current"], server.records())
    server.stop()
    equal("goes with the server", locks_on(path), [])
    server.start()
    server.end_grace(nfsd=False)
    equal("its record has stayed", results(locker.establish(), locker.open_reclaim(fh)), ["OK"] * 2)
    equal("and it finishes", locker.reclaim_complete(), "OK")
    wait_until(lambda: not server.in_grace(), 60)
    locker.reboot(finished=True)
    locker.has_locked(fh)
    locker.reboot()
    equal("a former self again", selves(), 1)
    switch_off()
    equal("goes as the module is switched off", locks_on(path), [])
    equal("the client goes on", locker.reclaim_complete(), "OK")
    server.stop()
    check("and the module can be unloaded", wait_until(lambda: succeeds("rmmod nfsd_ha"), 30))


test_stock()
load()
with open(PARAMETER, encoding="ascii") as f:
    equal("all keep their locks, if nobody says otherwise", f.read().strip(), "all")
server.stop()
server.start()
server.end_grace()
TESTS = (test_reclaim, test_parts, test_owners, test_end, test_again, test_ordinary, test_somebody_else, test_courtesy, test_many,
         test_admin, test_delegation, test_layout, test_midst, test_parameter, test_stop)
for test in (test_many,) if "many" in ARGUMENTS else TESTS:
    print(f"# {test.__name__}", flush=True)
    other.reboot(finished=True)
    test()
done()
