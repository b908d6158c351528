# SPDX-License-Identifier: GPL-2.0
"""An end client of the scenarios of re-export: its mounts, and processes that lock."""

import os

from nfs import sh
from v3 import Locker


class User:  # pylint: disable=too-few-public-methods
    """A user of the machine that this runs on, as a client of v3.Locker."""

    def __init__(self, number):
        self.number = number

    def command(self, *words):
        """The command that does it."""
        return ["setpriv", f"--reuid={self.number}", f"--regid={self.number}", "--clear-groups", *words]


def prepare():
    """What a client of NLM runs."""
    sh("modprobe nfsv3; rpcbind -w; rpc.statd --no-notify")


def mount(server, version, names=("one", "two")):
    """Mounts exports of a server by a version; the directory that has them by their names."""
    at = f"/mnt/{server}-{version}"
    for name in names:
        path = f"/srv/root/{name}" if version == "3" else f"/{name}"
        os.makedirs(f"{at}/{name}", exist_ok=True)
        sh(f"mount -t nfs -o vers={version},timeo=50,nosharecache {server}:{path} {at}/{name}")
    return at


def process(user=0, *words):
    """A process of this machine that locks."""
    return Locker(User(user), *words)
