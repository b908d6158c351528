#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Clients of 32-notify: rpcbind (port 111) and a status monitor (port 900) on all addresses of a net namespace, which
behave as they are told to.

Commands are lines of JSON on standard input: ["kinds", {address: kind}], ["told"].
"""

import contextlib
import collections
import json
import selectors
import socket
import struct
import sys
import time

from rpc import Packer, Unpacker

RPCBIND, STATUS, PORT = 100000, 100024, 900
SO_RCVBUFFORCE = 33  # of Linux
OTHER = "10.9.250.250"  # where those answer from that do so from a wrong address

kinds = collections.defaultdict(lambda: "good")
told = []
lost = set()
later = []


def plain(address):
    """An address of IPv4 as it is written, not as one of IPv6."""
    return address.removeprefix("::ffff:")


def answer(call, client, peer, udp):
    """What a client answers to a call, or None."""
    kind = kinds[client]
    if kind == "garbage":
        return b"no RPC"
    # There are no credentials.
    xid, _, _, program, version = struct.unpack_from(">5I", call)
    arguments = Unpacker(call[40:])
    packer = Packer().uint(xid ^ 1 if kind == "wrong-xid" else xid, 1, 0, 0, 0)
    if program == RPCBIND:
        arguments.fixed(8)
        if version == 2:
            wants_udp = arguments.uint() == 17
        else:
            wants_udp = arguments.opaque() == b"udp6"
        port = 0 if kind == "no-statd" or (kind == "only-tcp" and wants_udp) else PORT
        packer.uint(0)
        if version == 2:
            packer.uint(port)
        else:
            packer.opaque(f"::.{port // 256}.{port % 256}" if port else "")
    elif kind == "refuses":
        packer.uint(5)
    else:
        name, state = arguments.opaque().decode(), arguments.uint()
        told.append((client, plain(peer[0]), name, state, peer[1], "udp" if udp else "tcp"))
        packer.uint(0)
    return packer.bytes()


def datagrams(sock):
    """Takes packets."""
    with contextlib.suppress(BlockingIOError):
        for _ in range(100):
            datagram(sock, *sock.recvmsg(4096, 1024))


def datagram(sock, call, control, _, peer):
    """Takes a packet, and answers from the address that it was sent to."""
    info = control[0][2]
    client = plain(socket.inet_ntop(socket.AF_INET6, info[:16]))
    kind = kinds[client]
    port = sock.getsockname()[1]
    if kind in ("dead", "gone", "no-udp"):
        return
    if kind == "lossy" and (client, port) not in lost:
        lost.add((client, port))
        return
    if kind == "wrong-address":
        info = socket.inet_pton(socket.AF_INET6, f"::ffff:{OTHER}") + info[16:]
    # Any device will do.
    control = [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, info[:16] + struct.pack("i", 0))]
    reply = answer(call, client, peer, True)
    if kind == "slow":
        later.append((time.monotonic() + 1.5, sock, reply, control, peer))
    else:
        sock.sendmsg([reply], control, 0, peer)


def stream(listener):
    """Takes a connection, and answers one call."""
    connection, peer = listener.accept()
    with connection:
        client = plain(connection.getsockname()[0])
        if kinds[client] in ("dead", "gone", "garbage", "wrong-address"):
            return
        connection.settimeout(5)
        data = b""
        while len(data) < 4 or len(data) < 4 + (struct.unpack(">I", data[:4])[0] & 0xFFFF):
            more = b""
            with contextlib.suppress(OSError):
                more = connection.recv(4096)
            if not more:
                return
            data += more
        reply = answer(data[4:], client, peer, False)
        # The other end may have given up meanwhile.
        with contextlib.suppress(OSError):
            connection.sendall(struct.pack(">I", 0x80000000 | len(reply)) + reply)


def command(stdin):
    """Takes a command; ends at the end of input."""
    line = stdin.readline()
    if not line:
        sys.exit()
    word, *rest = json.loads(line)
    if word == "kinds":
        kinds.update(rest[0])
    answers = list(told) if word == "told" else True
    if word == "told":
        told.clear()
    print(json.dumps(answers), flush=True)


def serve():
    """All that comes."""
    selector = selectors.DefaultSelector()
    for port in (111, PORT):
        sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        sock.setblocking(False)
        sock.setblocking(False)
        sock.bind(("::", port))
        selector.register(sock, selectors.EVENT_READ, datagrams)
        listener = socket.create_server(("::", port), family=socket.AF_INET6, backlog=1000, dualstack_ipv6=True)
        selector.register(listener, selectors.EVENT_READ, stream)
    selector.register(sys.stdin, selectors.EVENT_READ, command)
    print("ready", flush=True)
    while True:
        for key, _ in selector.select(0.05):
            key.data(key.fileobj)
        while later and later[0][0] <= time.monotonic():
            _, sock, reply, control, peer = later.pop(0)
            sock.sendmsg([reply], control, 0, peer)


serve()
