# SPDX-License-Identifier: GPL-2.0
"""The module's control files in /proc/fs/nfsd."""

import errno
import os

FILES = ("client_tracking", "drain", "floating_addresses", "fsid_grace", "nfs4_clients", "nlm_clients",
         "nlm_set_ip_grace", "nlm_unlock", "originals", "reclaim_clients")
# What a release says that found nothing, beside the scope.
NOTHING = {"locks": 0, "blocks": 0, "shares": 0, "files": 0, "clients": 0, "nfs4_opens": 0,
           "nfs4_locks": 0, "nfs4_delegations": 0, "nfs4_layouts": 0, "nfs4_clients": 0}


def command(name, data, directory="/proc/fs/nfsd"):
    """Writes a command; returns 'ok' or the error's name, and what the same open file shows then."""
    fd = os.open(f"{directory}/{name}", os.O_RDWR | os.O_NONBLOCK)
    try:
        try:
            os.write(fd, data.encode() if isinstance(data, str) else data)
            result = "ok"
        except OSError as e:
            result = errno.errorcode[e.errno]
        return result, os.read(fd, 1 << 20).decode()
    finally:
        os.close(fd)


def read(name, directory="/proc/fs/nfsd"):
    """What a file shows."""
    with open(f"{directory}/{name}", encoding="ascii") as f:
        return f.read()


def release(scope, directory="/proc/fs/nfsd"):
    """Releases a scope; returns what was released, by key but for `holds`, or what is in the way as 'busy'."""
    result, text = command("nlm_unlock", scope, directory)
    answer = dict(line.split(" ", 1) for line in text.splitlines())
    answer.pop("holds", None)
    return result, {k: int(v) if v.isdigit() else v for k, v in answer.items()}


def clients(directory="/proc/fs/nfsd"):
    """The lines of nlm_clients, each as (fsid, server, client, version, locks, blocks, shares, name)."""
    lines = [line.split() for line in read("nlm_clients", directory).splitlines()[1:]]
    return [(f, s, c, *map(int, counts), name) for f, s, c, *counts, name, _ in lines]


def sequence():
    """The number of the last change of nlm_clients."""
    return int(read("nlm_clients").split()[1])
