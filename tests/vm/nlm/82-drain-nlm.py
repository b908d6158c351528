#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: once=yes timeout=300 module=load
"""A server address drains by which real NFSv3 clients wait for locks: no lock is granted whose client does not learn of
it, and nobody's cancel or unlock is lost.

Each client comes by an address of its own. lockd's own calls to a client, GRANTED_MSG, go on; what the client answers,
and what it cancels and unlocks, comes when the address is served again.
"""

import time

from control import command, read
from ktap import check, done, equal
from nfs import wait_until
from v3 import Client, Locker, sleep_until, start

FILES = 8

(export,), ready = start([("ha", 1234)])
export.make_files(2 * FILES)
drains, stays = Client("drains", [export]), Client("stays", [export])
holder = Locker(stays)
sleep_until(ready)


def path(number):
    """A file, as clients see it."""
    return f"/mnt/ha/f{number}"


def every(locker, kind, files):
    """A client locks or unlocks files: the set of the answers."""
    return locker.many([(path(n), kind, 0, 1) for n in files])


def wait_for(files):
    """Processes that wait, each for the lock on a file."""
    waiters = {n: Locker(drains) for n in files}
    for n, waiter in waiters.items():
        waiter.ask(path(n), "w", 0, 1, True)
    return waiters


def held(waiters):
    """On how many files locks are waited for (in /proc/locks: ->)."""
    return sum("->" in line for line in export.locks()) == len(waiters)


def drain():
    """The address of the one client drains."""
    equal("it drains", command("drain", f"{drains.server} 20")[0], "ok")
    check("and is drained", wait_until(lambda: " drained " in read("drain"), 30), read("drain"))
    print(f"# {read('drain').strip()}")


# Locks are granted while the address drains.
files = range(FILES)
equal("the other client has locks", every(holder, "w", files), {"ok"})
waiters = wait_for(files)
check("they are waited for", wait_until(lambda: held(waiters), 20), export.locks())
drain()
equal("the other client unlocks, by its address", every(holder, "u", files), {"ok"})
began = time.monotonic()
equal("each lock is granted, and its client knows", {waiter.answer() for waiter in waiters.values()}, {"ok"})
print(f"# within {time.monotonic() - began:.2f} s")
equal("nobody else gets one", every(holder, "w", files), {"EAGAIN"})
equal("the server has them", len(export.locks()), FILES)
for n, waiter in waiters.items():
    waiter.ask(path(n), "u", 0, 1, False)
time.sleep(1)
equal("what is unlocked now is not yet", len(export.locks()), FILES)
command("drain", f"-{drains.server}")
equal("it is when the address is served again", {waiter.answer() for waiter in waiters.values()}, {"ok"})
equal("no lock is left", export.locks(), [])
for waiter in waiters.values():
    waiter.stop()

# Who waits is killed while the address drains: half of them before the lock is free, half after.
files = range(FILES, 2 * FILES)
equal("the other client has locks again", every(holder, "w", files), {"ok"})
waiters = wait_for(files)
check("they are waited for again", wait_until(lambda: held(waiters), 20), export.locks())
drain()
for n, waiter in waiters.items():
    if n % 2:
        waiter.process.kill()
time.sleep(0.5)
equal("the other client unlocks again", every(holder, "u", files), {"ok"})
for n, waiter in waiters.items():
    if not n % 2:
        waiter.process.kill()
time.sleep(2)
print(f"# while it drains: {export.locks()}")
command("drain", f"-{drains.server}")
began = time.monotonic()
check("no lock is left when the address is served again", wait_until(lambda: not export.locks(), 120, 0.2), export.locks())
print(f"# within {time.monotonic() - began:.2f} s")
equal("others get them", every(holder, "w", files), {"ok"})
for waiter in waiters.values():
    waiter.process.wait()
holder.stop()
done()
