#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: once=yes timeout=180 module=ship
"""Who reclaims an open that had no delegation: with the stock code it gets one for writing, under which it could lock what
another client has not reclaimed yet. With the module it gets none."""

from ktap import check, done, equal
from nfs import Server, load, sh, wait_until
from nfs4 import BOTH, Nfs4, Op
from rpc import Packer

TYPES = {0: "none", 1: "read", 2: "write", 3: "none"}


def _type(answer):
    """The kind of delegation that an OPEN has brought."""
    answer.fixed(16 + 20 + 4)
    for _ in range(answer.uint()):
        answer.uint()
    return TYPES[answer.uint()]


class Client(Nfs4):
    """A client that says nothing of delegations as it reclaims, as Linux does."""

    def come(self):
        """It is there, or comes back after a restart of the server."""
        assert wait_until(lambda: self.establish() == "OK", 20)

    def reclaim_previous(self, fh, had=0):
        """OPEN with CLAIM_PREVIOUS of one that had a kind of delegation: the status and the kind that it gets."""
        arguments = Packer().uint(0, BOTH, 0).raw(self._owner(f"{self.name}-again")).raw(bytes(4)).uint(1, had)
        status, results = self.compound(Op(22, Packer().opaque(fh).bytes(), None), Op(18, arguments.bytes(), _type))
        return status, results[-1] if status == "OK" else None


def reclaim(had):
    """The server restarts while two clients have a lock each on one file: what comes of it as they reclaim, and the locks in
    the end."""
    one, two = (Client(1, "127.0.0.1", f"delegated-{name}") for name in ("one", "two"))
    for number, client in enumerate((one, two)):
        client.come()
        assert client.reclaim_complete() == "OK"
        opened = client.open(client.path("/"), "file")
        assert client.lock(opened, 10 * number).status == "OK"
    fh = opened.fh
    server.restart()
    for client in (one, two):
        client.come()
    got = one.reclaim_previous(fh, had)
    reopened = two.open_reclaim(fh)
    locked = two.lock(reopened, 10, reclaim=True).status if reopened.status == "OK" else None
    for client in (one, two):
        client.reclaim_complete()
        client.destroy_session()
        client.destroy_clientid()
    assert wait_until(lambda: not server.in_grace(), 60)
    return got, reopened.status, locked


server = Server()
server.set_up()
sh("sysctl -q fs.leases-enable=1")
server.start_daemon()
server.start()
assert wait_until(lambda: not server.in_grace(), 60)
equal("with the stock code, who reclaims an open gets it delegated for writing; the other one waits",
      reclaim(0), (("OK", "write"), "DELAY", None))
load()
equal("with the module it does not, and the other one reclaims", reclaim(0), (("OK", "none"), "OK", "OK"))
equal("who had it delegated, has it again", reclaim(2)[0], ("OK", "write"))
server.stop()
server.stop_daemon()
check("the module is in force to the end", "nfsd_ha" in sh("lsmod"))
done()
