# SPDX-License-Identifier: GPL-2.0
"""Takes very many NLM locks in little time, and measures how long one lock takes.

A raw client of NLM version 4 (Documentation/sunrpc/xdr/nlm4.x) over TCP. NM_LOCK spares the server
its statd, and an emulated CPU is spared most of the work: all calls have the same xid and cookie,
so that all good answers are the same bytes, and the calls for a file differ in its handle only.
"""

import ctypes
import socket
import struct
import time

from nfs import patience, sh

NLM, VERSION, NM_LOCK, UNLOCK = 100021, 4, 22, 4
COOKIE = b"load"
# A record: a reply, accepted, of success, with our cookie and the result 0, granted.
GRANTED = struct.pack(">I6II4sI", 0x80000000 | 36, 7, 1, 0, 0, 0, 0, 4, COOKIE, 0)


def opaque(data):
    """Bytes in XDR."""
    return struct.pack(">I", len(data)) + data + bytes(-len(data) % 4)


def handles(export, number):
    """NFSv3's file handles of the files f0, f1, ... of an export with an fsid number.

    nfsd makes them of its header (version 1, no authentication, FSID_NUM), the fsid, and what the
    file system says, which is also what name_to_handle_at() has.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    buffer, mount = ctypes.create_string_buffer(8 + 128), ctypes.c_int()
    found = []
    for n in range(number):
        struct.pack_into("=Ii", buffer, 0, 128, 0)
        if libc.name_to_handle_at(-100, f"{export.path}/f{n}".encode(), buffer,
                                  ctypes.byref(mount), 0):
            raise OSError(ctypes.get_errno(), "name_to_handle_at")
        length, kind = struct.unpack_from("=Ii", buffer)
        found.append(bytes((1, 0, 1, kind)) + struct.pack("=I", export.fsid) +
                     buffer.raw[8 : 8 + length])
    return found


class Load:
    """A connection to lockd from a privileged port, with a caller's name of its own."""

    def __init__(self, caller, server="127.0.0.1"):
        self.caller = opaque(caller.encode())
        ports = [line.split() for line in sh("rpcinfo -p").splitlines()]
        port = next(int(p[3]) for p in ports if p[:3] == [str(NLM), str(VERSION), "tcp"])
        for own in range(1023, 600, -1):
            self.socket = socket.socket()
            try:
                self.socket.bind(("", own))
                self.socket.connect((server, port))
                break
            except OSError:
                self.socket.close()
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.settimeout(patience(120))

    def calls(self, length, procedure, locks):
        """The calls for one file: pieces to be joined by its handle, which has `length` bytes.

        `locks` are (owner, exclusive, first, length).
        """
        head = struct.pack(">II4I", 7, 0, 2, NLM, VERSION, procedure)
        credentials = opaque(struct.pack(">IIIII", 0, 0, 0, 0, 0))
        head += struct.pack(">I", 1) + credentials + struct.pack(">II", 0, 0) + opaque(COOKIE)
        pieces = [b""]
        for owner, exclusive, first, size in locks:
            before = head + (struct.pack(">II", 0, exclusive) if procedure == NM_LOCK else b"")
            before += self.caller + struct.pack(">I", length)
            after = bytes(-length % 4) + opaque(struct.pack(">I", owner))
            after += struct.pack(">IQQ", owner, first, size)
            after += struct.pack(">II", 0, 1) if procedure == NM_LOCK else b""
            mark = 0x80000000 | len(before) + length + len(after)
            pieces[-1] += struct.pack(">I", mark) + before
            pieces.append(after)
        return pieces

    def many(self, files, locks, procedure=NM_LOCK, window=400):
        """Makes the same calls for each file, many under way; raises unless all are granted."""
        pieces = self.calls(len(files[0]), procedure, locks)
        waiting = 0
        step = max(1, window // len(locks) // 2)
        for start in range(0, len(files), step):
            group = files[start : start + step]
            self.socket.sendall(b"".join(fh.join(pieces) for fh in group))
            waiting += len(group) * len(locks)
            if waiting > window // 2:
                self._granted(waiting - window // 2)
                waiting = window // 2
        self._granted(waiting)

    def _granted(self, number):
        data = bytearray()
        while len(data) < number * len(GRANTED):
            piece = self.socket.recv(number * len(GRANTED) - len(data))
            if not piece:
                raise RuntimeError("the server has closed the connection")
            data += piece
        if data != GRANTED * number:
            bad = next(data[at : at + len(GRANTED)] for at in range(0, len(data), len(GRANTED))
                       if data[at : at + len(GRANTED)] != GRANTED)
            raise RuntimeError(f"not granted: {bad.hex()}")

    def measure(self, files, stop, pause=0.005):
        """Takes and drops a lock of each file in turn until `stop` is set: how long each took."""
        times, lock = [], [(4711, 1, 10**6, 1)]
        number = 0
        while not stop.is_set():
            fh = files[number % len(files)]
            number += 1
            began = time.monotonic()
            self.many([fh], lock)
            times.append(time.monotonic() - began)
            self.many([fh], lock, UNLOCK)
            time.sleep(pause)
        return times
