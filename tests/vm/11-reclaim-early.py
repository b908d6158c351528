#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: timeout=180 module=load
"""Locks survive a restart of the server: NFSv4.1, 4.2, 4.2."""

import reclaim
from ktap import done, equal

server, clients, holders = reclaim.locks_survive(("4.1", "4.2", "4.2"), early=True)
status = server.status()
equal("the module did it", status["state"], "active")
equal("with nfsdcld, in the version that it knows", (status["daemon"], status["version"]),
      ("present", 2))
# They were created before the restart; after it each says again what it had.
equal("upcalls after the restart",
      [status[c] for c in ("get_version", "grace_start", "create", "remove", "grace_done")],
      [1, 1, 3, 0, 1])
equal("nothing is left in flight, nothing failed",
      [status[c] for c in ("in_flight", "timed_out", "bad_downcalls", "reclaims_refused")],
      [0, 0, 0, 0])
reclaim.stop(server, clients, holders)
equal("a server that is stopped has no tracking", server.status()["state"], "off")
done()
