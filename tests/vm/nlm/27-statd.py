#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: once=yes timeout=300 module=load
"""What becomes of a client's lock when rpc.statd is quick, slow, silent, says no, is elsewhere, or is not there.

A new lock is not granted before rpc.statd monitors the client. One that comes with its export, is on record and reclaims
does not wait for that, and is monitored as soon as rpc.statd can.
"""

import itertools
import os
import signal
import subprocess
import time

import harness
import quickstatd
from control import command
from fullserver import FullServer, RawHost
from ktap import check, done, equal
from nfs import SLOW, patience, sh, succeeds, wait_until
from nlm import Nlm

numbers = itertools.count(10)


class One(Nlm):
    """A client that nobody knows, with an address and a byte of its own."""

    def __init__(self):
        self.number = next(numbers)
        self.address = f"10.41.0.{self.number}"
        super().__init__(4, host.server_ip, f"client-{self.number}", source=self.address, netns=host.netns)
        self.timeout = 100
        self.null()

    def new(self):
        """Takes a lock."""
        return self.lock(fh, offset=2 * self.number)

    def reclaim(self):
        """Takes it again."""
        return self.lock(fh, offset=2 * self.number, reclaim=True)


def took(function):
    """What a function returns, and the seconds of this machine's own time until it does."""
    began = harness.clock()
    result = function()
    return result, harness.clock() - began


def waits(what, one):
    """A client is refused a lock when lockd has waited for as long as it does."""
    began = time.monotonic()
    result, seconds = took(one.new)
    equal(f"{what}: no lock", result, "NOLOCKS")
    check("after fifteen seconds", time.monotonic() - began > 14 and seconds < 18 * SLOW, seconds)


def is_monitored(*clients):
    """Has the status monitor been asked for all of them?"""
    return {client.address for client in clients} <= set(statd.monitored())


def rests():
    """Waits until the module has ended its connection."""
    time.sleep(0.5)


server = FullServer(grace=10)
server.set_up()
server.start()
host = RawHost()
host.enter("ip route add local 10.41.0.0/16 dev lo")
host.on_server(f"ip route add 10.41.0.0/16 via {host.server_ip[:-1]}2")
server.end_grace()
fh = host.create(server.export("t", "fsid=1234"))
statd = quickstatd.replace()

# Quick.
crowd = [One() for _ in range(8)]
equal("new clients have their locks", [one.new() for one in crowd], ["GRANTED"] * 8)
check("rpc.statd monitors them", is_monitored(*crowd), statd.asked)
check("over few connections", len(statd.connections) < 4, len(statd.connections))
count = len(statd.asked)
equal("another lock of one", crowd[0].lock(fh, offset=1), "GRANTED")
equal("is not its business", len(statd.asked), count)
rests()
check("the connection ends when there is no more to say", "ESTAB" not in sh(
    f"ss -Htn state established dport = :{statd.server.server_address[1]} | sed s/^/ESTAB/"))

# Somewhere else, while there is a connection to where it was, and afterwards.
equal("a client", One().new(), "GRANTED")
before, statd = statd, quickstatd.Statd()
before.stop()
one = One()
equal("rpc.statd is started anew while there is a connection: the next client", one.new(), "GRANTED")
check("is monitored there", is_monitored(one), statd.asked)
before, statd = statd, quickstatd.Statd()
before.stop()
rests()
one = One()
equal("and later", (one.new(), is_monitored(one)), ("GRANTED", True))

# It says no.
statd.refuses = True
one = One()
equal("it says no: no lock", one.new(), "NOLOCKS")
statd.refuses = False
equal("it says yes: a lock", one.new(), "GRANTED")

# It says nothing.
statd.silent.clear()
one, two = One(), One()
waits("it says nothing", one)
result, seconds = took(two.new)
equal("nor the next client", result, "NOLOCKS")
check("who is told so at once", seconds < 2 * SLOW, seconds)
equal("a client that is monitored goes on", crowd[0].lock(fh, offset=3), "GRANTED")
statd.silent.set()
check("it answers: both have their locks",
      wait_until(lambda: (one.new(), two.new()) == ("GRANTED", "GRANTED")) and is_monitored(one, two))

# It is not there; nor is rpcbind.
statd.stop()
rests()
result, seconds = took(One().new)
equal("it is gone: no lock", result, "NOLOCKS")
check("at once", seconds < 3 * SLOW, seconds)
sh("rpcinfo -d 100024 1")
equal("nor if rpcbind does not know it", One().new(), "NOLOCKS")
statd = quickstatd.Statd()
one = One()
check("it is back: a lock", wait_until(lambda: one.new() == "GRANTED"))
rests()
rpcbind = sh("pidof rpcbind").strip()
one, two = One(), One()
os.kill(int(rpcbind), signal.SIGSTOP)
waits("rpcbind says nothing", two)
os.kill(int(rpcbind), signal.SIGCONT)
check("it answers: a lock", wait_until(lambda: one.new() == "GRANTED", 100))

# An export comes, and its clients with it.
equal("a grace period", command("fsid_grace", "1234 3600")[0], "ok")
statd.refuses = True
one = One()
equal("nobody records clients: one that reclaims waits for rpc.statd", one.reclaim(), "NOLOCKS")
recorder = subprocess.Popen(["/test/nfsd-ha", "record"])  # pylint: disable=consider-using-with
check("the recorder runs", wait_until(lambda: os.path.exists("/run/nfsd-ha/record.json"), 60))
equal("with a record it does not, whatever that says", one.reclaim(), "GRANTED")
check("it has one", os.path.exists(f"/var/lib/nfsd-ha/1234/sm/{one.address}"))
two = One()
equal("a client without a reclaim does", two.lock(fh, offset=900), "NOLOCKS")
statd.asked.clear()
check("rpc.statd is asked again and again", wait_until(lambda: statd.asked.count(("MON", one.address)) > 1, 20), statd.asked)
check("and not for the other one", not is_monitored(two), statd.asked)
statd.refuses = False
statd.asked.clear()
check("until it says yes", wait_until(lambda: is_monitored(one), 20))
rests()
count = len(statd.asked)
time.sleep(2)
equal("then no more", len(statd.asked), count)

statd.delay = 0.3
crowd = [One() for _ in range(30)]
result, seconds = took(lambda: [one.reclaim() for one in crowd])
print(f"# 30 clients that reclaim, 0.3 s each at rpc.statd: {seconds:.2f} s")
equal("it is slow: all have their locks", result, ["GRANTED"] * 30)
check("before it monitors them", seconds < 30 * 0.3 - 2 and len(statd.monitored()) < 30, (seconds, len(statd.monitored())))
command("fsid_grace", "1234 0")
late = One()
result, seconds = took(late.new)
equal("a new lock waits for the call that is being made, and its own", result, "GRANTED")
check("and not for the others", seconds < 4 * 0.3 + SLOW and not is_monitored(*crowd), seconds)
check("all are monitored in the end", wait_until(lambda: is_monitored(*crowd), 60))

# Who goes before is not asked for any more; lockd stops, the module goes.
command("fsid_grace", "1234 3600")
statd.stop()
rests()
crowd = [One() for _ in range(5)]
result, seconds = took(lambda: [one.reclaim() for one in crowd])
equal("it is gone: clients that come with their export have their locks", result, ["GRANTED"] * 5)
check("at once", seconds < 5 * SLOW, seconds)
server.stop()
statd = quickstatd.Statd()
time.sleep(3)
equal("lockd has stopped: they are forgotten", statd.monitored(), [])
server.start()
server.end_grace()
fh = host.create("/srv/root/t")
statd.silent.clear()
one = One()
equal("it says nothing: no lock", one.new(), "NOLOCKS")
server.stop()
statd.silent.set()
check("it answers when lockd has stopped: it need not monitor that client",
      wait_until(lambda: ("UNMON", one.address) in statd.asked), statd.asked)
server.start()
server.end_grace()
fh = host.create("/srv/root/t")
command("fsid_grace", "1234 3600")
statd.silent.clear()
equal("it says nothing: clients that come with their export have their locks",
      [one.reclaim() for one in [One() for _ in range(5)]], ["GRANTED"] * 5)
recorder.terminate()
equal("the recorder ends", recorder.wait(patience(10)), 0)
began = harness.clock()
sh("echo 0 >/sys/kernel/livepatch/nfsd_ha/enabled")
check("the livepatch is switched off meanwhile", wait_until(lambda: not os.path.exists("/sys/kernel/livepatch/nfsd_ha")))
check("the log says how many are not monitored", "5 clients are not monitored by rpc.statd" in sh("dmesg"))
server.stop()
check("the module goes", wait_until(lambda: succeeds("rmmod nfsd_ha")))
check("before a call that has no answer would end", harness.clock() - began < 20 * SLOW, harness.clock() - began)
statd.silent.set()
done()
