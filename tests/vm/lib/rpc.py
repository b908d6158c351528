# SPDX-License-Identifier: GPL-2.0
"""ONC RPC over TCP with AUTH_SYS (RFC 5531), XDR (RFC 4506) and rpcbind's GETADDR (RFC 1833).

A connection comes from a privileged port, as exports are `secure` unless they say otherwise, and
can be made in another net namespace (`netns`, a name of `ip netns`) and from a chosen address
(`source`).
"""

import contextlib
import os
import random
import socket
import struct

from nfs import patience

RPCBIND, NFS, MOUNT, NLM = 100000, 100003, 100005, 100021
ACCEPT = {1: "PROG_UNAVAIL", 2: "PROG_MISMATCH", 3: "PROC_UNAVAIL", 4: "GARBAGE_ARGS",
          5: "SYSTEM_ERR"}


class RpcError(Exception):
    """A call that the server's RPC layer refused; the text is the name of the error."""


class Packer:
    """Writes XDR; every method returns the packer."""

    def __init__(self):
        self.parts = []

    def raw(self, data):
        """Bytes that are XDR already."""
        self.parts.append(data)
        return self

    def uint(self, *values):
        """32 bits each; negative numbers, too."""
        return self.raw(b"".join(struct.pack(">I", value & 0xFFFFFFFF) for value in values))

    def hyper(self, *values):
        """64 bits each."""
        return self.raw(b"".join(struct.pack(">Q", value) for value in values))

    def fixed(self, data):
        """Bytes of a length that both sides know."""
        return self.raw(data + bytes(-len(data) % 4))

    def opaque(self, data):
        """Bytes with their length, or a string."""
        data = data.encode() if isinstance(data, str) else data
        return self.uint(len(data)).fixed(data)

    def bytes(self):
        """All of it."""
        return b"".join(self.parts)


class Unpacker:
    """Reads XDR."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def fixed(self, length):
        """Bytes of a length that both sides know."""
        end = self.at + length
        if end > len(self.data):
            raise ValueError(f"{end} bytes wanted, {len(self.data)} are there")
        data = self.data[self.at : end]
        self.at = end + (-length % 4)
        return data

    def uint(self):
        """32 bits."""
        return struct.unpack(">I", self.fixed(4))[0]

    def hyper(self):
        """64 bits."""
        return struct.unpack(">Q", self.fixed(8))[0]

    def opaque(self):
        """Bytes with their length."""
        return self.fixed(self.uint())


@contextlib.contextmanager
def in_netns(name):
    """What this thread does in here, it does in a net namespace; sockets stay there."""
    if not name:
        yield
        return
    with open("/proc/thread-self/ns/net", "rb") as before, \
            open(f"/run/netns/{name}", "rb") as there:
        os.setns(there.fileno(), os.CLONE_NEWNET)
        try:
            yield
        finally:
            os.setns(before.fileno(), os.CLONE_NEWNET)


def connect(server, port, source=None, netns=None, timeout=20):
    """A TCP connection from a privileged port."""
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    for _ in range(50):
        with in_netns(netns):
            sock = socket.socket(family, socket.SOCK_STREAM)
        sock.settimeout(patience(timeout))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((source or ("::" if ":" in server else ""), random.randint(665, 1023)))
            sock.connect((server, port))
            return sock
        except OSError as e:
            sock.close()
            if e.errno not in (98, 99):  # EADDRINUSE, EADDRNOTAVAIL
                raise
    raise OSError("no privileged port is free")


def send_record(sock, data):
    """Sends a message as one fragment."""
    sock.sendall(struct.pack(">I", 0x80000000 | len(data)) + data)


def receive_record(sock):
    """Receives a message; b'' if the peer closed the connection."""
    record, last = b"", False
    while not last:
        header = receive_bytes(sock, 4)
        if not header:
            return b""
        (mark,) = struct.unpack(">I", header)
        last = mark & 0x80000000
        record += receive_bytes(sock, mark & 0x7FFFFFFF)
    return record


def receive_bytes(sock, length):
    """Receives so many bytes; fewer if the peer closed the connection."""
    data = bytearray()
    while len(data) < length:
        more = sock.recv(length - len(data))
        if not more:
            return b""
        data += more
    return bytes(data)


def parse_answer(data):
    """The xid of an answer, and its results or an RpcError."""
    answer = Unpacker(data)
    xid = answer.uint()
    answer.uint()
    if answer.uint():
        return xid, RpcError(f"MSG_DENIED {answer.uint()}")
    answer.uint()
    answer.opaque()
    status = answer.uint()
    return xid, RpcError(ACCEPT.get(status, str(status))) if status else answer


class Rpc:
    """A client of one program; the port is asked of the server's rpcbind unless given. `uid` is who it says that it is."""

    uid = 0

    def __init__(self, program, version, server, port=None, **where):
        self.program, self.version = program, version
        self.server, self.port, self.where = server, port, where
        self.xid = random.getrandbits(32)
        self.sock = None
        self.waiting = {}

    def connect(self):
        """Connects, if it is not connected."""
        if not self.sock:
            if not self.port:
                self.port = port_of(self.program, self.version, self.server, **self.where)
            self.sock = connect(self.server, self.port, **self.where)
        return self.sock

    def close(self):
        """Closes the connection; the next call opens one."""
        if self.sock:
            self.sock.close()
        self.sock, self.waiting = None, {}

    def message(self, procedure, arguments=b""):
        """A call with a new xid, as bytes; the xid is the first 4."""
        self.xid = (self.xid + 1) & 0xFFFFFFFF
        credentials = Packer().uint(0).opaque("raw").uint(self.uid, 0, 0).bytes()
        call = Packer().uint(self.xid, 0, 2, self.program, self.version, procedure)
        return call.uint(1).opaque(credentials).uint(0, 0).raw(arguments).bytes()

    def send(self, procedure, arguments=b""):
        """Sends a call without waiting; returns its xid."""
        send_record(self.connect(), self.message(procedure, arguments))
        return self.xid

    def receive_any(self):
        """The next answer, whichever it is: its xid, and its results or an RpcError."""
        data = receive_record(self.sock)
        if not data:
            self.close()
            raise ConnectionError("the server closed the connection")
        # A call from the server is for nothing that we offer.
        return parse_answer(data) if data[4:8] == b"\0\0\0\1" else self.receive_any()

    def receive(self, xid):
        """The answer to a call: its results, of type Unpacker."""
        while xid not in self.waiting:
            other, answer = self.receive_any()
            self.waiting[other] = answer
        answer = self.waiting.pop(xid)
        if isinstance(answer, RpcError):
            raise answer
        return answer

    def call(self, procedure, arguments=b"", timeout=20):
        """Calls, and returns the results; TimeoutError if none come."""
        xid = self.send(procedure, arguments)
        self.sock.settimeout(patience(timeout))
        try:
            return self.receive(xid)
        except TimeoutError:
            self.close()
            raise


def port_of(program, version, server, **where):
    """The TCP port of a program, asked of rpcbind (version 4) on the server."""
    rpcbind = Rpc(RPCBIND, 4, server, 111, **where)
    netid = "tcp6" if ":" in server else "tcp"
    question = Packer().uint(program, version).opaque(netid).opaque("").opaque("")
    address = rpcbind.call(3, question.bytes()).opaque().decode()
    rpcbind.close()
    if not address:
        raise RpcError(f"program {program} version {version} is not registered at {server}")
    high, low = address.split(".")[-2:]
    return int(high) * 256 + int(low)
