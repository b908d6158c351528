# SPDX-License-Identifier: GPL-2.0
"""The main job of client tracking, the same with the module and with the stock kernel."""

import time

from ktap import check, equal
from nfs import Client, Server, wait_until

NAMES = {"client-a", "client-b", "client-c"}


def write_all(holders):
    """All write at the same time; the results."""
    for holder in holders:
        holder.ask()
    return [holder.answer() for holder in holders]


def locks_survive(versions, early, lost=()):
    """Three clients, each with a lock, and a server that restarts.

    With `early`, the grace period ends as soon as the last one has reclaimed. `lost` are the
    clients whose records the server drops though they have reclaimed. Returns the server, the
    clients and their lock holders, everything still running.
    """
    server = Server(lease=10 if not early else 30)
    server.set_up()
    server.start_daemon()
    server.start()
    check("without clients on record there is no grace period", not server.in_grace())
    clients = [Client(name, version) for name, version in zip("abc", versions)]
    for client in clients:
        client.mount()
    holders = [client.holder() for client in clients]
    equal("three clients write under their locks", write_all(holders), ["ok"] * 3)
    equal("the database has the three clients", server.records()["current"], NAMES)

    server.restart()
    check("after a restart there is a grace period", server.in_grace())
    equal("the database has the clients as those that may reclaim",
          server.records()["recovery"], NAMES)
    began = time.monotonic()
    equal("all write again under their locks", write_all(holders), ["ok"] * 3)
    equal("the server holds all locks", [server.locks(c.file) for c in clients], [1, 1, 1])
    check("a conflicting lock is refused", not any(server.can_lock(c.file) for c in clients))
    check("the grace period ends", wait_until(lambda: not server.in_grace(), 60))
    took = time.monotonic() - began
    if early:
        check("it ends when all have reclaimed, long before its 30 seconds", took < 15, took)
    else:
        # An NFSv4.0 client does not say that it has reclaimed all.
        check("it lasts its time, as nobody can know that all have reclaimed", took > 5, took)
    wait_until(lambda: server.records()["recovery"] == set(), 5)
    equal("after it, the database has no one left to reclaim",
          server.records(), {"current": NAMES - set(lost), "recovery": set()})
    equal("all still write under their locks", write_all(holders), ["ok"] * 3)
    return server, clients, holders


def stop(server, clients, holders):
    """Ends everything that locks_survive() left."""
    for holder in holders:
        holder.stop()
    for client in clients:
        client.umount()
    server.stop()
    server.stop_daemon()


def with_module(versions, early):
    """The same, by the module, which says so."""
    server, clients, holders = locks_survive(versions, early)
    status = server.status()
    equal("the module did it", status["state"], "active")
    equal("with its daemon, in the version that it knows", (status["daemon"], status["version"]),
          ("present", server.recorder.version))
    # They were created before the restart; after it each says again what it had.
    equal("upcalls after the restart",
          [status[c] for c in ("get_version", "grace_start", "create", "remove", "grace_done")],
          [1, 1, 3, 0, 1])
    equal("nothing is left in flight, nothing failed",
          [status[c] for c in ("in_flight", "timed_out", "bad_downcalls", "reclaims_refused")],
          [0, 0, 0, 0])
    stop(server, clients, holders)
    equal("a server that is stopped has no tracking", server.status()["state"], "off")
