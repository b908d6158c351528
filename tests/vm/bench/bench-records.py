#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: timeout=3000 mem=1536 module=ship disk=data:512M
"""Records on a disk: the stock kernel with nfsdcld, and ours with nfsd-had.

How many clients a second are put on record, how long a restart takes with many of them, and what a start costs
nfsd-had that has very many.
"""

import contextlib
import re
import shutil
import sqlite3
import subprocess

import recorders
from bench import OURS, PREFIX, QUICK, STOCK, BenchServer, attach, checked, report
from ktap import check, done
from load import CpuTime, load
from nfs import sh, wait_until

ONE, MANY, BACK, ROUNDS = (50, 200, 300, 1) if QUICK else (200, 2_000, 10_000, 3)
RECORDS = (1_000, 10_000) if QUICK else (100_000, 1_000_000)
BESIDE = 10_000
DISK = "/srv/data"
LOG = "/tmp/nfsd-had.log"
DAEMONS = {STOCK: recorders.Nfsdcld, OURS: recorders.NfsdHad}


class Recorded(BenchServer):
    """A server whose records are on the disk."""

    def begin_with(self, side):
        """Starts the side's daemon, with nobody on record, and the server."""
        attach(side)
        self.state = f"{DISK}/{side}"
        shutil.rmtree(self.state, ignore_errors=True)
        sh(f"mkdir -p {self.state}; sync")
        self.recorder = DAEMONS[side](self.state)
        self.start_daemon()
        self.start_threads()

    def start_daemon(self):
        with open(LOG, "w", encoding="utf-8") as log:
            # pylint: disable-next=consider-using-with
            self.daemon = subprocess.Popen(self.recorder.command(self.pipefs).split(), stderr=log)
        wait_until(lambda: succeeds_to_talk(self), 1, 0.05)

    def end_with(self):
        """Stops both."""
        sh("rpc.nfsd 0")
        self.stop_daemon()


def succeeds_to_talk(server):
    """Has the daemon opened its file?"""
    return sh(f"test -e {server.recorder.file} && echo yes || true") == "yes\n"


def disk():
    """The disk's writes and its flushes so far."""
    fields = sh("cat /sys/block/$(basename $(readlink -f /dev/disk/data))/stat").split()
    return int(fields[4]), int(fields[15])


def rate(side, row, clients, in_flight):
    """How many clients a second are recorded."""
    load("session,complete", 20, in_flight, prefix=f"warm-{in_flight}-")
    before = disk()
    with CpuTime("nfsd", "nfsdcld", "nfsd-had") as cpu:
        steps = load("session,complete", clients, in_flight, prefix=f"{PREFIX}{in_flight}-")
    writes, flushes = (now - then for now, then in zip(disk(), before))
    report(row, side, steps["complete"]["rate"], unit="/s",
           note=f"{cpu.each(clients)}, {writes / clients:.1f} writes and {flushes / clients:.2f} flushes")


def restart(side):
    """How long it takes from a restart until all clients have reclaimed."""
    load("session,complete,open", BACK, 64, verifier="1", prefix="back-")
    sh("rpc.nfsd 0")
    took = server.start_threads()
    steps = load("session,reclaim-open,complete", BACK, 64, verifier="1", prefix="back-")
    seconds = sum(step["seconds"] for step in steps.values())
    wait_until(lambda: not server.in_grace(), 60)
    checked("all are on record again", len(server.records()["current"]) >= BACK, len(server.records()["current"]))
    report("records-restart", side, took + seconds, unit="s", clients=BACK, note=f"nfsd runs after {took:.2f} s")


def fill(records):
    """Puts very many on record, as if they had come in an epoch before."""
    with contextlib.closing(sqlite3.connect(server.recorder.file, isolation_level=None)) as file:
        file.executescript(f"""PRAGMA synchronous = OFF; BEGIN; DELETE FROM clients; DELETE FROM epochs;
            INSERT INTO epochs (epoch, started, ended) VALUES (1, 0, 0);
            WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {records})
            INSERT INTO clients (name, since, epoch)
            SELECT CAST(printf('{PREFIX}%07d', i) AS BLOB), 0, 1 FROM n;
            COMMIT; PRAGMA wal_checkpoint(TRUNCATE)""")


def start(records, row="records-start"):
    """Starts a server with very many on record."""
    attach(OURS)
    fill(records)
    server.start_daemon()
    server.start_threads(900)
    checked("all may reclaim", server.status()["records_known"] == records, server.status())
    with open(LOG, encoding="utf-8") as log:
        (seconds,) = re.findall(r"told in ([\d.]+) s", log.read())
    report(row, OURS, float(seconds), unit="s", records=records)
    with open(f"/proc/{server.daemon.pid}/status", encoding="ascii") as status:
        (most,) = re.findall(r"VmHWM:\s+(\d+) kB", status.read())
    server.end_with()
    return int(most) * 1024


sh(f"mkdir -p {DISK}; mount /dev/disk/data {DISK}")
server = Recorded(threads=80)
server.set_up()
for turn in range(ROUNDS):
    for side in (STOCK, OURS):
        server.begin_with(side)
        rate(side, "records-one", ONE, 1)
        rate(side, "records-many", MANY, 64)
        if turn == 0:
            restart(side)
        server.end_with()
        print(f"# {turn + 1} of {ROUNDS}, {side}", flush=True)
for turn in range(ROUNDS):
    for count in RECORDS:
        memory = start(count)
        if count == RECORDS[-1]:
            start(BESIDE, row="records-start-beside")
            report("records-memory", OURS, memory, unit="B", records=count)
    start(BESIDE)
check("clients were recorded, and told of", True)
done()
