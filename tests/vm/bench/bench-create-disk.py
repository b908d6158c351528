#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: timeout=900 module=ship disk=data:256M
"""How many clients a second are put on record by nfsdcld with its database on a disk, 64 at once."""

import shutil

from bench import OURS, QUICK, STOCK, BenchServer, attach, checked, report
from ktap import check, done
from load import CpuTime, load
from nfs import sh

CLIENTS, ROUNDS = (100, 1) if QUICK else (500, 3)
DISK = "/var/lib/nfs/nfsdcld"


def disk():
    """The disk's writes, its flushes and the milliseconds it was busy, so far."""
    fields = sh("cat /sys/block/$(basename $(readlink -f /dev/disk/data))/stat").split()
    return int(fields[4]), int(fields[15]), int(fields[9])


sh(f"mkdir -p {DISK}; mount /dev/disk/data {DISK}")
server = BenchServer(threads=80)
server.state = f"{DISK}/state"
server.set_up()
for turn in range(ROUNDS):
    for side in (STOCK, OURS):
        shutil.rmtree(server.state)
        attach(side)
        sh(f"mkdir {server.state}")
        server.start_daemon()
        server.start_threads()
        load("session,complete", 20, 64, prefix="warm-")
        before = disk()
        with CpuTime("nfsd", "nfsdcld") as cpu:
            steps = load("session,complete", CLIENTS, 64)
        writes, flushes, busy = (now - then for now, then in zip(disk(), before))
        stored = len(server.records()["current"])
        checked("each was recorded", stored == CLIENTS + 20, stored)
        sh("rpc.nfsd 0")
        server.stop_daemon()
        report("create-disk", side, steps["complete"]["rate"], unit="/s",
               note=f"{cpu.each(CLIENTS)}, "
                    f"the disk {busy / CLIENTS * 1e3:.0f} us for {writes / CLIENTS:.1f} writes and "
                    f"{flushes / CLIENTS:.1f} flushes")
check("clients were recorded on a disk", True)
done()
