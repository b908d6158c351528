# SPDX-License-Identifier: GPL-2.0
"""Who believes to hold which lock: a table in memory that all processes of the storm share.

The clients of a test are processes of one kernel, so this needs neither NFS nor the server. A
process marks what it has been granted, and takes the mark away before it unlocks: two marks that
conflict are two locks that conflict, at the same time.
"""

import collections
import contextlib
import fcntl
import mmap
import os
import struct
import time

PATH = "/dev/shm/storm"
LOG = "/dev/shm/storm.log"
FILES, UNITS, SIZE = 4, 12, 100  # files, units a file, bytes a unit
READ, WRITE = 1, 2
CELLS = 64  # where the table begins
COUNTERS = ("locks", "refused", "errors", "conflicts", "lost", "checked", "kills", "longest")
HOLD = struct.Struct("=4B")  # kind, file, first unit, units
SLOT = HOLD.size + 4 + 8 * len(COUNTERS)

Hold = collections.namedtuple("Hold", "kind file first units")


class Table:
    """The table for a number of processes; the first one makes it."""

    def __init__(self, processes, create=False):
        self.processes = processes
        self.slots = CELLS + FILES * UNITS * processes
        size = self.slots + SLOT * processes
        if create:
            with open(PATH, "wb") as f:
                f.truncate(size)
            with open(LOG, "wb"):
                pass
        self.fd = os.open(PATH, os.O_RDWR)
        self.map = mmap.mmap(self.fd, size)

    @contextlib.contextmanager
    def _locked(self):
        # Of this open file, thus of this process: a local lock, which ends with the process.
        fcntl.flock(self.fd, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self.fd, fcntl.LOCK_UN)

    # What the storm does: byte 0 says that it ends, 1 that a release is under way, 4 to 7 count them.

    @property
    def stopped(self):
        """Is it over?"""
        return self.map[0] != 0

    def stop(self):
        """Tells all to end."""
        self.map[0] = 1

    def quiet(self):
        """The number of the last release, or None while one is under way."""
        return None if self.map[1] else struct.unpack_from("=I", self.map, 4)[0]

    def begin(self):
        """A release begins."""
        with self._locked():
            struct.pack_into("=I", self.map, 4, struct.unpack_from("=I", self.map, 4)[0] + 1)
            self.map[1] = 1

    def end(self):
        """It is over, and all locks should be there again."""
        self.map[1] = 0

    # Marks

    def mark(self, me, hold):
        """Says that `me` has a lock; the processes whose locks conflict with it."""
        found = set()
        with self._locked():
            for unit in range(hold.first, hold.first + hold.units):
                row = CELLS + (hold.file * UNITS + unit) * self.processes
                for other in range(self.processes):
                    mark = self.map[row + other]
                    if other != me and mark and WRITE in (mark, hold.kind):
                        found.add(other)
                self.map[row + me] = hold.kind
            HOLD.pack_into(self.map, self.slots + SLOT * me, *hold)
        return found

    def unmark(self, me):
        """Says that `me` has no lock any more, or is about to lose it."""
        with self._locked():
            for row in range(CELLS + me, self.slots, self.processes):
                self.map[row] = 0
            HOLD.pack_into(self.map, self.slots + SLOT * me, 0, 0, 0, 0)

    def holds(self):
        """What all processes have at this moment."""
        with self._locked():
            all_of_them = [Hold(*HOLD.unpack_from(self.map, self.slots + SLOT * n))
                           for n in range(self.processes)]
        return {n: hold for n, hold in enumerate(all_of_them) if hold.kind}

    # Counters, each of one process

    def _counter(self, me, name):
        return self.slots + SLOT * me + HOLD.size + 4 + 8 * COUNTERS.index(name)

    def count(self, me, name, number=1):
        """Adds to a counter of `me`."""
        at = self._counter(me, name)
        struct.pack_into("=Q", self.map, at, struct.unpack_from("=Q", self.map, at)[0] + number)

    def longest(self, me, seconds):
        """Keeps the longest wait of `me`, in milliseconds."""
        at, value = self._counter(me, "longest"), int(seconds * 1000)
        if value > struct.unpack_from("=Q", self.map, at)[0]:
            struct.pack_into("=Q", self.map, at, value)

    def counter(self, me, name):
        """A counter of a process."""
        return struct.unpack_from("=Q", self.map, self._counter(me, name))[0]


def say(text):
    """Writes a line to the log that all share."""
    with open(LOG, "a", encoding="ascii") as f:
        f.write(f"{time.monotonic():.3f} {text}\n")


def on_server(path):
    """What the server holds on a storm's files in `path`: a set of holds, by /proc/locks."""
    inodes = {}
    for number in range(FILES):
        stat = os.stat(f"{path}/s{number}")
        device = f"{os.major(stat.st_dev):02x}:{os.minor(stat.st_dev):02x}:{stat.st_ino}"
        inodes[device] = number
    found = set()
    with open("/proc/locks", encoding="ascii") as f:
        for line in f:
            words = line.split()
            if words[1] == "->" or words[5] not in inodes or words[7] == "EOF":
                continue
            kind = WRITE if words[3] == "WRITE" else READ
            first, last = int(words[6]) // SIZE, int(words[7]) // SIZE
            found.add(Hold(kind, inodes[words[5]], first, last - first + 1))
    return found
