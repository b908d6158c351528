#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: timeout=120 module=load
"""Clients of NFSv4.0, which has no sessions: one that goes on from another address, and an export that turns back."""

import glob

from control import command, read, release
from fullserver import serve
from ktap import check, done, equal
from nfs import Client, Holder, sh, wait_until
from nfs4 import Nfs4

server, host = serve()
HOME = host.server_ip
FIRST, SECOND, STRANGE = (f"{HOME.rsplit('.', 1)[0]}.{last}" for last in (21, 22, 23))
host.enter(f"for a in {FIRST} {SECOND} {STRANGE}; do ip addr add $a/24 dev c-raw; done")
fh = host.create(server.export("a", "fsid=1234"))


def client(name, source):
    """A client with an open file and a lock."""
    this = Nfs4(0, HOME, name, source=source, **host.where)
    assert this.establish() == "OK"
    opened = this.open(this.path("/a"), "f", create=False)
    lock = this.lock(opened, 10 * ord(name[0]), 10)
    assert lock.status == "OK", (opened.status, lock.status)
    return this, opened, lock


def shown(name):
    """Which address of the server a client is connected to, as nfs4_clients shows it."""
    return [line.split()[7] for line in read("nfs4_clients").splitlines() if f" {name} " in line]


def go_on(this, source):
    """The client's connection ends; it goes on from an address, and renews its lease."""
    this.close()
    this.where["source"] = source
    return this.renew()


# From another address.
multi, opened, lock = client("multi", FIRST)
equal("a client has a lock", shown("multi"), [HOME])
equal("it goes on from another address", go_on(multi, SECOND), "OK")
equal("it is shown as connected", shown("multi"), [HOME])
result, answer = release("1234")
equal("it is in the way", (result, answer.get("busy")), ("EBUSY", f"NFSv4 client multi: connected to {HOME}"))
equal("and keeps its lock", multi.lock_more(lock, 900), "OK")
stranger = Nfs4(0, HOME, "stranger", source=STRANGE, **host.where)
stranger.clientid = multi.clientid
equal("somebody else renews its lease", stranger.renew(), "OK")
stranger.close()
equal("that does not hide where it is", release("1234")[0], "EBUSY")
equal("it goes back to its first address", (go_on(multi, FIRST), release("1234")[0]), ("OK", "EBUSY"))
multi.close()
check("when it is not connected any more, that is seen", wait_until(lambda: shown("multi") == ["-"], 5))

# An export that turns back: it was released, and comes again, before its clients have seen anything.
expired, _, _ = client("expired", SECOND)
equal("two clients are released, when they are not connected", (expired.close(), release("1234")[0]), (None, "ok"))
command("fsid_grace", "1234 60")
command("reclaim_clients", "1234 multi")
equal("one comes again: its clientid is stale, as after a restart", go_on(multi, SECOND), "STALE_CLIENTID")
equal("and so is its stateid", multi.lock_more(lock, 901), "STALE_STATEID")
equal("so it establishes itself anew", multi.establish(), "OK")
opened = multi.open_reclaim(fh)
lock = multi.lock(opened, 10 * ord("m"), 10, reclaim=True)
equal("and reclaims", (opened.status, lock.status), ("OK", "OK"))
equal("one that is not listed does not", (go_on(expired, SECOND), expired.establish(), expired.open_reclaim(fh).status),
      ("STALE_CLIENTID", "OK", "RECLAIM_BAD"))
command("fsid_grace", "1234 0")
late, _, _ = client("late", SECOND)
for ctl in glob.glob("/proc/fs/nfsd/clients/*/ctl"):
    with open(f"{ctl.rsplit('/', 1)[0]}/info", encoding="ascii", errors="replace") as f:
        if '"late"' in f.read():
            sh(f"echo expire >{ctl}")
equal("of one that nobody has released, the lease has expired, as in stock", late.renew(), "EXPIRED")
multi.close_file(opened)
multi.close()
expired.close()

# A real client.
real = Client("real", "4.0")
real.enter(f"mount -t nfs -o vers=4.0,hard {real.server_ip}:/a {real.mount_point}")
holder = Holder(f"{real.mount_point}/held")
equal("a mount has a lock", holder.write(), "ok")
ADDRESS = f"{real.server_ip}/24 dev {real.near}"
real.on_server(f"ip addr del {ADDRESS}; ss -K -t state connected src {real.server_ip}")
lines = [line.split() for line in read("nfs4_clients").splitlines()[1:]]
name = [line[1] for line in lines if line[0] == "1234"]
result, answer = release("1234")
equal("it is released", (result, answer.get("nfs4_locks")), ("ok", 1))
command("fsid_grace", "1234 60")
command("reclaim_clients", "".join(f"1234 {one}\n" for one in name))
real.on_server(f"ip addr add {ADDRESS}")
equal("the export is back, and the mount goes on", holder.write(), "ok")
command("fsid_grace", "1234 0")
equal("with its lock", [server.locks("a/held"), holder.write()], [1, "ok"])
holder.stop()
real.umount()
done()
