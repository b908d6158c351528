#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: once=yes timeout=120 module=load
"""nfs4load: many clients make themselves known, and reclaim after a restart of the server."""

import json
import os
import signal
import subprocess

from ktap import check, done, equal
from nfs import Server, patience, wait_until

CLIENTS = 50
TRACKED = ("records_known", "records_reclaimed", "records_complete", "reclaims_refused")
NAMES = {f"load-{n:07}" for n in range(CLIENTS)}


def load(steps, *options, clients=CLIENTS):
    """Runs nfs4load; its exit status, and its summary with the steps by name."""
    command = ["/test/nfs4load", "--steps", steps, "--clients", str(clients), "--json", *options]
    result = subprocess.run(command, check=False, text=True, capture_output=True, timeout=patience(60))
    return result.returncode, parse(result.stdout, result.stderr)


def parse(output, errors=""):
    """The summary, with the steps by name."""
    if not output:
        print(f"# nfs4load says: {errors}")
        return {"steps": {}}
    print(f"# {output.strip()}", flush=True)
    summary = json.loads(output)
    summary["steps"] = {step["step"]: step for step in summary["steps"]}
    return summary


def counts(summary):
    """How often each step succeeded."""
    return {name: step["count"] for name, step in summary["steps"].items()}


def fine(*steps, count=CLIENTS):
    """The same, if all succeeded."""
    return {step: count for step in steps}


def lines(path):
    """The lines of a file; none if there is no file."""
    if not os.path.exists(path):
        return []
    with open(path, encoding="ascii") as f:
        return f.read().splitlines()


server = Server(lease=15)
server.set_up()
server.start_daemon()
server.start()

status, seen = load("session,complete,open,lock", "--verifier", "1", "--acked", "/tmp/acked")
equal("50 clients make themselves known, open and lock", (status, counts(seen)),
      (0, fine("session", "complete", "open", "lock")))
equal("the database has them", server.records()["current"], NAMES)
equal("the list of acknowledged clients has them", sorted(lines("/tmp/acked")), sorted(NAMES))
equal("each file is locked", {server.locks(name) for name in NAMES}, {1})

status, seen = load("session,renew", "--verifier", "1")
equal("the same clients once more, with the same verifier", (status, counts(seen)),
      (0, fine("session", "renew")))
equal("they still have their locks", {server.locks(name) for name in NAMES}, {1})

server.restart()
status, seen = load("session,reclaim-open,reclaim-lock", "--verifier", "1")
equal("after a restart all reclaim", (status, counts(seen)),
      (0, fine("session", "reclaim-open", "reclaim-lock")))
tracking = server.status()
equal("the module's counts say so", [tracking[key] for key in TRACKED], [CLIENTS, CLIENTS, 0, 0])
with open(f"{server.directory}/other-0000000", "wb"):
    pass
status, seen = load("session,reclaim-open,reclaim-lock", "--prefix", "other-", clients=1)
equal("a client that is not on record may not",
      (status, seen["steps"]["reclaim-open"]["failed"]), (1, {"RECLAIM_BAD": 1}))
equal("the module has refused it", server.status()["reclaims_refused"], 1)
status, seen = load("session,open", "--verifier", "2", "--give-up", "1.5", clients=1)
equal("a new open waits, and is given up",
      (status, seen["steps"]["open"]["failed"], seen["steps"]["open"]["retried"]["GRACE"] > 2),
      (1, {"GRACE": 1}, True))
equal("all say that they have reclaimed", load("session,complete", "--verifier", "1")[0], 0)
check("the grace period ends at once", wait_until(lambda: not server.in_grace(), 3, patient=False))

server.restart()
status, seen = load("session,reclaim-open,reclaim-lock,complete", "--verifier", "1", "--in-flight",
                    "8", "--connections", "2", "--server", "::1")
equal("after another restart all of that at a stretch, over IPv6", (status, counts(seen)),
      (0, fine("session", "reclaim-open", "reclaim-lock", "complete")))
equal("each file is locked again", {server.locks(name) for name in NAMES}, {1})
wait_until(lambda: not server.records()["recovery"], 5)
equal("the database has all of them", server.records()["current"], NAMES)

status, seen = load("session,complete,open,lock-loop,close,open-loop,destroy", "--prefix",
                    "loop-", "--seconds", "2", clients=10)
equal("loops, and then the clients are gone",
      (status, seen["steps"]["lock-loop"]["count"] > 10, seen["steps"]["open-loop"]["count"] > 10,
       seen["steps"]["destroy"]["count"]), (0, True, True, 10))
equal("also from the database", server.records()["current"], NAMES)

status, seen = load("session,complete,open,lock,renew,unlock,close,destroy", "--phases",
                    "--verifier", "2")
equal("new incarnations of the clients, step by step", (status, seen["failed"]), (0, 0))
equal("when they are destroyed the database has none", server.records()["current"], set())

status, seen = load("session,complete", "--phases", "--in-flight", "64", clients=1000)
equal("1000 clients, 64 of them at a time", (status, counts(seen)),
      (0, fine("session", "complete", count=1000)))
equal("the database has them, too", len(server.records()["current"]), 1000)

# pylint: disable-next=consider-using-with
holder = subprocess.Popen(
    ["/test/nfs4load", "--prefix", "held-", "--clients", "5", "--steps",
     "session,complete,open,lock", "--hold", "100", "--keep-going", "--json", "--quiet",
     "--acked", "/tmp/held"], stdout=subprocess.PIPE, text=True)
held = {f"held-{n:07}" for n in range(5)}
check("five clients are held", wait_until(
    lambda: held <= set(os.listdir(server.directory)) and all(map(server.locks, held)), 20))
equal("the list of acknowledged clients is up to date", set(lines("/tmp/held")), held)
server.restart()
check("clients that are held reclaim by themselves when the server restarts",
      wait_until(lambda: held <= server.records()["current"], 15))
equal("their locks, too", {server.locks(name) for name in held}, {1})
holder.send_signal(signal.SIGTERM)
seen = parse(holder.communicate(timeout=patience(20))[0])
equal("a signal ends it with a summary", (holder.returncode, seen["failed"]), (0, 0))
equal("mistakes on the command line are told",
      [subprocess.run(["/test/nfs4load", *words], check=False, stderr=subprocess.DEVNULL).returncode
       for words in (["--steps", "session,lock"], ["--steps", "session,open,complete"], ["--port", "1"])], [2, 2, 2])
server.stop()
server.stop_daemon()
done()
