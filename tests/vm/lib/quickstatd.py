# SPDX-License-Identifier: GPL-2.0
"""A status monitor that says yes at once and remembers nobody.

rpc.statd compares each new client with all that it monitors, by looking the names of both up: 0.1 s for one with a
hundred others. Where a thousand clients come at once, a test would measure that.
"""

import socketserver
import threading

from nfs import sh
from rpc import RPCBIND, Packer, Rpc, Unpacker, receive_record, send_record

NSM, TCP = 100024, 6


class Handler(socketserver.BaseRequestHandler):
    """A connection of lockd's."""

    def handle(self):
        while record := receive_record(self.request):
            xid = Unpacker(record).uint()
            # Accepted, done; the status is good, and the state is 1.
            send_record(self.request, Packer().uint(xid, 1, 0, 0, 0, 0, 0, 1).bytes())


def replace():
    """Takes rpc.statd's place."""
    sh("pkill rpc.statd; rpcinfo -d 100024 1; true")
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    rpcbind = Rpc(RPCBIND, 2, "127.0.0.1", 111)
    assert rpcbind.call(1, Packer().uint(NSM, 1, TCP, server.server_address[1]).bytes()).uint() == 1
    rpcbind.close()
