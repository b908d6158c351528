#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: timeout=300 module=ship once=yes smp=1
"""Every allocation fails once: of the commands, of reading, of a client's first lock, of loading.

Only a debug kernel can do that (make test-debug), and sees what is forgotten or used after that.
"""

import collections
import ctypes
import errno
import functools
import itertools
import os
import threading

import faults
from cld import Daemon
from control import clients, read
from fullserver import FullServer, RawHost
from ktap import check, done, equal
from nfs import LIVEPATCH, MODULE, Client, sh, unload, wait_until
from nfs4 import Nfs4
from nlm import LOCK, Nlm, Responder

if not faults.available():
    print("1..0 # SKIP this kernel has no fault injection")
    raise SystemExit(0)

PATH = "/proc/fs/nfsd"
LIBC, INIT_MODULE = ctypes.CDLL(None, use_errno=True), 175
with open(MODULE, "rb") as module:
    IMAGE = module.read()


def attempt(name, data=None):
    """Opens a file, writes, reads: what came of the writing and of the reading, or an error's name."""
    try:
        fd = os.open(f"{PATH}/{name}", os.O_RDONLY if data is None else os.O_RDWR)
    except OSError as e:
        return errno.errorcode[e.errno], ""
    try:
        try:
            written = "ok" if data is None else os.write(fd, data.encode()) and "ok"
        except OSError as e:
            written = errno.errorcode[e.errno]
        try:
            return written, os.read(fd, 1 << 16).decode()
        except OSError as e:
            return written, errno.errorcode[e.errno]
    finally:
        os.close(fd)


def insmod():
    """Loads the module, in this thread; 'ok' or the error's name."""
    if LIBC.syscall(INIT_MODULE, IMAGE, len(IMAGE), b"") == 0:
        return "ok"
    return errno.errorcode[ctypes.get_errno()]


def report(what, results):
    """Says how often each result came."""
    print(f"# {what}: {dict(collections.Counter(map(str, results)))}", flush=True)


server = FullServer(grace=10)
server.set_up()

# Loading. Livepatch itself allocates for each function, which would take long for all.
faults.limit(faults.MODULES)
seen = []
for number, error in faults.each(insmod, numbers=itertools.chain(range(1, 60), range(60, 3000, 29))):
    loaded = os.path.exists(LIVEPATCH)
    seen.append((loaded, error))
    if loaded:
        unload()
report("insmod", seen)
check("allocations of loading have failed", seen)
equal("it was loaded, or there was no memory", set(seen) - {(True, "ok"), (False, "ENOMEM")}, set())
if not os.path.exists(LIVEPATCH):
    sh(f"insmod {MODULE}")
faults.limit(faults.text())
print("# the module's functions are at %#x to %#x" % faults.text())

server.start()
host = RawHost()
Responder(host.netns)
second = Client("second", "raw")
server.end_grace()


# Commands: each as if nothing had happened, or done.
fresh = itertools.count(100)
seen, strange = [], []


def new_scope():
    """Begins another scope's grace period."""
    scope = next(fresh)
    return scope, attempt("fsid_grace", f"{scope} 3000")


for number, (scope, (written, shown)) in faults.each(new_scope):
    seen.append(written)
    there = f"\n{scope} left" in "\n" + read("fsid_grace")
    if (written, there) not in (("ok", True), ("ENOMEM", False)):
        strange.append((number, scope, written, shown, there))
report("fsid_grace", seen)
check("allocations of fsid_grace have failed", "ENOMEM" in seen)
equal("a scope is in grace if the command succeeded, else not", strange, [])

a = host.create(server.export("a", "fsid=1234"))
b = host.create(server.export("b", "fsid=5678"))
one, two = Nlm(4, host.server_ip, "one", **host.where), Nlm(4, second.server_ip, "two", netns=second.netns)
equal("locks, a blocked lock and a share", [one.lock(a), one.lock(a, offset=10), two.lock(a, block=True),
                                            one.share(a, "s"), one.lock(b)],
      ["GRANTED", "GRANTED", "BLOCKED", "GRANTED", "GRANTED"])

for name in ("client_tracking", "fsid_grace", "nlm_clients"):
    good = read(name)
    results = [result for _, result in faults.each(lambda: attempt(name))]
    # Seconds go by.
    results = ["text" if len(text) >= len(good) - 300 and text != "ENOMEM" else (opened, text)
               for opened, text in results]
    report(name, results)
    equal(f"{name} is shown, or there is no memory",
          set(results) - {"text", ("ok", "ENOMEM"), ("ENOMEM", "")}, set())

before, seen, strange = clients(), [], []
for number, (written, shown) in faults.each(lambda: attempt("nlm_unlock", "1234")):
    seen.append(written)
    now = clients()
    if written == "ok":
        # What failed was not needed.
        one.lock(a), one.lock(a, offset=10), two.lock(a, block=True), one.share(a, "s")
        now = clients()
    elif written != "ENOMEM":
        strange.append((number, written, shown))
    if now != before:
        strange.append((number, written, shown, now))
report("nlm_unlock", seen)
check("allocations of nlm_unlock have failed", "ENOMEM" in seen)
equal("all is as it was, or all is released", strange, [])
equal("with memory it is released", [c[4:7] for c in clients() if c[0] == "1234"], [(0, 0, 0)] * 2)
equal("the other export is as it was", [c[4:7] for c in clients() if c[0] == "5678"], [(1, 0, 0)])

# What grows with what clients hold needs no pages in a row: the array of these takes some ten.
MANY = 1200
equal("many blocked locks", (one.lock(a, length=1 << 40), two.lock_many([a], MANY, procedure=LOCK, block=True)),
      ("GRANTED", {"BLOCKED": MANY}))
with faults.fragmented():
    fragmented = attempt("nlm_unlock", "1234")
print(f"# {fragmented}")
equal("they are released also if memory is fragmented",
      (fragmented[0], f" blocks {MANY} " in fragmented[1].replace("\n", " ")), ("ok", True))

# lockd's thread: a client that takes its first lock on an export.
(lockd,) = sh("pgrep -x lockd").split()
callers = itertools.count()


def first_lock():
    """A client's first lock on a new export, which goes at once."""
    name = f"new{next(callers)}"
    file = host.create(server.export(name, f"fsid={next(fresh)}"))
    client = Nlm(4, host.server_ip, "new", **host.where)
    result = client.lock(file)
    if result == "GRANTED":
        client.unlock(file)
    client.close()
    return result


results = [result for _, result in faults.each(first_lock, [lockd])]
report("a client's first lock", results)
check("allocations of a first lock have failed", results)
equal("it is granted, or refused", set(results) - {"GRANTED", "NOLOCKS"}, set())
equal("the next one is granted", first_lock(), "GRANTED")

# Upcalls: the one thread of the server makes them.
def restart():
    """The server restarts; its thread."""
    server.stop()
    sh("rpc.nfsd 1")
    return sh("pgrep -x nfsd").split()


refusals = collections.Counter()


class Comer(Nfs4):
    """A client that asks again by another connection if there is no answer, as real ones do.

    sunrpc drops a request if it has no memory to find out whose it is.
    """

    def call(self, procedure, arguments=b"", timeout=1):
        try:
            return super().call(procedure, arguments, timeout)
        except TimeoutError:
            refusals["no answer"] += 1
            return super().call(procedure, arguments)


def asks(request):
    """Asks once more if there was no memory, also for the stock code that a replaced function goes on with."""
    status = request()
    if status != "OK":
        refusals[f"{request.__name__}: {status}"] += 1
        status = request()
    assert status == "OK", (request, status)


def come():
    """A client comes; whether it is on record a little later."""
    client = Comer(1, host.server_ip, f"client-{next(callers)}", **host.where)
    asks(client.establish)
    asks(client.reclaim_complete)
    comers.append(client)
    return wait_until(lambda: client.name in server.records()["current"], 20)


def go():
    """It goes; whether it is off record a little later."""
    client = comers.pop()
    client.destroy_session()
    asks(client.destroy_clientid)
    client.close()
    return wait_until(lambda: client.name not in server.records()["current"], 20)


def come_back():
    """A client reclaims after a restart, if need be the second time: what it is told."""
    (client,) = comers

    def again(request):
        status = request()
        return request() if status == "DELAY" else status

    reclaim = lambda: client.open_reclaim(client.file.fh).status
    told = again(client.establish), again(reclaim), again(client.reclaim_complete)
    if set(told) != {"OK"}:
        return told
    return told if wait_until(lambda: client.name in server.records()["current"], 20) else "no record"


def sweep(what, wanted, act, tasks):
    """Has an upcall made with each allocation failing."""
    results = [result for _, result in faults.each(act, tasks)]
    report(what, results)
    if refusals:
        print(f"# refused once: {dict(refusals)}")
        refusals.clear()
    check(f"allocations of {what} have failed", results)
    equal("what could not be told at once is told later", set(results), {wanted})


comers, nfsd = [], restart()
check("nothing is in grace", wait_until(lambda: not server.in_grace()))
sweep("Create", True, come, nfsd)
sweep("Remove", True, go, nfsd)
while comers:
    go()
come()
comers[0].file = comers[0].open(comers[0].path("/a"), "g")
equal("a file is open", comers[0].file.status, "OK")
sweep("Check", ("OK", "OK", "OK"), come_back, restart)
comers[0].close()

# A server that starts, and stops.
server.stop()
seen, strange = [], []
for number, said in faults.each_of("rpc.nfsd 2"):
    state = server.status()["state"]
    seen.append((said.rsplit(":", 1)[-1], state))
    if state not in ("active", "waiting", "failed", "off"):
        strange.append((number, said, state))
    sh("rpc.nfsd 0")
    if server.status()["state"] != "off":
        strange.append((number, said, server.status()))
report("rpc.nfsd", seen)
check("allocations of a server's start have failed", seen)
equal("afterwards it can be stopped", strange, [])

# What a daemon says: records, and answers. As nfsdcld, this one does not look what becomes of them.
server.stop_daemon()
may_answer, daemons = threading.Event(), []


def no_server():
    """The server stops, and the daemon goes."""
    sh("rpc.nfsd 0")
    while daemons:
        daemons.pop().close()


def wait_for_daemon(version):
    """A server starts, then a daemon comes, which does not answer yet; its thread."""
    no_server()
    may_answer.clear()
    sh("rpc.nfsd 1")
    daemons.append(Daemon(records=[b"record-%d" % n for n in range(3)], version=version,
                          answer=lambda upcall: 0 if may_answer.wait() else None))
    return [daemons[0].thread.native_id]


def get_records():
    """The daemon answers; whether the server knows all records a little later."""
    may_answer.set()
    return wait_until(lambda: server.status()["records_known"] == 3, 10)


# One client in a record, and all of them in one.
for version in (2, 3):
    results = [result for _, result in
               faults.each(get_records, functools.partial(wait_for_daemon, version))]
    no_server()
    report(f"downcalls of version {version}", results)
    check("allocations of downcalls have failed", results)
    equal("no record is lost", set(results), {True})
server.start_daemon()
server.start()
equal("with memory it is tracked", server.status()["state"], "active")
server.stop()
unload()
check("and the module can be unloaded", not os.path.exists("/sys/module/nfsd_ha"))
done()
