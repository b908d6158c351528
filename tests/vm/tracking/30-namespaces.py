#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: once=yes timeout=180 module=load
"""Two net namespaces, each with its own server, pipe, daemon and clients."""

from ktap import check, done, equal
from nfs import Client, Server, sh, wait_until

sh("ip netns add other; nsenter --net=/run/netns/other ip link set lo up")
first = Server(lease=10)
second = Server("other", "/srv/other", "/var/lib/nfs/nfsdcld-other", lease=10)
for server in (first, second):
    server.set_up()
equal("each mount shows its own namespace", (first.status(), second.status()),
      ({"state": "off"}, {"state": "off"}))
first.start_daemon()
first.start()
equal("one server runs, one does not",
      (first.status()["state"], second.status()["state"]), ("active", "off"))
second.start_daemon()
second.start()
equal("both run", (first.status()["state"], second.status()["state"]), ("active", "active"))

a, b = Client("a", "4.2"), Client("b", "4.2", server_netns="other")
for client in (a, b):
    client.mount()
locks = [client.holder() for client in (a, b)]
equal("each has created one record", (first.status()["create"], second.status()["create"]), (1, 1))
equal("each daemon has its server's client",
      (first.records()["current"], second.records()["current"]), ({a.name}, {b.name}))

before = first.status()
second.restart()
equal("one restarts, with one client on record", second.status()["records_known"], 1)
equal("the other does not notice", first.status(), before)
equal("both clients go on", [lock.write() for lock in locks], ["ok", "ok"])
equal("both locks are there", (first.locks(a.file), second.locks(b.file)), (1, 1))
check("the grace period of the one ends", wait_until(lambda: not second.in_grace(), 30))

second.stop_daemon()
c = Client("c", "4.2")
c.mount()
locks.append(c.holder())
equal("with one daemon gone, the other server goes on",
      first.records()["current"], {a.name, c.name})
wait_until(lambda: second.status()["daemon"] == "absent")
equal("and only the one misses its daemon",
      (first.status()["daemon"], second.status()["daemon"]), ("present", "absent"))
second.start_daemon()
check("until it is back", wait_until(lambda: second.status()["daemon"] == "present"))
for lock in locks:
    lock.stop()
b.umount()
equal("the daemon that is back is asked to remove the record", second.records()["current"], set())
second.stop()
equal("one stops, one runs",
      (first.status()["state"], second.status()["state"]), ("active", "off"))
done()
