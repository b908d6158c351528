# SPDX-License-Identifier: GPL-2.0
"""A client tracking daemon to play with: the daemon's side of the cld pipe.

The message format is that of include/uapi/linux/nfsd/cld.h, and for version 3 of include/uapi/nfsd_ha_cld.h.
"""

import os
import select
import struct
import threading
import time

from nfs import SLOW, patience

PIPE = "/run/rpc_pipefs/nfsd/cld"
CREATE, REMOVE, CHECK, GRACE_DONE, GRACE_START, GET_VERSION, HOLD, UNHOLD, ALL_HELD = range(9)
EINPROGRESS = 115
NAME_MAX, HASH_MAX = 1024, 32
LENGTH = {1: 8 + 2 + NAME_MAX, 2: 8 + 2 + NAME_MAX + 1 + HASH_MAX}
(NAME, PRINCIPAL, MINOR, ADDRESS, EPOCH, EXPORT, FILE_SYSTEM, UNTIL, HOLDERS, HOLDS,
 KNOWN) = range(1, 12)
FOR_EVER = 2**64 - 1
QUESTION, ANSWER = b"nfsd-ha?", b"nfsd-ha!"


def attributes(*pairs):
    """Attributes of version 3: pairs of a type and bytes."""
    return b"".join(struct.pack("=HH", kind, len(value)) + value for kind, value in pairs)


def read_attributes(data):
    """The attributes behind a header, as a dictionary."""
    found = {}
    while data:
        kind, length = struct.unpack_from("=HH", data)
        assert kind not in found and len(data) >= 4 + length, data
        found[kind] = data[4 : 4 + length]
        data = data[4 + length :]
    return found


class Upcall:
    """An upcall, as read from the pipe."""

    def __init__(self, data):
        self.data = data
        self.version, self.command, self.status, self.xid = struct.unpack_from("=BBhI", data)
        if self.version == 3:
            self.attributes = read_attributes(data[8:])
            self.name = self.attributes.get(NAME, b"")
            return
        self.asks_for_3 = self.command == GET_VERSION and data[9:17] == QUESTION
        (length,) = struct.unpack_from("=H", data, 8)
        self.name = b"" if self.command == GET_VERSION else data[10 : 10 + length]

    def answer(self, status=0, command=None, xid=None, first=None, name=None, length=None,
               princhash=b"", hash_length=None):
        """The bytes of a downcall for this upcall, with whatever is to be wrong in it."""
        message = bytearray(self.data)
        command = self.command if command is None else command
        xid = self.xid if xid is None else xid
        struct.pack_into("=BBhI", message, 0, self.version, command, status, xid)
        if first is not None:
            message[8] = first
        if name is not None:
            struct.pack_into("=H", message, 8, len(name) if length is None else length)
            message[10 : 10 + len(name)] = name
            if self.version >= 2:
                at = 10 + NAME_MAX
                message[at] = len(princhash) if hash_length is None else hash_length
                message[at + 1 : at + 1 + len(princhash)] = princhash
        return bytes(message)

    def answer_3(self, status=0, *pairs, command=None, xid=None):
        """The bytes of a downcall of version 3, with attributes."""
        command = self.command if command is None else command
        xid = self.xid if xid is None else xid
        return struct.pack("=BBhI", 3, command, status, xid) + attributes(*pairs)

    def agree(self, epoch, highest=3, whose=ANSWER):
        """The answer to GetVersion of a daemon that knows version 3."""
        message = bytearray(self.answer(first=highest))
        message[9:17] = whose
        message[17:33] = epoch
        return bytes(message)


class Pipe:
    """The pipe, open for reading and writing."""

    def __init__(self, path=PIPE):
        self.fd = os.open(path, os.O_RDWR)

    def read(self, timeout=None):
        """The next upcall; None if none comes in `timeout` seconds, or at all."""
        limit = patience(20) if timeout is None else timeout * SLOW
        if not select.select([self.fd], [], [], limit)[0]:
            return None
        data = os.read(self.fd, 4096)
        return Upcall(data) if data else None

    def write(self, message):
        """Writes a downcall; the errno, or 0."""
        try:
            written = os.write(self.fd, message)
        except OSError as e:
            return e.errno
        assert written == len(message), f"{written} of {len(message)} bytes were taken"
        return 0

    def close(self):
        """Closes the pipe."""
        os.close(self.fd)

    def serve(self, records=(), version=2, until=GRACE_DONE, timeout=None):
        """Answers upcalls as a good daemon does, up to and with one of command `until`."""
        while True:
            upcall = self.read(timeout)
            assert upcall, "no upcall came"
            if upcall.command == GRACE_START:
                for name, princhash in records:
                    record = upcall.answer(-EINPROGRESS, name=name, princhash=princhash)
                    assert self.write(record) == 0
            first = version if upcall.command == GET_VERSION else None
            assert self.write(upcall.answer(first=first)) == 0
            if upcall.command == until:
                return upcall


class Daemon:
    """A daemon that answers in a thread, until it is closed.

    `answer` is called with each upcall: what it returns is the status to answer with, None to
    be silent. `said` has what was answered: the command and the name. The pipe must come `within` so
    many seconds. One of version 3 is at an epoch, and begins another when a server starts.
    """

    def __init__(self, path=PIPE, answer=lambda upcall: 0, records=(), version=2, within=None,
                 epoch=bytes(16)):
        end = time.monotonic() + (patience(20) if within is None else within * SLOW)
        while not os.path.exists(path):
            assert time.monotonic() < end, f"{path} did not come"
            time.sleep(0.02)
        self.pipe = Pipe(path)
        self.answer, self.records, self.version, self.epoch = answer, records, version, epoch
        self.said, self.read, self.refused = [], [], []
        self.closing = False
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while not self.closing:
            try:
                upcall = self.pipe.read(0.05)
            except BrokenPipeError:
                return  # the server has stopped
            if upcall:
                self.read.append(upcall)
                status = self.answer(upcall)
                if status is not None:
                    self.say(upcall, status)

    def say(self, upcall, status=0):
        """Answers an upcall; the errno of the write, or 0."""
        error = self._say_3(upcall, status) if upcall.version == 3 else self._say(upcall, status)
        if error:
            self.refused.append((upcall.command, upcall.name, error))
        else:
            self.said.append((upcall.command, upcall.name))
        return error

    def _say(self, upcall, status):
        if upcall.command == GRACE_START and status == 0:
            for name in self.records:
                self.pipe.write(upcall.answer(-EINPROGRESS, name=name))
        first = self.version if upcall.command == GET_VERSION else None
        if first == 3 and status == 0:
            return self.pipe.write(upcall.agree(self.epoch))
        return self.pipe.write(upcall.answer(status, first=first))

    def _say_3(self, upcall, status):
        if upcall.command != GRACE_START or status != 0:
            return self.pipe.write(upcall.answer_3(status))
        for at in range(0, len(self.records), 100):
            names = [(NAME, name) for name in self.records[at : at + 100]]
            self.pipe.write(upcall.answer_3(-EINPROGRESS, *names))
        self.epoch = os.urandom(16)
        return self.pipe.write(upcall.answer_3(0, (EPOCH, self.epoch)))

    def close(self):
        """Goes away, whatever it has read."""
        self.closing = True
        self.thread.join(10)
        self.pipe.close()
