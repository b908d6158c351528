# SPDX-License-Identifier: GPL-2.0
"""Clients of an address that drains, and what a capture of their packets shows."""

import collections
import ctypes
import json
import os
import select
import socket
import struct
import subprocess
import threading
import time

from control import read
from nfs import patience, sh
from nfs3 import Nfs3
from nfs4 import Nfs4
from rpc import NFS, Packer, Rpc, connect, in_netns, send_record

FIN, SYN, RST, ACK = 1, 2, 4, 16
# TCP segments with FIN, SYN or RST, over IPv4 and over IPv6 without extension headers (struct sock_filter).
FILTER = (
    (0x30, 0, 0, 0), (0x54, 0, 0, 0xF0), (0x15, 0, 5, 0x40),
    (0x30, 0, 0, 9), (0x15, 0, 8, 6), (0xB1, 0, 0, 0), (0x50, 0, 0, 13), (0x45, 4, 5, 7),
    (0x30, 0, 0, 6), (0x15, 0, 3, 6), (0x30, 0, 0, 53), (0x45, 0, 1, 7),
    (0x06, 0, 0, 128), (0x06, 0, 0, 0))
SO_ATTACH_FILTER = 26

Segment = collections.namedtuple("Segment", "source sport destination dport flags")


class Capture:
    """The TCP segments with FIN, SYN or RST that come to a net namespace and leave it."""

    def __init__(self, netns):
        code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *one) for one in FILTER))
        program = struct.pack("HxxxxxxP", len(FILTER), ctypes.addressof(code))
        with in_netns(netns):
            self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
        self.sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)
        self.sock.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)  # SO_RCVBUFFORCE

    def stop(self):
        """What was seen."""
        segments = []
        self.sock.settimeout(0.5)
        try:
            while True:
                data, where = self.sock.recvfrom(128)
                if where[0] != "lo":
                    segments.append(parse(data))
        except TimeoutError:
            self.sock.close()
        return segments


def parse(data):
    """A packet as a Segment."""
    if data[0] >> 4 == 4:
        at, ends, family = (data[0] & 15) * 4, (data[12:16], data[16:20]), socket.AF_INET
    else:
        at, ends, family = 40, (data[8:24], data[24:40]), socket.AF_INET6
    sport, dport = struct.unpack(">HH", data[at:at + 4])
    source, destination = (socket.inet_ntop(family, end) for end in ends)
    return Segment(source, sport, destination, dport, data[at + 13])


def ends(segments, server, ports=None):
    """How the connections with a server address ended: the resets and the sides with a FIN of each, counted.

    Those that were refused are left out, and so are those to other ports than these.
    """
    latest, all_of = {}, []
    for one in segments:
        if one.source == server:
            key = one.dport, one.sport
        elif one.destination == server:
            key = one.sport, one.dport
        else:
            continue
        # A client may use its port again.
        if key not in latest or one.flags & (SYN | ACK) == SYN:
            latest[key] = []
            all_of.append((key[1], latest[key]))
        latest[key].append(one)
    seen = collections.Counter()
    for port, connection in all_of:
        served = any(one.source == server and not one.flags & RST for one in connection)
        if served and (not ports or port in ports):
            resets = sum(1 for one in connection if one.flags & RST)
            seen[resets, len({one.source for one in connection if one.flags & FIN})] += 1
    return dict(seen)


def refused(server, port=2049, **where):
    """Is a new connection refused, as if nobody listened?"""
    try:
        connect(server, port, timeout=5, **where).close()
    except ConnectionRefusedError:
        return True
    except OSError as e:
        print(f"# {e}")
    return False


class Burst(Rpc):
    """A client that makes directories with NFSv3, many calls at a time, until its connection ends."""

    def __init__(self, server, directory, name, window=16, **where):
        super().__init__(NFS, 3, server, port=2049, **where)
        self.name, self.directory, self.window = name, directory, window
        self.sent, self.answered, self.end = {}, set(), ""
        self.connect()
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()

    def work(self):
        """Sends and receives until there is an end."""
        try:
            while not self.end:
                name = f"{self.name}-{len(self.sent)}"
                attributes = Packer().uint(1, 0o755, 0, 0, 0, 0, 0).bytes()
                arguments = Packer().opaque(self.directory).opaque(name).raw(attributes)
                self.sent[self.send(9, arguments.bytes())] = name
                if len(self.sent) - len(self.answered) >= self.window:
                    self.receive_one()
            while len(self.answered) < len(self.sent):
                self.receive_one()
        except ConnectionResetError:
            self.end = "reset"
        except (ConnectionError, TimeoutError) as e:
            self.end = "closed" if str(e).startswith("the server") else type(e).__name__

    def receive_one(self):
        """Notes an answer."""
        xid, answer = self.receive_any()
        if answer.uint() == 0:
            self.answered.add(self.sent[xid])

    def stop(self):
        """No more calls."""
        self.end = self.end or "stopped"
        self.join()

    def join(self):
        """Waits for the end."""
        self.thread.join(patience(60))
        self.close()

    def compare(self, there):
        """What was executed and not answered, and what was answered and not executed."""
        mine = {name for name in there if name.startswith(f"{self.name}-")}
        return len(mine - self.answered), len(self.answered - mine)


class Idle:
    """Many connections that say nothing any more, and close when the server does."""

    def __init__(self, server, file, count, **where):
        self.poll = select.epoll()
        self.socks = {}
        for _ in range(count):
            # The server has no more than 64 of clients that have no handle.
            nfs = Nfs3(server, **where)
            nfs.getattr(file)
            sock = nfs.sock
            self.socks[sock.fileno()] = sock
            self.poll.register(sock.fileno(), select.EPOLLIN | select.EPOLLRDHUP)
        self.ends = collections.Counter()
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()

    def work(self):
        """Closes what is closed."""
        while self.socks:
            for number, events in self.poll.poll():
                sock = self.socks.pop(number)
                self.ends["reset" if events & select.EPOLLERR else "closed"] += 1
                sock.close()

    def join(self):
        """Waits for the end; how many were closed, and how many reset."""
        self.thread.join(patience(60))
        return dict(self.ends)


class Closing:
    """Has raw clients close when their server does, as real ones do."""

    def __init__(self):
        self.clients = []
        threading.Thread(target=self.work, daemon=True).start()

    def work(self):
        """Goes on for ever."""
        while True:
            for client in list(self.clients):
                sock = client.sock
                try:
                    if sock and select.select([sock], [], [], 0)[0] and not sock.recv(1, socket.MSG_PEEK):
                        sock.shutdown(socket.SHUT_RDWR)
                except (OSError, ValueError):
                    pass  # it is closed
            time.sleep(0.02)


def nfs3_call(xid, procedure, arguments):
    """A call of NFSv3, as bytes."""
    credentials = Packer().uint(0).opaque("raw").uint(0, 0, 0).bytes()
    call = Packer().uint(xid, 0, 2, NFS, 3, procedure).uint(1).opaque(credentials).uint(0, 0)
    return call.raw(arguments).bytes()


def mute(server, file, **where):
    """A client that asks for much and reads nothing."""
    sock = connect(server, 2049, **where)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    for xid in range(64):
        send_record(sock, nfs3_call(xid, 6, Packer().opaque(file).hyper(0).uint(1 << 19).bytes()))
    return sock


class Flood:
    """A client that sends without end, whether the server has closed or not."""

    def __init__(self, server, file, **where):
        self.sock, self.end = connect(server, 2049, **where), ""
        data = nfs3_call(1, 1, Packer().opaque(file).bytes())
        self.record = (struct.pack(">I", 0x80000000 | len(data)) + data) * 20
        self.threads = [threading.Thread(target=work, daemon=True) for work in (self.send, self.receive)]
        for thread in self.threads:
            thread.start()

    def send(self):
        """Sends."""
        try:
            while True:
                self.sock.sendall(self.record)
        except OSError as e:
            self.end = type(e).__name__

    def receive(self):
        """Throws away what comes."""
        try:
            while self.sock.recv(1 << 16):
                pass
        except OSError:
            pass

    def join(self):
        """Waits for the end."""
        self.threads[0].join(patience(60))
        self.sock.close()
        return self.end


def read_line(directory, address):
    """The line of an address in `drain`."""
    return "".join(line for line in read("drain", directory).splitlines() if line.split()[0] == address)


class Mounted:
    """A mount in a net namespace, and a process that works there (drain-worker.py)."""

    def __init__(self, netns, server, version, _):
        self.version, point = version, f"/mnt/v{version}"
        os.makedirs(point, exist_ok=True)
        sh(f"nsenter --net=/run/netns/{netns} mount -t nfs -o vers={version},soft,timeo=100,retrans=6 {server}:/ {point}")
        # pylint: disable-next=consider-using-with
        self.process = subprocess.Popen(
            ["python3", os.path.join(os.path.dirname(__file__), "../nfs4/drain-worker.py"), point, f"v{version}"],
            text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def mark(self):
        """What it has done since the last time."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


class Twice(Rpc):
    """A raw client of NFSv3 that makes, renames and removes directories, and repeats what was not answered, as real ones do."""

    def __init__(self, netns, server, shared):
        super().__init__(NFS, 3, server, port=2049, netns=netns)
        self.lock, self.seen = threading.Lock(), {"count": 0, "errors": []}
        os.makedirs(f"{shared}/raw", exist_ok=True)
        nfs = Nfs4(1, server, "twice", netns=netns)
        assert nfs.establish() == "OK"
        self.directory = nfs.path("/raw")
        nfs.close()
        threading.Thread(target=self.work, daemon=True).start()

    def do(self, procedure, name, arguments):
        """Does one operation, however often it has to be sent."""
        message = self.message(procedure, arguments.bytes())
        while True:
            try:
                send_record(self.connect(), message)
                status = self.receive(int.from_bytes(message[:4], "big")).uint()
                break
            except OSError:
                self.close()
                time.sleep(0.1)
        with self.lock:
            self.seen["count"] += 1
            if status:
                self.seen["errors"].append(f"procedure {procedure} {name}: {status}")

    def work(self):
        """Goes on for ever."""
        number = 0
        while True:
            number += 1
            old, new = f"a{number}", f"b{number}"
            attributes = Packer().uint(1, 0o755, 0, 0, 0, 0, 0).bytes()

            def at(name):
                return Packer().opaque(self.directory).opaque(name)

            self.do(9, old, at(old).raw(attributes))
            self.do(14, old, at(old).raw(at(new).bytes()))
            self.do(13, new, at(new))

    def mark(self):
        """What it has done since the last time."""
        with self.lock:
            seen, self.seen = self.seen, {"count": 0, "errors": []}
        return seen
