#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: once=yes timeout=200 module=load
"""Real NFSv3 clients of one export that use different addresses of the server, IPv4 and IPv6: nfsd-ha notify has each
reclaim its lock. sm-notify, which has one address for all, leaves the others without theirs, and says nothing.
"""

import json
import os
import subprocess
import time

from control import clients, command
from ktap import check, done, equal
from nfs import kernel_log, sh, wait_until
from v3 import Client, Locker, start, unlock

LISTS = "/var/lib/nfsd-ha"
CALLBACK = "0100007f 000186b5 00000003 00000010 " + "0" * 32

(export,), ready = start([("ha", 1234)])
export.make_files(3)
hosts = [Client("first", [export]), Client("second", [export]), Client("third", [export], ipv6=True)]
lockers = [Locker(host) for host in hosts]
time.sleep(max(0, ready - time.monotonic()))


def lock(number, file, wait=False):
    """A client asks for a lock on a file."""
    return lockers[number].lock(f"/mnt/ha/f{file}", "w", 0, 1, wait)


def move():
    """The server forgets all locks, as if the export had come from another one, with the list of its clients."""
    for name in ("sm", "sm.bak"):
        os.makedirs(f"{LISTS}/1234/{name}", mode=0o700, exist_ok=True)
    for fsid, server, client, *_ in clients():
        if fsid == "1234":
            with open(f"{LISTS}/1234/sm/{client}", "w", encoding="ascii") as f:
                f.write(f"{CALLBACK} {client} {server}\n")
    equal("the server lets go of all locks", (unlock(1234)[0], export.locks()), (0, []))
    equal("and begins a grace period", command("fsid_grace", "1234 120")[0], "ok")


def free(number):
    """Is a client's lock free for others? Only asked outside of grace."""
    return lock((number + 1) % 3, number) == "ok"


equal("each client takes a lock", [lock(n, n) for n in range(3)], ["ok"] * 3)
held = export.locks()
equal("the server has them", len(held), 3)
equal("by three addresses", {(client, server) for _, server, client, *_ in clients()},
      {(host.address, host.server) for host in hosts})

for turn in ("first", "second"):
    move()
    began = time.monotonic()
    result = subprocess.run(["/test/nfsd-ha", "--json", "notify", "1234"], check=False, text=True, capture_output=True)
    took = time.monotonic() - began
    equal(f"the {turn} notices: all are told", (result.returncode, result.stderr), (0, ""))
    told = json.loads(result.stdout)["told"]
    check("all reclaim", wait_until(lambda: len(export.locks()) == 3, 20), export.locks())
    print(f"# told after {', '.join('%.2f' % client['seconds'] for client in told)} s, all locks were there after "
          f"{time.monotonic() - began:.2f} s; the command took {took:.2f} s")
    equal("the grace period ends", command("fsid_grace", "1234 0")[0], "ok")
    equal("nobody else gets them", [free(n) for n in range(3)], [False] * 3)
equal("the list is empty", os.listdir(f"{LISTS}/1234/sm") + [n for n in os.listdir(f"{LISTS}/1234/sm.bak") if n[0] != "."], [])

# The stock way.
sh(f"echo {hosts[0].server} nfs-ha >>/etc/hosts; mkdir -p /etc/nfs.conf.d; "
   "printf '[sm-notify]\\nlift-grace = n\\n' >/etc/nfs.conf.d/ha.conf")
move()
sh(f"timeout 15 sm-notify -d -v nfs-ha -P {LISTS}/1234", check=False)
check("sm-notify: one client reclaims", wait_until(lambda: len(export.locks()) == 1, 20), export.locks())
time.sleep(6)
equal("no other does", len(export.locks()), 1)
equal("though the second one is off the list; that of IPv6 cannot be told from there",
      [n for n in os.listdir(f"{LISTS}/1234/sm.bak") if n[0] != "."], [hosts[2].address])
equal("the grace period ends", command("fsid_grace", "1234 0")[0], "ok")
equal("and others get their locks", [free(n) for n in range(3)], [False, True, True])
check("no word of it in the log", "failed to reclaim" not in kernel_log(), kernel_log()[-500:])
done()
