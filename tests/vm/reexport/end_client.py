# SPDX-License-Identifier: GPL-2.0
"""An end client of the scenarios of re-export: its mounts, and processes that lock."""

import os

from nfs import sh
from v3 import Locker


class Here:  # pylint: disable=too-few-public-methods
    """The machine that this runs on, as a client of v3.Locker."""

    command = staticmethod(lambda *words: list(words))


def prepare():
    """What a client of NLM runs."""
    sh("modprobe nfsv3; rpcbind -w; rpc.statd --no-notify")


def mount(server, version):
    """Mounts both exports of a server by a version; the directory that has them as `one` and `two`."""
    at = f"/mnt/{server}-{version}"
    for name in ("one", "two"):
        path = f"/srv/root/{name}" if version == "3" else f"/{name}"
        os.makedirs(f"{at}/{name}", exist_ok=True)
        sh(f"mount -t nfs -o vers={version},timeo=50,nosharecache {server}:{path} {at}/{name}")
    return at


def process():
    """A process of this machine that locks."""
    return Locker(Here)
