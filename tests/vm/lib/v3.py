# SPDX-License-Identifier: GPL-2.0
"""An NFSv3 server with several exports, and clients whose processes hold locks.

The server and the clients are those of lib.sh: each client is a net namespace with its own rpcbind
and rpc.statd. To each the server has another address. It must: the kernel's NLM client looks for the
lock that a GRANTED call is about by the server's address, the file, the range and the owner's number,
and not by its net namespace (nlmclnt_grant()). The owners of each namespace are numbered from 0, so
that with one address a client is told that it has a lock that another one was granted.
"""

import errno
import json
import os
import re
import select
import subprocess
import time

from control import release
from nfs import patience, sh

CONTROL = "/proc/fs/nfsd"
GRACE = 10  # lockd's, after the server's start: the shortest that it can have


def lib(command, timeout=120):
    """Runs a command of lib.sh."""
    return sh(f". /test/lib/lib.sh; {command}", timeout=timeout)


class Export:
    """A file system of its own, exported with an fsid number."""

    def __init__(self, name, fsid):
        self.name, self.fsid, self.path = name, fsid, f"/srv/root/{name}"
        lib(f"new_export {name} {fsid}")
        self.device = os.stat(self.path).st_dev

    def make_files(self, number):
        """Creates files that clients may write to."""
        for n in range(number):
            os.close(os.open(f"{self.path}/f{n}", os.O_CREAT | os.O_WRONLY, 0o666))

    def locks(self):
        """The locks on this file system, sorted: those in /proc/locks, without their numbers.

        A lock whose owner has the number 0 is not in that file: locks_show() leaves it out. The
        first owner of a Linux client has it (see Client).
        """
        device = f" {os.major(self.device):02x}:{os.minor(self.device):02x}:"
        with open("/proc/locks", encoding="ascii") as f:
            return sorted(re.sub(r"^\d+:\s+", "", line.rstrip()) for line in f if device in line)

    def unexport_and_umount(self):
        """Takes it out of service; how long that took, and what umount said."""
        began = time.monotonic()
        output = sh(f"exportfs -u '*:{self.path}'; umount {self.path}", check=False).strip()
        return time.monotonic() - began, output


def start(exports):
    """Starts the server with exports (name, fsid), and waits for the end of its grace period."""
    lib(f"GRACE={GRACE} start_server")
    began = time.monotonic()
    made = [Export(*export) for export in exports]
    return made, began + GRACE + 1


class Client:
    """A client with its own net namespace; an export NAME is at /mnt/NAME of its own mounts.

    It talks to the server over IPv4, or IPv6.
    """

    count = 0

    def __init__(self, name, exports, ipv6=False):
        Client.count += 1
        self.name = name
        lib(f"client_ns {name}")
        with open(f"/run/client/{name}.pid", encoding="ascii") as f:
            self.pid = int(f.read())
        if ipv6:
            self.server, self.address = f"fd99::{100 + Client.count}", f"fd99::{Client.count}"
            sh(f"ip addr add {self.server}/64 dev clients nodad; "
               f"nsenter -t {self.pid} --net ip addr add {self.address}/64 dev eth0 nodad")
            host, options = f"[{self.server}]", "proto=tcp6"
        else:
            self.server = host = f"10.99.0.{100 + Client.count}"
            address = sh(f"ip addr add {self.server}/24 dev clients; nsenter -t {self.pid} --net ip -4 -o addr show eth0")
            self.address, options = re.search(r"inet ([\d.]+)", address).group(1), ""
        for export in exports:
            lib(f'in_client {name} sh -c ". /test/lib/lib.sh; SERVER={host} '
                f'mount_client 3 {export.name} /mnt/{export.name} {options}"')
        # The number 0 of its first owner is used up, so that /proc/locks shows all others.
        path = f"/mnt/{exports[0].name}/.first-owner"
        with Locker(self) as first:
            assert first.lock(path, "w", 0, 1) == "ok", "no lock for the first owner"

    def command(self, *words):
        """The words of a command that runs in the client."""
        return ["nsenter", "-t", str(self.pid), "--net", "--mount", "--uts", *words]


class Locker:
    """A process on a client that takes and drops locks when told: one lock owner."""

    def __init__(self, client, *words):
        # pylint: disable-next=consider-using-with
        self.process = subprocess.Popen(
            client.command("python3", "/test/lib/locker.py", *words), stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def ask(self, *request):
        """Sends a request without waiting for its answer."""
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()

    def answer(self):
        """The answer to the oldest request that has none yet: 'ok', or an error's name."""
        return self.process.stdout.readline().strip()

    def lock(self, path, kind, first, length, wait=False):
        """Takes a lock, 'r' or 'w', drops it, 'u', or tests for it, 't'; one that is in the way is EAGAIN."""
        self.ask(path, kind, first, length, wait)
        return self.answer()

    def many(self, requests):
        """Takes a list of (path, kind, first, length); the set of the answers."""
        return set(self.each(requests))

    def each(self, requests):
        """The same; the answers in a list."""
        self.process.stdin.write("".join(json.dumps([*r, False]) + "\n" for r in requests))
        self.process.stdin.flush()
        return [self.answer() for _ in requests]

    def stop(self):
        """Ends, which drops all its locks."""
        self.process.stdin.close()
        self.process.wait(patience(60))


def unlock(fsid):
    """Writes an fsid to nlm_unlock: the error's number or 0, what reading it back says, seconds."""
    began = time.monotonic()
    result, answer = release(f"{fsid}\n")
    return getattr(errno, result, 0), answer, time.monotonic() - began


def answered(locker):
    """Has a locker answered what it was asked?"""
    return bool(select.select([locker.process.stdout], [], [], 0)[0])


def has(name):
    """Is one of the module's files there?"""
    return os.path.exists(f"{CONTROL}/{name}")


def sleep_until(moment):
    """Sleeps until a moment of the monotonic clock."""
    time.sleep(max(0, moment - time.monotonic()))
