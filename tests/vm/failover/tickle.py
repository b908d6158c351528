# SPDX-License-Identifier: GPL-2.0
"""Who is connected to a floating address, and how they are told that it has moved.

A client whose server does not answer tries again after ever longer times, up to as long as the server was away. An ACK
with a wrong number from the server's address (a tickle ACK) has it answer at once, and the new server, which knows of
no such connection, reset it. This is what the agent portblock of Pacemaker does, with the same tool.
"""

import threading

from failover import save
from nfs import sh


class Tickle:
    """The connections to an address, in a file that moves with it."""

    # Seconds, as between two calls of an agent's monitor.
    INTERVAL = 5

    def __init__(self, address, path):
        self.address, self.path = address, path
        self.gone = threading.Event()
        self.thread = None

    def watch(self):
        """Writes down who is connected, until `end()`: the other server has that after a crash."""
        self.gone.clear()
        self.thread = threading.Thread(target=self.loop, daemon=True)
        self.thread.start()

    def loop(self):
        """Does so from time to time."""
        while not self.gone.wait(self.INTERVAL):
            self.save()

    def stop(self):
        """Writes no more."""
        self.gone.set()
        self.thread.join()

    def end(self):
        """Writes it down for the last time: the address is about to leave."""
        self.stop()
        self.save()

    def save(self):
        """Writes it down."""
        save(self.path, sh(f"ss -Htn state established src {self.address} | awk '{{ print $3, $4 }}'"))

    def send(self):
        """Has all who were connected come anew: the address is here."""
        sh(f"/usr/libexec/heartbeat/tickle_tcp -n 3 <{self.path}")
