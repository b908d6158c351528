#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: timeout=300 module=load once=yes smp=1
"""Every allocation fails once of what moves NFSv4 clients: the commands, reading, a client that comes, its reclaim.

Only a debug kernel can do that (make test-debug), and sees what is forgotten or used after that.
"""

import collections
import errno
import itertools

import faults
from control import command, read
from fullserver import FullServer, RawHost
from ktap import check, done, equal
from nfs import sh, wait_until
from nfs4 import Nfs4

if not faults.available():
    print("1..0 # SKIP this kernel has no fault injection")
    raise SystemExit(0)

server = FullServer(grace=10)
server.set_up()
faults.limit(faults.text())
server.start()
server.end_grace()
server.stop()
sh("rpc.nfsd 1")
(nfsd,) = sh("pgrep -x nfsd").split()
host = RawHost()
HOME, FLOATING = host.server_ip, host.other_ip
wait_until(lambda: not server.in_grace())
numbers = itertools.count(1)


def attempt(name, data=None):
    """Writes a command, or only reads: 'ok' or the error's name."""
    try:
        return command(name, data)[0] if data else read(name) and "ok"
    except OSError as e:
        return errno.errorcode[e.errno]


def sweep(what, act, wanted, after=lambda result: True, tasks=("thread-self",)):
    """Has something done with each allocation failing, of these tasks; afterwards all is to be as its result says."""
    seen, strange = [], []
    for number, result in faults.each(act, tasks):
        seen.append(result)
        if not after(result):
            strange.append((number, result))
    print(f"# {what}: {dict(collections.Counter(seen))}", flush=True)
    check(f"allocations of {what} have failed", seen)
    equal(f"{what} is done, or there is no memory", set(seen) - set(wanted), set())
    equal(f"{what}: all is as it says", strange, [])


a = host.create(server.export("a", "fsid=1234"))

sweep("floating_addresses", lambda: attempt("floating_addresses", f"192.0.2.{next(numbers)}"), ("ok", "ENOMEM"))
equal("an address is floating", command("floating_addresses", FLOATING)[0], "ok")
command("fsid_grace", "1234 3000")


def list_one():
    """Lists another client; 'ok' or the error's name, which it must be there for or not."""
    name = f"client-{next(numbers)}"
    listed.append((name, attempt("reclaim_clients", f"1234 {name}")))
    return listed[-1][1]


def is_listed(result):
    """Is the last one there, if its command succeeded?"""
    name, said = listed[-1]
    return said == result and (f"1234 {name} #" in read("reclaim_clients")) == (result == "ok")


listed = []
sweep("reclaim_clients", list_one, ("ok", "ENOMEM"), is_listed)


def close_one():
    """Ends a scope's grace period by saying that nobody is expected."""
    return attempt("fsid_grace", f"{scopes[-1]} listed")


def begin_another(result):
    """Has the last one ended, if the command succeeded? Begins the next."""
    ended = f"\n{scopes[-1]} left" not in "\n" + read("fsid_grace")
    scopes.append(5000 + next(numbers))
    command("fsid_grace", f"{scopes[-1]} 3000")
    return ended == (result == "ok")


scopes = [5000]
command("fsid_grace", "5000 3000")
sweep("fsid_grace listed", close_one, ("ok", "ENOMEM"), begin_another)



def drain():
    """Another address drains; 'ok' or the error's name."""
    drained.append(f"192.0.2.{next(numbers)}")
    return attempt("drain", f"{drained[-1]} 600")


def is_draining(result):
    """Does it, if the command succeeded? It does not afterwards."""
    there = f"{drained[-1]} " in read("drain")
    return there == (result == "ok") and (not there or command("drain", f"-{drained[-1]}")[0] == "ok")


def is_ended(result):
    """Does the one drain no more, if the command succeeded? It does again afterwards."""
    there = f"{HOME} " in read("drain")
    return there != (result == "ok") and command("drain", f"{HOME} 600")[0] == "ok"


drained = []
sweep("drain", drain, ("ok", "ENOMEM"), is_draining)
# The last one, for which no allocation failed.
command("drain", f"-{drained[-1]}")
equal("an address drains", command("drain", f"{HOME} 600")[0], "ok")
sweep("drain, again", lambda: attempt("drain", f"{HOME} 500"), ("ok", "ENOMEM"))
sweep("what drains", lambda: attempt("drain"), ("ok", "ENOMEM"))
sweep("the end of a drain", lambda: attempt("drain", f"-{HOME}"), ("ok", "ENOMEM"), is_ended)
equal("it is ended", (command("drain", f"-{HOME}")[0], wait_until(lambda: read("drain") == "", 10)), ("ok", True))

# A client that comes to a floating address; also what nfsd allocates for it may fail.
comers = []


def come(minor):
    """A new client comes: what it is told."""
    comers.append(Nfs4(minor, FLOATING, f"comer-{next(numbers)}", **host.where))
    return comers[-1].establish()


def is_here(minor):
    """Is the last one there, by its name at that address, also if it was told to come again?"""
    client = comers.pop()
    name = f'"{client.name}@{FLOATING}"'
    there = client.establish() == "OK" and name in sh("grep -hs ^name /proc/fs/nfsd/clients/*/info", check=False)
    if minor:
        client.destroy_session()
    client.close()
    return there


for minor in (0, 1):
    sweep(f"a client of NFSv4.{minor}", lambda m=minor: come(m), ("OK", "DELAY"),
          lambda _, m=minor: is_here(m), (nfsd,))


def come_back():
    """A client comes that is listed; nfsd's thread."""
    client = Nfs4(1, FLOATING, f"back-{next(numbers)}", **host.where)
    command("reclaim_clients", f"1234 {client.name}")
    assert client.establish() == "OK"
    comers.append(client)
    return [nfsd]


def reclaim():
    """It reclaims an open: what it is told."""
    return comers[-1].open_reclaim(a).status


def has_reclaimed(result):
    """Does it reclaim afterwards, and finish?"""
    client = comers.pop()
    again = result == "OK" or client.open_reclaim(a).status == "OK"
    finished = client.reclaim_complete() == "OK"
    client.close()
    return again and finished


sweep("a reclaim", reclaim, ("OK", "DELAY", "RECLAIM_BAD", "SERVERFAULT"), has_reclaimed, come_back)
command("fsid_grace", "1234 0")
for comer in comers:
    comer.close()


def hold():
    """A client that holds something, and is gone."""
    client = Nfs4(1, FLOATING, f"holder-{next(numbers)}", **host.where)
    assert (client.establish(), client.reclaim_complete()) == ("OK", "OK")
    assert client.lock(client.open_fh(a), next(numbers)).status == "OK"
    client.close()
    return wait_until(lambda: all(line.split()[7] == "-" for line in read("nfs4_clients").splitlines()[1:]))


def is_released(result):
    """Has all been released, or nothing?"""
    held = len(read("nfs4_clients").splitlines()) - 1
    return (held == 0 and hold()) if result == "ok" else held > 0


check("clients hold something", hold())
for name in ("nfs4_clients", "reclaim_clients", "floating_addresses"):
    command("fsid_grace", "77 3000")
    command("reclaim_clients", "77 one\n77 two")
    sweep(name, lambda n=name: attempt(n), ("ok", "ENOMEM"))
command("fsid_grace", "77 0")
sweep("nlm_unlock", lambda: attempt("nlm_unlock", "1234"), ("ok", "ENOMEM"), is_released)
equal("with memory it is released", command("nlm_unlock", "1234")[0], "ok")
equal("nobody holds anything", read("nfs4_clients").splitlines()[1:], [])
done()
