#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: timeout=240 module=ship
"""Clients of another server reclaim NFSv4 state in one export's grace period: those that are listed.

The server and its daemon have been running since before the module was loaded, and go on.
"""

import time

from control import command, read
from fullserver import serve
from ktap import check, done, equal
from nfs import load, sh, wait_until
from nfs4 import Nfs4

server, host = serve()


def client(name, minor=1, address=None, finished=False, verifier=None):
    """A client that has come to the server; with `finished` it has nothing to reclaim.

    Of a name the stock code hashes eight bytes, whether it has them or not: KASAN reports that.
    """
    this = Nfs4(minor, address or host.server_ip, name, **host.where)
    this.verifier = verifier or this.verifier
    assert this.establish() == "OK"
    if finished:
        assert this.reclaim_complete() == "OK"
    return this


def grace_of(scope="1234"):
    """Is a scope in grace?"""
    return f"{scope} left" in read("fsid_grace")


def progress():
    """How far each listed client is."""
    return {tuple(line.split()[:2]): line.split()[-1] for line in read("reclaim_clients").splitlines()}


a, b = (host.create(server.export(name, f"fsid={fsid}")) for name, fsid in (("a", 1234), ("b", 5678)))
mover = client("the-mover")
equal("without the module, nobody can reclaim", mover.open_reclaim(a).status, "NO_GRACE")
resident = client("resident", finished=True)
own = resident.open_fh(b)
equal("a client of this server has a lock on another export", resident.lock(own).status, "OK")

load()
equal("a scope that is not in grace takes no list", command("reclaim_clients", "1234 the-mover"), ("ETIME", ""))
equal("nor can its list be the last word", command("fsid_grace", "1234 listed")[0], "ETIME")
command("fsid_grace", "1234 60")
equal("who is not listed may not reclaim", mover.open_reclaim(a).status, "RECLAIM_BAD")
for text in ("1234", "1234 ", " 1234 the-mover", "1234 the-mover x", "1234  mover", "1234 a b c", "x mover", "1234 m\\",
             "1234 m\\400", "1234 \\x6", "1234 \\x", "1234 \\xgg", "1234 the-mover\n\n", "1234 the-mover\n1234",
             "1234 the-mover " + "0" * 63, "1234 " + "m" * 1025, "-1234 the-mover", "", "\n"):
    equal(f"{text[:24]!r} is malformed", command("reclaim_clients", text)[0], "EINVAL")
equal("one line of two for a scope not in grace: neither counts",
      (command("reclaim_clients", "1234 the-mover\n77 the-mover")[0], progress()), ("ETIME", {}))
equal("two are listed", command("reclaim_clients", "1234 the-mover\n1234 late\\040one\n"), ("ok", "listed 2\n"))
equal("and shown as they can be written", read("reclaim_clients"),
      "1234 the-mover # waiting\n1234 late\\040one # waiting\n")

opened = mover.open_reclaim(a)
equal("who is listed may reclaim an open", opened.status, "OK")
lock = mover.lock(opened, reclaim=True)
equal("and a lock", lock.status, "OK")
equal("not on another export", mover.open_reclaim(b).status, "NO_GRACE")
equal("the list says so", progress(), {("1234", "the-mover"): "reclaimed", ("1234", "late\\040one"): "waiting"})
equal("nobody else gets a new lock on that export", resident.open_fh(a).status, "GRACE")
equal("but on the other one, at once", resident.lock_more(resident.lock(own, 10), 20), "OK")
equal("who reclaims gets nothing new, as in every grace period", mover.lock(opened, 100).status, "GRACE")

command("fsid_grace", "1234 listed")
check("the grace period goes on while one is waited for", grace_of())
equal("who has finished", mover.reclaim_complete(), "OK")
equal("may not go on", mover.open_reclaim(a).status, "NO_GRACE")
check("another is waited for", grace_of())
check("it is on record here", wait_until(lambda: "the-mover" in server.records()["current"], 10))
late = client("late one")
equal("the other one reclaims", late.open_reclaim(a).status, "OK")
equal("and has finished", late.reclaim_complete(), "OK")
check("then nobody is waited for", not grace_of())
equal("nor listed", progress(), {})
taken = resident.open_fh(a)
equal("new opens are granted", taken.status, "OK")
equal("the lock is its owner's", resident.lock(taken).status, "DENIED")
equal("what is not locked is free", resident.lock(taken, 100).status, "OK")

command("fsid_grace", "1234 60")
check("the next grace period begins with nobody listed", not progress())
equal("who has reclaimed before may not", late.open_reclaim(a).status, "NO_GRACE")
command("fsid_grace", "1234 listed")
check("if nobody is expected, it ends at once", not grace_of())

# RECLAIM_COMPLETE of one file system.
command("fsid_grace", "1234 60")
command("reclaim_clients", "1234 only-one")
command("fsid_grace", "1234 listed")
one = client("only-one")
equal("one that has finished another file system", one.reclaim_complete(b), "OK")
check("is waited for", grace_of())
equal("one that has finished this one", one.reclaim_complete(a), "OK")
check("is not", not grace_of())

# It is kept (RFC 8881, 18.51.3), while the scope is in grace. nfsd itself reads eight bytes of each name.
command("fsid_grace", "1234 60")
command("reclaim_clients", "1234 one-file-system\n1234 another-one")
single = client("one-file-system")
equal("who has not finished may reclaim", single.open_reclaim(a).status, "OK")
equal("that it has finished another file system", single.reclaim_complete(b), "OK")
equal("is nothing here", single.open_reclaim(a).status, "OK")
equal("nor there, where it is not listed", single.reclaim_complete(b), "OK")
equal("it has finished this one", single.reclaim_complete(a), "OK")
equal("the list says so", progress()[("1234", "one-file-system")], "complete")
equal("and may not reclaim there", single.open_reclaim(a).status, "NO_GRACE")
equal("nor finish again", single.reclaim_complete(a), "COMPLETE_ALREADY")
equal("another may", client("another-one").open_reclaim(a).status, "OK")
equal("when it has finished everything", single.reclaim_complete(), "OK")
equal("it cannot do so again", single.reclaim_complete(), "COMPLETE_ALREADY")
command("fsid_grace", "1234 0")
single.close()

# NFSv4.0 has no RECLAIM_COMPLETE.
command("fsid_grace", "1234 4")
command("reclaim_clients", "1234 old")
command("fsid_grace", "1234 listed")
old = client("old", minor=0)
opened = old.open_reclaim(a)
equal("one of NFSv4.0 reclaims an open", opened.status, "OK")
equal("and a lock", old.lock(opened, 40, reclaim=True).status, "OK")
check("it may go on until the time is over", grace_of())
check("it is on record here", wait_until(lambda: "old" in server.records()["current"], 10))
check("the time is over", wait_until(lambda: not grace_of(), 10, patient=False))
command("fsid_grace", "1234 60")
equal("the next time, it is not enough that it is on record here", old.open_reclaim(a).status, "RECLAIM_BAD")
command("fsid_grace", "1234 0")

# Principals.
command("fsid_grace", "1234 60")
command("reclaim_clients", "1234 by-kerberos " + "ab" * 32)
equal("a principal is shown", read("reclaim_clients"), f"1234 by-kerberos {'ab' * 32} # waiting\n")
krb = client("by-kerberos")
equal("who has not the listed principal may not reclaim", krb.open_reclaim(a).status, "RECLAIM_BAD")
command("fsid_grace", "1234 listed")
equal("that it has finished", krb.reclaim_complete(), "OK")
check("says nothing of who is listed", grace_of())
krb.close()
command("fsid_grace", "1234 0")

# A floating address of another namespace is none here.
sh("ip netns add other; nsenter --net=/run/netns/other sh -c 'mount -t nfsd nfsd /mnt && "
   "echo 192.0.2.7 >/mnt/floating_addresses && cat /mnt/floating_addresses'")
equal("an address is floating in another namespace", read("floating_addresses"), "")
command("fsid_grace", "1234 60")
command("reclaim_clients", "1234 only-here")
command("fsid_grace", "1234 listed")
here = client("only-here")
equal("who has finished here", (here.open_reclaim(a).status, here.reclaim_complete()), ("OK", "OK"))
check("is waited for no more", not grace_of())
here.close()
sh("umount /mnt; ip netns del other")

# A whole page.
command("fsid_grace", "1234 60")
names = [f"client\\040{n:03}" for n in range(200)]
page = "".join(f"1234 {name}\n" for name in names)
equal("many lines", command("reclaim_clients", page), ("ok", "listed 200\n"))
equal("are all there", sorted(name for _, name in progress()), sorted(names))
equal("a hexadecimal name is the same", command("reclaim_clients", "1234 \\x" + b"client 007".hex())[0], "ok")
equal("as it was", len(progress()), 200)
command("fsid_grace", "1234 0")
equal("the end of the grace period ends the list", read("reclaim_clients"), "")

# A client of this server, and of the export that comes.
both = client("both-ends", finished=True)
held = both.lock(both.open_fh(b), 70)
equal("a client has a lock here", held.status, "OK")
again = client("both-ends", address=host.other_ip, verifier=both.verifier)
check("at another address it is the same", again.clientid == both.clientid)
for text in ("", "x", "192.0.2", "--192.0.2.1", "192.0.2.1 ", "192.0.2.1/24", "ip:192.0.2.1"):
    equal(f"{text!r} is no address", command("floating_addresses", text)[0], "EINVAL")
equal("an address is floating", command("floating_addresses", host.other_ip), ("ok", f"{host.other_ip}\n"))
command("fsid_grace", "1234 60")
command("reclaim_clients", "1234 both-ends")
again = client("both-ends", address=host.other_ip, verifier=both.verifier)
check("at a floating address it is another client", again.clientid != both.clientid)
back = again.open_reclaim(a)
equal("which reclaims", back.status, "OK")
equal("its lock, too", again.lock(back, 200, reclaim=True).status, "OK")
equal("meanwhile its lock here is there", resident.lock(own, 70).status, "DENIED")
equal("and it can lock more, and open", both.lock_more(held, 71), "OK")
equal("and has nothing to reclaim", both.open_reclaim(a).status, "NO_GRACE")
command("fsid_grace", "1234 listed")
equal("that the one here has finished", both.reclaim_complete(), "COMPLETE_ALREADY")
check("says nothing of the other one", grace_of())
equal("it has finished", again.reclaim_complete(), "OK")
check("and then nobody is waited for", not grace_of())
check("both are on record", wait_until(lambda: {"both-ends", f"both-ends@{host.other_ip}"} <=
                                       server.records()["current"], 10))
v0 = client("v0", 0, host.other_ip)
check("another of NFSv4.0 is so, too", f'"v0@{host.other_ip}"' in sh("grep -h ^name /proc/fs/nfsd/clients/*/info"))
equal("the address is floating no more", command("floating_addresses", f"-{host.other_ip}"), ("ok", ""))
command("fsid_grace", "1234 0")
for this in (mover, resident, late, one, old, both, again):
    this.close()

# The server's own grace period, and a scope's in it.
time.sleep(0.1)
server.stop()
server.start()
check("the server is in grace", server.in_grace())
command("fsid_grace", "1234 60")
command("reclaim_clients", "1234 a-guest-here")
guest = client("a-guest-here")
opened = guest.open_reclaim(a)
equal("who is listed for a scope reclaims there", (opened.status, guest.lock(opened, 300, reclaim=True).status),
      ("OK", "OK"))
equal("but nothing of this server's own", guest.open_reclaim(b).status, "RECLAIM_BAD")
mine = client("resident", verifier=resident.verifier)
opened = mine.open_reclaim(b)
equal("who was here reclaims its own", (opened.status, mine.lock(opened, reclaim=True).status), ("OK", "OK"))
equal("both have finished", (guest.reclaim_complete(), mine.reclaim_complete()), ("OK", "OK"))
server.end_grace()
check("the scope is in grace after the server's own time", wait_until(lambda: not server.in_grace(), 10) and grace_of())
equal("so that its files wait", mine.open_fh(a).status, "GRACE")
check("and others do not", wait_until(lambda: mine.open_fh(b).status == "OK", 5))

# The floating addresses change while the server is off: who is on record has another name when it comes back.
stayer = client("who-stays", finished=True)
held = stayer.lock(stayer.open_fh(b), 700)
for address, name in ((host.server_ip, "who-stays"), (f"-{host.server_ip}", f"who-stays@{host.server_ip}")):
    check(f"{name} is on record", wait_until(lambda n=name: n in server.records()["current"], 10))
    server.stop()
    equal(f"the server is off, and the address changes: {address}", command("floating_addresses", address)[0], "ok")
    server.start()
    stayer = client("who-stays", verifier=stayer.verifier)
    stranger = client("stranger", verifier=stayer.verifier)
    opened = stayer.open_reclaim(b)
    equal("it reclaims", opened.status == "OK" and stayer.lock(opened, 700, reclaim=True).status, "OK")
    equal("a stranger does not", stranger.open_reclaim(b).status, "RECLAIM_BAD")
    equal("it has finished", stayer.reclaim_complete(), "OK")
    server.end_grace()
    check("the grace period is over", wait_until(lambda: not server.in_grace(), 10))
done()
