#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: once=yes timeout=400 module=load
"""nlm_unlock releases everything that an fsid has, or nothing.

A client holds locks on 100 files, others wait for some of them. One file cannot be released, by an
injected failure or as a process on the server has it open: all locks must be where they were.
"""

import collections
import errno
import os
import re

import v3
from inject import Inject
from ktap import check, done, equal
from nfs import SLOW, kernel_log, wait_until

FILES = 100
WAITERS = range(0, FILES, 20)
PROBED = range(0, FILES, 10)

(a, b), grace_end = v3.start([("a", 1234), ("b", 5678)])
check("nlm_unlock is there", v3.has("nlm_unlock"))
if not v3.has("nlm_unlock"):
    done()
for export in a, b:
    export.make_files(FILES)
c1, c2 = (v3.Client(name, [a, b]) for name in ("c1", "c2"))
v3.sleep_until(grace_end)


def on(kind, first, length, files=range(FILES), name="a"):
    """The same lock on many files."""
    return [(f"/mnt/{name}/f{n}", kind, first, length) for n in files]


def collect(*lists):
    """The locks of all lists, file by file."""
    return [lock for locks in zip(*lists) for lock in locks]


# Ranges that end where another owner's begin, some to the end of the file, read locks shared by two
# clients: what is put back must not be merged or split.
p, q, other, prober = v3.Locker(c1), v3.Locker(c1), v3.Locker(c2), v3.Locker(c2)
equal("an owner takes four locks on each file", p.many(collect(
    on("w", 0, 10), on("r", 20, 10), on("w", 30, 5), on("w", 100, 0))), {"ok"})
equal("another owner of the same client", q.many(collect(
    on("r", 20, 10), on("w", 40, 10))), {"ok"})
equal("another client, also by the other fsid", other.many(
    on("r", 15, 15) + on("w", 60, 1) + on("w", 0, 10, name="b")), {"ok"})
waiters = {n: v3.Locker(c2) for n in WAITERS}
for number, waiter in waiters.items():
    waiter.ask(f"/mnt/a/f{number}", "w", 0, 10, True)
wait_until(lambda: len([x for x in a.locks() if x.startswith("->")]) == len(waiters), 20)
before, before_b = a.locks(), b.locks()
equal("the server has all of them", (len(before), len(before_b)),
      (8 * FILES + len(waiters), FILES))


def report(tried, log):
    """What a release that failed has to say; the file that it names."""
    error, answer, took = tried
    print(f"# the write took {took:.3f} s, and says {answer}")
    equal("it fails with EBUSY", errno.errorcode.get(error), "EBUSY")
    path, _, reason = str(answer.get("busy", "")).rpartition(": ")
    check("the answer names a file and a reason",
          re.fullmatch(re.escape(a.path) + r"/f\d+", path) and reason, answer)
    new = kernel_log()[len(log):]
    equal("the log names it once", new.count(path) if path else 0, 1)
    return reason


def untouched(what):
    """Checks that server and clients have what they had before."""
    now = a.locks()
    lost, new = (list((collections.Counter(x) - collections.Counter(y)).elements())
                 for x, y in ((before, now), (now, before)))
    check(f"{what}: each lock is there, same owner, range and type", not lost and not new,
          f"lost {lost[:5]} ({len(lost)}), new {new[:5]} ({len(new)})")
    equal(f"{what}: the other fsid has its own", b.locks(), before_b)
    wanted = [on("w", 9, 1, PROBED), on("w", 25, 1, PROBED), on("r", 34, 1, PROBED),
              on("r", 49, 1, PROBED), on("r", 1000, 1, PROBED)]
    equal(f"{what}: another client does not get them", prober.many(collect(*wanted)), {"EAGAIN"})
    check(f"{what}: who waited still waits", not any(map(v3.answered, waiters.values())))


# There is a call for each lock at least, and 8 locks a file.
for skip in (0, 1, 150, 8 * FILES - 1):
    log = kernel_log()
    with Inject(unlocks=True) as inject:
        inject.arm(skip)
        tried = v3.unlock(a.fsid)
        equal(f"call {skip + 1} was made to fail", inject.hits(), 1)
    report(tried, log)
    untouched(f"after call {skip + 1} failed")

log = kernel_log()
fd = os.open(f"{a.path}/f7", os.O_RDONLY)
reason = report(v3.unlock(a.fsid), log)
check("a file that is open on the server: the reason says so", "open" in reason, reason)
untouched("with an open file")
os.close(fd)

# What was put back is as good as new: it can be dropped, and others get it then.
mine = range(0, FILES, 2)
equal("the holder drops some of its locks", p.many(on("u", 0, 10, mine)), {"ok"})
equal("those who waited get them", [w.answer() for w in waiters.values()], ["ok"] * len(waiters))
free = [n for n in mine if n not in waiters]
equal("others get them, too", prober.many(on("w", 0, 10, free)), {"ok"})
equal("and not those that were not dropped", prober.many(on("w", 0, 10, range(1, FILES, 2))),
      {"EAGAIN"})

with Inject(unlocks=True) as inject:
    inject.disarm()
    error, answer, took = v3.unlock(a.fsid)
    print(f"# {took:.3f} s, {inject.calls()} calls of vfs_lock_file(F_UNLCK), {answer}")
equal("without a failure it succeeds", error, 0)
equal("the fsid has no locks", a.locks(), [])
equal("the other fsid has all of them", b.locks(), before_b)
took, output = a.unexport_and_umount()
equal("its file system can be unmounted", output, "")
check("and at once", took < 2 * SLOW, took)
equal("the server still serves the other one", prober.many(on("w", 20, 1, name="b")), {"ok"})
done()
