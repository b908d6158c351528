# SPDX-License-Identifier: GPL-2.0
"""Real clients of NFSv4.0, 4.1 and 4.2, each with a net namespace and a name, and processes that write under locks."""

import os
import subprocess
import sys
import time

from ktap import check
from nfs import patience, sh, wait_until
from worklog import Worklog

VERSIONS = ("4.0", "4.1", "4.2")
BEGAN = time.monotonic()


def number_of_clients(usual):
    """How many clients to have: as the word clients=N says, or as many as usual."""
    return next((int(word.removeprefix("clients=")) for word in sys.argv[1:] if word.startswith("clients=")), usual)


def say(text):
    """A line that tells what happens."""
    print(f"# {time.monotonic() - BEGAN:6.1f} s  {text}", flush=True)


class Client:
    """A client: a net namespace with an address, in which file systems are mounted and processes run."""

    count = 0

    def __init__(self, name, version):
        Client.count += 1
        self.name, self.version = name, version
        sh(f"mkdir -p /run/netns; ip netns add {name}; ip link add {name} link eth0 type macvlan mode bridge; "
           f"ip link set {name} netns {name}")
        self.run(f"ip link set lo up; ip addr add 10.77.0.{100 + Client.count}/24 dev {name}; ip link set {name} up")

    def enter(self, command):
        """The command that does it in the client's place."""
        return f"nsenter --net=/run/netns/{self.name} unshare --uts sh -ec 'hostname {self.name}; {command}'"

    def run(self, command):
        """Does it in the client's place."""
        return sh(self.enter(command))

    def mount(self, source, to):
        """Mounts an export; where."""
        path = f"/mnt/{self.name}-{to}"
        os.makedirs(path, exist_ok=True)
        self.run(f"mount -t nfs -o vers={self.version},hard {source} {path}")
        return path

    def start(self, *words):
        """Starts a process of lock-worker.py."""
        # pylint: disable-next=consider-using-with
        return subprocess.Popen(self.enter(f"exec python3 /test/lib/lock-worker.py {' '.join(words)}"), shell=True,
                                process_group=0)


class Writer:
    """A process that writes to a locked file."""

    def __init__(self, client, path, pause=0.5):
        self.client, self.path = client, path
        self.file = os.path.basename(path)
        self.name = f"{client.name}{path.replace('/', '_')}"
        self.log = Worklog(f"/tmp/{self.name}.log")
        self.process = client.start("write", path, self.log.path, str(pause))

    def writes(self, since=0.0):
        """The writes that ended after a time: begin, end, result."""
        return self.log.since(since)

    def wrote(self, since=0.0):
        """How often it has written after a time."""
        return sum(result == "ok" for _, _, result in self.writes(since))

    def errors(self, since=0.0):
        """What went wrong."""
        return {result for _, _, result in self.writes(since)} - {"ok"}

    def longest(self, since):
        """The longest time without a write that succeeded."""
        ends = [since] + [end for _, end, result in self.writes(since) if result == "ok"] + [time.monotonic()]
        return max(after - before for before, after in zip(ends, ends[1:]))

    def end(self):
        """Ends it."""
        sh(f"pkill -KILL -g {self.process.pid}")
        self.process.wait(patience(60))


# What a writer locks.
RANGES = ("0-1099511627775", "2199023255552-EOF")


def ranges(writers):
    """What a server has locked for them, as `Node.locked()` says it."""
    return sorted(f"{writer.file} {one}" for writer in writers for one in RANGES)


def failures(writers, since=0.0):
    """Which writers' writes failed after a time, and how."""
    return {writer.name: writer.errors(since) for writer in writers if writer.errors(since)}


def await_writers(writers, what, since=0.0):
    """Waits until all have written after a time."""
    check(what, wait_until(lambda: all(w.wrote(since) for w in writers), 90),
          [w.name for w in writers if not w.wrote(since)])


def make_clients(name, count):
    """Clients of all versions."""
    return [Client(f"{name}{number}", VERSIONS[number % len(VERSIONS)]) for number in range(count)]
