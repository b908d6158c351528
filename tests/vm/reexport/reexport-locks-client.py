#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The end clients of 85-reexport-locks: all versions, beside each other, the other re-export server and the original."""

import time

from conductor import Servers
from end_client import mount, prepare, process
from ktap import check, done, equal
from layers import EDGE_LEASE
from nfs import sh, wait_until
from nfs4 import Nfs4
from v3 import answered

VERSIONS = ("4.2", "4.1", "4.0", "3")
TO_END = 0
REFUSED = "EAGAIN"
# Who does what to which bytes, and what comes of it: the cases of fcntl(2) and of RFC 1813's NLM, one after the other.
TABLE = (
    ("a", "w", 0, 10, "ok"), ("b", "w", 9, 1, REFUSED), ("b", "r", 0, 1, REFUSED), ("b", "w", 10, 5, "ok"),
    ("a", "w", 14, 1, REFUSED), ("a", "w", 15, 5, "ok"),
    # A part of a lock goes; what is left of it stays, on both sides.
    ("a", "u", 3, 4, "ok"), ("b", "w", 3, 4, "ok"), ("b", "w", 2, 1, REFUSED), ("b", "w", 7, 1, REFUSED),
    # Read locks beside each other, then a change of kind.
    ("a", "r", 100, 10, "ok"), ("b", "r", 105, 10, "ok"), ("a", "w", 100, 10, REFUSED), ("a", "w", 100, 5, "ok"),
    ("b", "r", 104, 1, REFUSED), ("a", "r", 100, 5, "ok"), ("b", "r", 100, 5, "ok"), ("b", "u", 100, 15, "ok"),
    # To the end of the file, wherever that is; and far away.
    ("a", "w", 200, TO_END, "ok"), ("b", "w", 1 << 40, 1, REFUSED), ("b", "r", 199, 2, REFUSED),
    ("a", "u", 300, TO_END, "ok"), ("b", "w", 1 << 40, 1, "ok"), ("a", "r", (1 << 62) - 1, 1, "ok"),
    ("b", "w", (1 << 62) - 1, 1, REFUSED),
    # All of it goes.
    ("a", "u", 0, TO_END, "ok"), ("b", "w", 7, 3, "ok"), ("b", "w", 0, 3, "ok"), ("b", "u", 0, TO_END, "ok"),
    ("a", "w", 0, TO_END, "ok"), ("b", "r", 0, 1, REFUSED), ("a", "u", 0, TO_END, "ok"),
)


def locks():
    """How many locks the original server has."""
    return len(servers.ask("o", "locked"))


class Remote:
    """A process of one of the servers."""

    def __init__(self, server, name):
        self.server, self.name = server, name

    def lock(self, path, kind, first, length):
        """As v3.Locker.lock()."""
        return servers.ask(self.server, "locker", self.name, path, kind, str(first), str(length), "now")


def play(name, a, b):
    """Plays the table with two processes, each with the path that it has the file by."""
    wrong = []
    for number, (who, kind, first, length, wanted) in enumerate(TABLE):
        process_, path = a if who == "a" else b
        seen = process_.lock(path, kind, first, length)
        if seen != wanted:
            wrong.append((number, who, kind, first, length, seen))
    left = locks()
    check(f"{name}: {len(TABLE)} steps, and nothing is left", not wrong and left == 0, (wrong, left))


def stock_then_loaded():
    """What the stock code says, and the same mounts once the module is there."""
    by_nfs4, by_nfs3, holder = mount("r", "4.2"), mount("r", "3"), process()
    seen = (holder.lock(f"{by_nfs4}/one/stock", "w", 0, 1), holder.lock(f"{by_nfs3}/one/stock", "w", 0, 1))
    print(f"# on stock kernels: a lock is {seen[0]} with NFSv4.2, {seen[1]} with NFSv3", flush=True)
    check("with the stock code nobody locks", "ok" not in seen, seen)
    servers.ask("r", "load", "reexport=1")
    assert wait_until(lambda: holder.lock(f"{by_nfs4}/one/stock", "w", 0, 1) == "ok", 10)
    equal("with the module, what is mounted can be locked", holder.lock(f"{by_nfs3}/one/stock", "w", 1, 1), "ok")
    equal("the original server has both locks", locks(), 2)
    holder.stop()


def conflicts():
    """Each version, beside a process of the same mount, of another edge, of the original server, and on its machine."""
    beside, direct = mount("s", "4.2"), mount("o", "4.2")
    for version in VERSIONS:
        at = mount("r", version) if version in ("4.1", "4.0") else f"/mnt/r-{version}"
        first, second, third, fourth = (process() for _ in range(4))
        file = f"one/table-{version}"
        own = (first, f"{at}/{file}")
        play(f"{version}, one mount", own, (second, f"{at}/{file}"))
        play(f"{version} beside the other edge", own, (third, f"{beside}/{file}"))
        play(f"{version} beside a client of the original server", own, (fourth, f"{direct}/{file}"))
        play(f"{version} beside a process of that", (Remote("o", f"p{version}"), f"/srv/disk/root/{file}"), own)
        for one in (first, second, third, fourth):
            one.stop()


# Who does what as three have one file open: a user who only reads, one who writes, and a client of the original server, which
# the stock nfsd gives it delegated for writing beside the read locks.
USERS = (
    ("reader", "r", 100, 1, "ok"), ("writer", "r", 0, 10, "ok"), ("other", "w", 0, 10, REFUSED), ("writer", "t", 0, 10, "ok"),
    ("reader", "t", 0, 10, REFUSED), ("writer", "u", 0, 10, "ok"), ("other", "w", 0, 10, "ok"), ("other", "u", 0, 10, "ok"),
    # One unlock of what it has for reading and for writing.
    ("writer", "r", 0, 10, "ok"), ("writer", "w", 20, 10, "ok"), ("other", "r", 25, 1, REFUSED), ("other", "r", 5, 1, "ok"),
    ("other", "u", 5, 1, "ok"), ("writer", "u", 0, 30, "ok"), ("other", "w", 0, 30, "ok"), ("other", "u", 0, 30, "ok"),
    ("writer", "w", 100, 1, REFUSED), ("reader", "u", 100, 1, "ok"), ("other", "w", 100, 1, "ok"), ("other", "u", 100, 1, "ok"),
)
# Not so by NFSv3, where its read lock may be in the way of its write lock. What it has stays as it is refused more.
CHANGES = (
    ("writer", "r", 0, 10, "ok"), ("other", "r", 3, 1, "ok"), ("writer", "w", 0, 20, REFUSED), ("other", "u", 3, 1, "ok"),
    ("other", "w", 0, 5, REFUSED), ("writer", "w", 0, 20, "ok"), ("writer", "t", 0, 30, "ok"), ("reader", "t", 0, 10, REFUSED),
    ("other", "r", 0, 1, REFUSED), ("writer", "r", 5, 5, "ok"), ("reader", "r", 5, 5, "ok"), ("other", "r", 4, 1, REFUSED),
    ("other", "w", 5, 1, REFUSED), ("other", "r", 5, 1, "ok"), ("other", "u", 5, 1, "ok"), ("writer", "u", 0, 10, "ok"),
    ("other", "w", 0, 5, "ok"), ("other", "w", 5, 1, REFUSED), ("other", "u", 0, 0, "ok"),
)


def users():
    """Users of one end client have a file open, for reading and for writing: nfsd and lockd lock it by whichever fits."""
    for version in VERSIONS:
        name = f"one/users-{version}"
        servers.ask("o", "sh", f"install -m 666 /dev/null /srv/disk/root/{name}")
        paths = {who: f"/mnt/{'o-4.2' if who == 'other' else f'r-{version}'}/{name}" for who in ("reader", "writer", "other")}
        processes = {"reader": process(1001, "read-only"), "writer": process(1002), "other": process()}
        wrong = []
        steps = USERS + (CHANGES if version != "3" else ())
        for number, (who, kind, first, length, wanted) in enumerate(steps):
            seen = processes[who].lock(paths[who], kind, first, length)
            if seen != wanted:
                wrong.append((number, who, kind, first, length, seen))
        # With what each still has.
        for who in ("writer", "reader", "other"):
            processes[who].stop()
        check(f"{version}, two users: {len(steps)} steps, and nothing is left",
              wait_until(lambda: locks() == 0, 5) and not wrong, (wrong, servers.ask("o", "locked")))


def waiting():
    """Who waits for a lock gets it when it is free, whoever had it."""
    pairs = []
    for version in VERSIONS:
        for other in ("/mnt/s-4.2", "/mnt/o-4.2"):
            name = f"one/wait-{version}-{other[5]}"
            holder, waiter = process(), process()
            pairs.append((holder, f"{other}/{name}", waiter, f"/mnt/r-{version}/{name}", version))
    for holder, theirs, waiter, ours, _ in pairs:
        assert holder.lock(theirs, "w", 0, 1) == "ok", theirs
        waiter.ask(ours, "w", 0, 1, True)
    time.sleep(1)
    check("who waits, waits", not any(answered(waiter) for _, _, waiter, _, _ in pairs))
    began = time.monotonic()
    for holder, *_ in pairs:
        holder.stop()
    late = [ours for _, _, waiter, ours, _ in pairs if not wait_until(lambda w=waiter: answered(w), 60)]
    check("and gets it: clients ask every 30 s at most", not late and time.monotonic() - began < 100, late)
    equal("the original server knows all of them", locks(), len(pairs))
    for _, _, waiter, _, _ in pairs:
        waiter.stop()


def shares():
    """Share reservations of NFSv4, among the clients of one edge."""
    one, two = (Nfs4(1, "r", f"shares-{n}") for n in range(2))
    for client in (one, two):
        client.establish()
        client.reclaim_complete()
    directory = one.path("one")
    denies = one.open(directory, "shares", access=1, deny=2)
    seen = [two.open(directory, "shares", create=False, access=access).status for access in (1, 2)]
    equal("one that denies writing is heeded", (denies.status, *seen), ("OK", "OK", "SHARE_DENIED"))
    for client in (one, two):
        client.destroy_session()


def delegated():
    """A process of the edge has what it opens delegated; what an end client locks of that is known all the same."""
    path = "/srv/root/one/delegated"
    servers.ask("r", "locker", "local", path, "r", "50", "1", "now")
    states = servers.ask("o", "sh", "cat /proc/fs/nfsd/clients/*/states")
    print(f"# the edge's local process: {states.count('type: deleg')} delegations", flush=True)
    end = process()
    equal("an end client locks it", end.lock("/mnt/r-4.2/one/delegated", "w", 0, 1), "ok")
    other = process()
    equal("and the original server's client is refused", other.lock("/mnt/o-4.2/one/delegated", "w", 0, 1), REFUSED)
    equal("as it is a lock there", locks(), 2)
    end.stop()
    other.stop()
    servers.ask("r", "locker", "local", path, "u", "0", "0", "now")


def dead():
    """An end client that is gone loses its locks with its lease."""
    client = Nfs4(1, "r", "dead-client")
    client.establish()
    client.reclaim_complete()
    opened = client.open(client.path("one"), "dead")
    lock = client.lock(opened, 0, 5)
    check("it locks", not isinstance(lock, str), lock)
    equal("the original server has the lock", locks(), 1)
    began = time.monotonic()
    gone = wait_until(lambda: locks() == 0, 3 * EDGE_LEASE, 0.5)
    print(f"# its lock went after {time.monotonic() - began:.1f} s, with a lease of {EDGE_LEASE} s", flush=True)
    check("then it is gone, and so is its lock", gone)


def checked():
    """What `nfsd-ha check` of the edge finds, as each fault is made."""
    servers.ask("r", "end_lockers")
    equal("nfsd-ha check has nothing to say of the edge", servers.ask("r", "check"), [])
    servers.ask("r", "locker", "beside", "/srv/root/two/beside", "w", "0", "1", "now")
    equal("of a local process that has a file open, it has", servers.ask("r", "check"), ["reexport-local"])
    servers.ask("r", "end_lockers")
    servers.ask("r", "sh", "mkdir -p /srv/root/old; mount -t nfs -o vers=3 o:/srv/root/one /srv/root/old; "
                           "exportfs -o rw,no_subtree_check,fsid=19 '*:/srv/root/old'")
    equal("and of a mount of NFSv3", servers.ask("r", "check"), ["reexport-version"])
    servers.ask("r", "sh", "exportfs -u '*:/srv/root/old'; umount /srv/root/old")
    equal("then it has nothing to say again", servers.ask("r", "check"), [])


def switched():
    """Switched off, unloaded and loaded with the mounts in use."""
    at, holder = "/mnt/r-4.2", process()
    equal("a lock", holder.lock(f"{at}/one/switched", "w", 0, 1), "ok")
    check("the module is switched off and unloaded", servers.ask("r", "unload"))
    check("then nobody locks", holder.lock(f"{at}/one/switched2", "w", 0, 1) != "ok")
    sh(f"echo written > {at}/one/switched3; cat {at}/one/switched3")
    servers.ask("r", "load", "reexport=1")
    assert wait_until(lambda: holder.lock(f"{at}/one/switched2", "w", 0, 1) == "ok", 10)
    equal("and with it, all do", holder.lock(f"{at}/one/switched", "w", 5, 1), "ok")
    holder.stop()
    check("nothing is left", wait_until(lambda: locks() == 0, 10), servers.ask("o", "sh", "cat /proc/locks"))


servers = Servers(["o", "r", "s"])
prepare()
assert wait_until(lambda: not servers.ask("r", "in_grace") and not servers.ask("s", "in_grace"), 60, 0.5)
stock_then_loaded()
conflicts()
users()
waiting()
shares()
delegated()
dead()
checked()
switched()
equal("no kernel complains", [servers.ask(name, "sh", "dmesg | grep -c 'nfs.*error'") for name in ("r", "s")], ["0\n", "0\n"])
servers.end()
done()
