#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: once=yes timeout=900 module=load disk=records:256M
"""Many NLM clients come with their export, and reclaim at once while `nfsd-ha record` stores each.

First they are clients of another server, which is this one before it stops: it records them, and writes the list with
which the export is taken over. Then lockd and rpc.statd of the server that takes it over know none of them.

`--arg N` is how many. The times are printed. Their limit is for 1,000, so that a machine with much else to do, which is slower
even for the time that it has for this one, does not miss it with the usual number. With `--arg real`, the server that
takes the export over has rpc.statd itself, not one that answers at once.
"""

import collections
import itertools
import os
import resource
import selectors
import socket
import struct
import subprocess
import sys
import time

import harness
import quickstatd
from fullserver import FullServer, RawHost
from ktap import check, done, equal
from nfs import SLOW, patience, sh, wait_until
from nlm import LOCK, Nlm, stat_name
from rpc import Packer, in_netns

COUNT = next((int(word) for word in sys.argv[1:] if word.isdigit()), 400)
REAL = "real" in sys.argv
# How many ask at a time; more would only wait in lockd's socket.
WINDOW = 64


class Crowd:
    """Clients of NLM 4 over UDP, each with an address of its own."""

    def __init__(self, host, net):
        """`net` is the first two bytes of the addresses; all of them are the host's."""
        self.host, self.net = host, net
        host.enter(f"ip route add local {net}.0.0/16 dev lo")
        gateway = host.server_ip.rsplit(".", 1)[0] + ".2"
        host.on_server(f"ip route add {net}.0.0/16 via {gateway}")

    def address(self, n):
        """The address of a client."""
        return f"{self.net}.{n // 250}.{n % 250 + 1}"

    def prepare(self, fhs, reclaim):
        """Each is to take or to reclaim a lock of its own: sockets and calls."""
        nlm, calls = Nlm(4, self.host.server_ip), []
        lines = [line.split() for line in sh("rpcinfo -p").splitlines()]
        port = next(int(p[3]) for p in lines if p[:3] == ["100021", "4", "udp"])
        with in_netns(self.host.netns):
            for n in range(COUNT):
                sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                sock.bind((self.address(n), 700))
                sock.connect((self.host.server_ip, port))
                arguments = nlm.lock_arguments(fhs[n % len(fhs)], offset=2 * n, svid=n, reclaim=reclaim)
                call = nlm.message(LOCK, Packer().opaque(struct.pack(">I", n)).raw(arguments).bytes())
                calls.append((sock, call))
        return calls

    @staticmethod
    def ask(calls):
        """Asks for all, and again for what is not answered; counts the results."""
        results, begun, asked = collections.Counter(), iter(calls), {}
        selector = selectors.DefaultSelector()
        while True:
            for sock, call in itertools.islice(begun, WINDOW - len(asked)):
                sock.send(call)
                asked[sock] = (call, time.monotonic())
                selector.register(sock, selectors.EVENT_READ)
            if not asked:
                return results
            for key, _ in selector.select(0.5):
                sock = key.fileobj
                results[stat_name(int.from_bytes(sock.recv(4096)[-4:], "big"))] += 1
                selector.unregister(sock)
                sock.close()
                del asked[sock]
            late = time.monotonic() - 2
            for sock, (call, when) in asked.items():
                if when < late:
                    sock.send(call)
                    asked[sock] = (call, time.monotonic())


def on_cpu():
    """The seconds that each program has run, by name."""
    seconds = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/comm", encoding="ascii") as f:
                name = f.read().strip()
            with open(f"/proc/{pid}/schedstat", encoding="ascii") as f:
                seconds[name] = seconds.get(name, 0) + int(f.read().split()[0]) / 1e9
        except FileNotFoundError:
            continue
    return seconds


def timed(name, calls):
    """Has clients ask, and prints how long that took; returns the results and the seconds."""
    began, ran, before = time.monotonic(), harness.clock(), on_cpu()
    result = Crowd.ask(calls)
    took, ran, after = time.monotonic() - began, harness.clock() - ran, on_cpu()
    spent = {name: after[name] - before.get(name, 0) for name in after}
    most = sorted(spent, key=spent.get, reverse=True)[:6]
    print("# " + ", ".join(f"{name} {spent[name]:.2f} s" for name in most), flush=True)
    print(f"# {len(calls)} clients, {name}: {took:.2f} s, {ran:.2f} s without the host's other work, "
          f"{1000 * ran / len(calls):.2f} ms each", flush=True)
    return result, ran


def start():
    """Starts the server, whose lockd knows nobody; returns the handles of the files."""
    server.start()
    server.end_grace()
    return [host.create(path, f"f{n}") for n in range(20)]


resource.setrlimit(resource.RLIMIT_NOFILE, (COUNT + 1000, COUNT + 1000))
server = FullServer(grace=10)
server.set_up()
host = RawHost()
path = server.export("a", "fsid=1234,insecure")
sh("mkfs.ext4 -q -N 32768 /dev/disk/records; mkdir -p /var/lib/nfsd-ha /srv/records; mount /dev/disk/records /srv/records; "
   "mkdir -m 700 /srv/records/nsm; ln -s /srv/records/nsm /var/lib/nfsd-ha/1234")
statd = quickstatd.replace()
handles = start()
crowd = Crowd(host, "10.40")
recorder = subprocess.Popen(["/test/nfsd-ha", "record"])  # pylint: disable=consider-using-with
check("the recorder runs", wait_until(lambda: os.path.exists("/run/nfsd-ha/record.json"), 60))
result = timed("new, take locks", crowd.prepare(handles, False))[0]
equal("all have their locks", result, {"GRANTED": COUNT})
equal("each has a record", len(os.listdir("/srv/records/nsm/sm")), COUNT)
equal("and is monitored", len(statd.monitored()), COUNT)

# The export leaves. Its records are those who must be told; each has been, as far as this test goes.
sh("/test/nfsd-ha export-clients 1234 >/tmp/list; /test/nfsd-ha release 1234")
equal("all are on the list", sh("tail -1 /tmp/list").split(), ["#", "end", str(COUNT)])
server.stop()
statd.stop()
sh("find /srv/records/nsm/sm /var/lib/nfs/sm -type f -delete")
if REAL:
    sh("rpc.statd --no-notify")
else:
    statd = quickstatd.Statd()
handles = start()
sh("/test/nfsd-ha takeover 1234 3600 </tmp/list")
result, ran = timed("come with their export, reclaim", crowd.prepare(handles, True))
equal("all have their locks back", result, {"GRANTED": COUNT})
if COUNT <= 1000:
    check("within 20 s", ran < 20 * SLOW, ran)
equal("each has a record", len(os.listdir("/srv/records/nsm/sm")), COUNT)
if REAL:
    print(f"# rpc.statd monitors {len(os.listdir('/var/lib/nfs/sm'))} of them so far", flush=True)
else:
    check("each is monitored", wait_until(lambda: len(statd.monitored()) == COUNT), len(statd.monitored()))
recorder.terminate()
equal("SIGTERM ends the recorder", recorder.wait(patience(5)), 0)
done()
