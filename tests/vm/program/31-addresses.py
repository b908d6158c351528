#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: once=yes timeout=240 module=none
"""What the program for admins needs of the network, with its library's `net` alone: a floating address is added and
deleted, its neighbours hear of it at once, its connections are listed and forgotten, and clients are tickled.

Two servers and a client are net namespaces on one bridge. IPv4, IPv6, and IPv4 on a socket for both.
"""

import os
import re
import select
import socket
import subprocess
import time

from ktap import check, done, equal
from nfs import patience, sh, wait_until
from rpc import in_netns

NET = os.environ.get("NET_EXAMPLE", "/test/net")
FLOATING = {4: "192.0.2.50", 6: "fd77::50"}
PORT, LOCKD = 2049, 32803
# Where nobody tells a client anything, its connection stays as it is for so long at least.
SILENCE = 1.0
# So soon a client hears of a reset; a loaded host has more.
AT_ONCE = 0.5


def net(node, *words, text=""):
    """Runs a step of the library in a node; returns its status and what it says."""
    result = subprocess.run(["nsenter", f"--net=/run/netns/{node}", NET, *map(str, words)], text=True, check=False,
                            input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=patience(60))
    return result.returncode, result.stdout.strip()


def on(node, command, check=True):
    """Runs a command in a node."""
    return sh(f"nsenter --net=/run/netns/{node} {command}", check)


def listen(node, address, port, both=False):
    """A server's socket in a node."""
    with in_netns(node):
        listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if ":" in address:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not both)
        listener.bind((address, port))
        listener.listen(4096)
        return listener


def connect(address, port):
    """The client's connection to a server."""
    with in_netns("c"):
        return socket.create_connection((address, port), timeout=patience(10))


def name(end):
    """How an end of a connection is written."""
    address, port = end[:2]
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def line(client):
    """How a connection is written."""
    return f"{name(client.getpeername())} {name(client.getsockname())}"


def mac(node):
    """The address of a node's device."""
    return re.search(r"link/ether (\S+)", on(node, "ip link show dev eth0"))[1]


def neighbour(address):
    """The device that the client has for an address."""
    found = re.search(r"lladdr (\S+)", on("c", f"ip neigh show {address}"))
    return found and found[1]


def reset_after(client, limit):
    """Seconds until a connection is reset, or None if it is not within the limit. Nothing is sent."""
    began = time.monotonic()
    poll = select.poll()
    poll.register(client, 0)
    if not poll.poll(limit * 1000):
        return None
    return time.monotonic() - began


def set_up():
    """The nodes: a and b are servers, c is a client."""
    sh("ip link add lan type bridge; ip link set lan up; sysctl -qw net.ipv6.conf.all.disable_ipv6=0")
    for number, node in enumerate("abc", 1):
        sh(f"ip netns add {node}; ip link add lan-{node} type veth peer name eth0 netns {node}")
        sh(f"ip link set lan-{node} master lan up")
        on(node, "sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0")
        for device in "lo", "eth0":
            on(node, f"ip link set {device} up")
        on(node, f"ip addr add 192.0.2.{number}/24 dev eth0")
        on(node, f"ip addr add fd77::{number}/64 dev eth0 nodad")


def adding():
    """An address comes and goes, and each step may be repeated."""
    equal("IPv4: device and prefix are those of the network around it",
          net("a", "add", FLOATING[4]), (0, "192.0.2.50/24@eth0 true"))
    equal("IPv4: again, and nothing is to be done", net("a", "add", FLOATING[4]), (0, "192.0.2.50/24@eth0 false"))
    equal("IPv6, in brackets", net("a", "add", f"[{FLOATING[6]}]"), (0, "fd77::50/64@eth0 true"))
    with in_netns("a"), socket.socket(socket.AF_INET6) as s:
        s.bind((FLOATING[6], PORT))
    equal("IPv6: usable at once", net("a", "wait", FLOATING[6], 0), (0, ""))
    equal("IPv6: again", net("a", "add", f"{FLOATING[6]}/64@eth0"), (0, "fd77::50/64@eth0 false"))
    source = on("a", "ip -6 route get fd77::3")
    check("IPv6: it is not for the node's own connections", "src fd77::1 " in source, source)
    status, said = net("a", "add", f"{FLOATING[4]}/32")
    check("another prefix: refused", status == 1 and "already, as 192.0.2.50/24@eth0" in said, said)
    status, said = net("a", "add", "198.51.100.1")
    check("no network around it: what to give", status == 1 and "ADDRESS/PREFIX@DEVICE" in said, said)
    status, said = net("a", "add", "198.51.100.1/24@eth7")
    check("no such device", status == 1 and "no such device" in said, said)
    on("a", "sysctl -qw net.ipv6.conf.lo.disable_ipv6=1")
    status, said = net("a", "add", "fd78::1/64@lo")
    check("IPv6 is off: how to switch it on", status == 1 and "disable_ipv6=0" in said, said)
    for family, address in FLOATING.items():
        equal(f"IPv{family}: deleted", net("a", "delete", address)[1].split()[1:], ["true"])
        equal(f"IPv{family}: again", net("a", "delete", address), (0, ""))
        check(f"IPv{family}: it is away", address not in on("a", "ip -o addr"))

    # What comes back after a mistake is what was there.
    on("a", "ip addr add 192.0.2.50/24 brd + dev eth0 label eth0:ha noprefixroute")
    on("a", "ip addr add fd77::50/64 dev eth0 nodad noprefixroute")
    # The link's own address is tentative for a second.
    assert wait_until(lambda: "tentative" not in on("a", "ip -o addr"))
    before = on("a", "ip -o addr")
    on("a", "ip -6 rule add from fd77::50 pref 1 blackhole")
    for address in FLOATING.values():
        equal(f"{address}: deleted and put back", net("a", "again", address)[0], 0)
    equal("all is as it was, label, broadcast and flags", sorted(on("a", "ip -o addr").split("\n")),
          sorted(before.split("\n")))
    check("who was killed while it kept an address quiet does no harm", "blackhole" not in on("a", "ip -6 rule"))
    for address in FLOATING.values():
        net("a", "delete", address)


def first_of_its_network():
    """Without promote_secondaries, the kernel deletes all addresses of a network with the first one."""
    on("b", "ip addr flush dev eth0 scope global")
    on("b", "sysctl -qw net.ipv4.conf.all.promote_secondaries=0 net.ipv4.conf.eth0.promote_secondaries=0")
    on("b", "ip addr add 192.0.2.50/24 dev eth0")
    on("b", "ip addr add 192.0.2.2/24 dev eth0")
    status, said = net("b", "delete", FLOATING[4])
    check("an address whose deletion takes the node's own with it is kept",
          status == 1 and "192.0.2.2/24@eth0" in said and "promote_secondaries=1" in said, said)
    on("b", "sysctl -qw net.ipv4.conf.eth0.promote_secondaries=1")
    equal("with the switch, it is deleted", net("b", "delete", FLOATING[4])[0], 0)
    left = on("b", "ip -o -4 addr")
    check("and the node's own is still there", "192.0.2.2/24" in left and FLOATING[4] not in left, left)
    on("b", "ip addr add fd77::2/64 dev eth0 nodad")


def duplicate():
    """An address that another node has."""
    net("a", "add", FLOATING[6])
    on("b", "sysctl -qw net.ipv6.conf.all.accept_dad=1 net.ipv6.conf.eth0.accept_dad=1")
    on("b", "ip addr add fd77::50/64 dev eth0")
    status, said = net("b", "wait", FLOATING[6], int(patience(10) * 1000))
    check("an IPv6 address that another node has: it says so", status == 1 and "another node has" in said, said)
    on("b", "sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.eth0.accept_dad=0")
    net("b", "delete", FLOATING[6])
    net("a", "delete", FLOATING[6])
    status, said = net("b", "wait", FLOATING[6], 1000)
    check("an address that is not there: it says so at once", status == 1 and "on no device" in said, said)


def two_devices():
    """A network on two devices, and a device without neighbours."""
    on("b", "ip link add other type veth peer name peer")
    on("b", "ip addr add 192.0.2.9/24 dev other noprefixroute")
    status, said = net("b", "place", "192.0.2.77")
    check("two devices have the network: say which", status == 1 and "eth0, other" in said and "@DEVICE" in said, said)
    equal("one is said", net("b", "place", "192.0.2.77@other"), (0, "192.0.2.77/24@other"))
    status, said = net("b", "announce", "192.0.2.9", 1)
    check("a device that is down: it says so", status == 1 and "192.0.2.9/24@other: Network is down" in said, said)
    on("b", "ip link set other up arp off")
    equal("a device without neighbours: nothing to announce", net("b", "announce", "192.0.2.9", 1), (0, ""))
    on("b", "ip link del other")


class Server:
    """Sockets of a server, as nfsd and lockd have them, and one for both families."""

    def __init__(self, node):
        self.listeners = [listen(node, "0.0.0.0", PORT), listen(node, "::", PORT), listen(node, "::", LOCKD, both=True)]
        self.accepted = []

    def accept(self):
        """Takes a connection from each listener that has one."""
        ready = select.select(self.listeners, [], [], patience(5))[0]
        self.accepted += [listener.accept()[0] for listener in ready]

    def close(self):
        """Closes all."""
        for s in self.accepted + self.listeners:
            s.close()


def moving():
    """An address moves from a to b, with clients that have nothing to send."""
    old, new = Server("a"), Server("b")
    for address in FLOATING.values():
        net("a", "add", address)
        net("a", "announce", address, 1)

    def clients():
        made = {}
        for what, family, port in ("IPv4", 4, PORT), ("IPv6", 6, PORT), ("IPv4 on IPv6's socket", 4, LOCKD), ("IPv6", 6, LOCKD):
            made[what, port] = connect(FLOATING[family], port)
            old.accept()
        return made

    tickled, left = clients(), clients()
    fixed = connect("192.0.2.1", PORT)
    old.accept()
    both = ",".join(FLOATING.values())
    wanted = sorted(map(line, [*tickled.values(), *left.values()]))
    listed = net("a", "list", both, PORT, LOCKD)
    equal("connections of both families are listed, and IPv4's of a socket for both", sorted(listed[1].split("\n")), wanted)
    equal("those of one port", sorted(net("a", "list", both, LOCKD)[1].split("\n")),
          [text for text in wanted if f":{LOCKD} " in text])
    equal("those of one address", sorted(net("a", "list", FLOATING[6])[1].split("\n")),
          [text for text in wanted if "fd77" in text])
    listed = "".join(f"{line(client)}\n" for client in tickled.values())

    for family, address in FLOATING.items():
        equal(f"IPv{family}: the client knows a's device", neighbour(address), mac("a"))
    # It was begun, and nfsd has closed some connections; now it is repeated.
    on("a", "ip -6 rule add from fd77::50 pref 1 blackhole")
    for address in FLOATING.values():
        net("a", "delete", address)
    for s in old.accepted[:2]:
        s.close()
    equal("all connections are forgotten, whatever their state", net("a", "leave", both), (0, str(len(wanted))))
    rules = on("a", "ip -6 rule")
    check("no rule for routing is left", "blackhole" not in rules, rules)
    equal("again", net("a", "destroy", both), (0, "0"))
    remain = on("a", "ss -Htna state connected")
    check("but not that to another address", "192.0.2.50" not in remain and "fd77::50" not in remain and
          line(fixed).split()[1] in remain, remain)
    equal("the clients know nothing", [reset_after(client, 0) for client in tickled.values()], [None] * len(tickled))

    for family, address in FLOATING.items():
        equal(f"IPv{family}: the address is on b", net("b", "add", address)[0], 0)
        equal(f"IPv{family}: and the client still sends to a", neighbour(address), mac("a"))
        equal(f"IPv{family}: announced once", net("b", "announce", address, 1), (0, ""))
        check(f"IPv{family}: the client sends to b at once",
              wait_until(lambda: neighbour(address) == mac("b"), AT_ONCE, 0.01, patient=False), neighbour(address))

    equal("without a tickle, a client that sends nothing hears nothing",
          [reset_after(client, SILENCE / len(tickled)) for client in tickled.values()], [None] * len(tickled))
    foreign = "198.51.100.50:2049 198.51.100.7:900\n"
    began = time.monotonic()
    status, said = net("b", "tickle", both, 1, text=listed + foreign)
    took = time.monotonic() - began
    check("all who are listed are tickled, but for another address",
          status == 0 and "sent: 4, foreign: 1, failed: 0" in said, said)
    for (what, port), client in tickled.items():
        after = reset_after(client, AT_ONCE)
        check(f"{what}, port {port}: reset at once", after is not None, after)
    print(f"# a tickle of 4 connections took {took:.3f} s, with the process")
    equal("who is not listed is left alone", [reset_after(client, 0.05) for client in left.values()], [None] * len(left))
    again = connect(FLOATING[4], PORT)
    new.accept()
    equal("the client comes again, to b", net("b", "list", FLOATING[4])[1], line(again))
    for s in (*tickled.values(), *left.values(), fixed, again):
        s.close()
    old.close()
    new.close()
    net("b", "destroy", both)
    for address in FLOATING.values():
        net("b", "delete", address)


def loud():
    """Why an IPv6 address is kept quiet: who destroys connections resets the clients of IPv6, which is too early."""
    hears = {}
    for family, address in FLOATING.items():
        with listen("a", address_of_any(family), PORT) as server:
            net("a", "add", address)
            net("a", "announce", address, 1)
            with connect(address, PORT) as client, server.accept()[0]:
                net("a", "delete", address)
                net("a", "destroy", address)
                hears[family] = reset_after(client, AT_ONCE) is not None
    equal("not kept quiet, clients of IPv6 hear of it, and those of IPv4 do not", hears, {4: False, 6: True})


def writer():
    """How long a client that writes waits when its address was away for a while, with a tickle and without."""
    for family, address in FLOATING.items():
        took = {}
        for tickle in True, False:
            server, new = listen("a", address_of_any(family), PORT), listen("b", address_of_any(family), PORT)
            net("a", "add", address)
            net("a", "announce", address, 1)
            client = connect(address, PORT)
            accepted = server.accept()[0]
            listed = net("a", "list", address, PORT)[1] + "\n"
            net("a", "leave", address)
            client.send(b"x")
            # Its timeout doubles: it tries after 0.2, 0.6, 1.4, 3.0, 6.2 s.
            time.sleep(3.4)
            net("b", "add", address)
            began = time.monotonic()
            net("b", "announce", address, 1)
            if tickle:
                net("b", "tickle", address, 1, text=listed)
            reset_after(client, patience(20))
            took[tickle] = time.monotonic() - began
            for s in client, accepted, server, new:
                s.close()
            net("b", "delete", address)
        print(f"# IPv{family}: away for 3.4 s; a writer is reset after {took[True]:.2f} s more, without tickle "
              f"{took[False]:.2f} s")
        check(f"IPv{family}: a tickle shortens the wait of a writer", took[True] < took[False] / 2, took)


def address_of_any(family):
    """What a server listens at."""
    return "::" if family == 6 else "0.0.0.0"


def many(count):
    """So many connections are listed, forgotten, and tickled."""
    net("a", "add", FLOATING[4])
    net("a", "announce", FLOATING[4], 1)
    server = listen("a", "0.0.0.0", PORT)
    clients, accepted = [], []
    for _ in range(count):
        clients.append(connect(FLOATING[4], PORT))
        accepted.append(server.accept()[0])
    took = []

    def timed(*words, **options):
        began = time.monotonic()
        result = net(*words, **options)
        took.append(f"{words[1]} {time.monotonic() - began:.2f} s")
        return result

    listed = timed("a", "list", FLOATING[4], PORT)[1] + "\n"
    equal("many: all are listed", listed.count("\n"), count)
    net("a", "delete", FLOATING[4])
    equal("many: all are forgotten", timed("a", "destroy", FLOATING[4], PORT), (0, str(count)))
    net("b", "add", FLOATING[4])
    net("b", "announce", FLOATING[4], 1)
    status, said = timed("b", "tickle", FLOATING[4], 1, text=listed)
    check("many: all are tickled", status == 0 and f"sent: {count}" in said, said)
    check("many: all are reset", all(reset_after(client, patience(2)) is not None for client in clients))
    print(f"# {count} connections, one client: {', '.join(took)}, with the process")
    for s in (*clients, *accepted, server):
        s.close()
    net("b", "delete", FLOATING[4])


set_up()
adding()
first_of_its_network()
duplicate()
two_devices()
moving()
loud()
writer()
many(400)
done()
