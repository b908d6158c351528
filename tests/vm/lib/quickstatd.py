# SPDX-License-Identifier: GPL-2.0
"""A status monitor that does as a test says; if that says nothing, it says yes at once.

rpc.statd compares each new client with all that it monitors, by looking the names of both up: 0.1 s for one with a
hundred others. Where a thousand clients come at once, a test would measure that.
"""

import socket
import socketserver
import threading
import time

from nfs import sh
from rpc import RPCBIND, Packer, Rpc, Unpacker, receive_record, send_record

NSM, TCP = 100024, 6
PROCEDURES = {2: "MON", 3: "UNMON"}


class Handler(socketserver.BaseRequestHandler):
    """A connection of lockd's."""

    def handle(self):
        self.server.statd.connections.append(self.request)
        while record := receive_record(self.request):
            call = Unpacker(record)
            xid, _, _, _, _, procedure, *_ = [call.uint() for _ in range(10)]
            status = self.server.statd.answer(procedure, call.opaque().decode())
            # Accepted, done; the status, and the state is 1.
            send_record(self.request, Packer().uint(xid, 1, 0, 0, 0, 0, status, 1).bytes())


class Server(socketserver.ThreadingTCPServer):
    """Takes lockd's connections."""

    daemon_threads = True

    def handle_error(self, request, client_address):
        """A connection that is gone is none."""


class Statd:
    """It takes rpc.statd's place, or that of another one."""

    def __init__(self):
        # What it was asked, what it takes for an answer, in seconds, and whether it says no.
        self.asked, self.delay, self.refuses = [], 0, False
        self.silent, self.connections = threading.Event(), []
        self.silent.set()
        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.statd = self
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.register()

    def register(self):
        """Tells rpcbind where it is."""
        rpcbind = Rpc(RPCBIND, 2, "127.0.0.1", 111)
        rpcbind.call(2, Packer().uint(NSM, 1, 0, 0).bytes())
        assert rpcbind.call(1, Packer().uint(NSM, 1, TCP, self.server.server_address[1]).bytes()).uint() == 1
        rpcbind.close()

    def answer(self, procedure, name):
        """Answers a call: 0 is yes."""
        self.asked.append((PROCEDURES[procedure], name))
        time.sleep(self.delay)
        self.silent.wait()
        return int(self.refuses)

    def monitored(self):
        """The names that it has been asked to monitor, each once."""
        return sorted({name for what, name in self.asked if what == "MON"})

    def stop(self):
        """It dies, as a process does: nobody listens any more, and all connections end."""
        self.server.shutdown()
        self.server.server_close()
        for connection in self.connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.connections = []


def replace():
    """Takes rpc.statd's place."""
    sh("pkill rpc.statd; rpcinfo -d 100024 1; true")
    return Statd()
