#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: timeout=3000 mem=1536 module=ship
"""Starts of a server with very many clients on record: time, memory, and what a reclaim costs then.

The time is what the daemon sees, from GraceStart until its last answer is taken: the start of a
server has pauses of its own, which are longer than a GraceStart of few records.
"""

from bench import OURS, QUICK, STOCK, BenchServer, checked, records_name, report
from calls import Calls
from harness import allow
from ktap import check, done
from nfs import sh
from nfs4 import Nfs4

RECLAIMS = 100
# Records, and how often to measure the stock kernel and ours.
PLAN = ((1_000, 3, 3), (10_000, 3, 3), (100_000, 1, 3), (1_000_000, 0, 3))
if QUICK:
    PLAN = ((1_000, 1, 1), (10_000, 1, 1), (100_000, 0, 1), (1_000_000, 0, 1))

# The stock kernel takes minutes for 100,000 records.
allow("task rpc.nfsd:")


def memory():
    """Bytes by their names in /proc/meminfo, without what the kernel would give back."""
    sh("sync; echo 3 > /proc/sys/vm/drop_caches")
    with open("/proc/meminfo", encoding="ascii") as f:
        return {line.split(":")[0]: int(line.split()[1]) * 1024 for line in f}


def used(before, after):
    """What has been used up between two looks at the memory, as name: bytes."""
    return {"available": before["MemAvailable"] - after["MemAvailable"],
            "slab": after["Slab"] - before["Slab"],
            "vmalloc": after["VmallocUsed"] - before["VmallocUsed"]}


def reclaims(fh, records):
    """The microseconds of each check, as clients from all over the records reclaim a file."""
    results = []
    with Calls("nfsd4_client_record_check") as calls:
        for number in range(RECLAIMS):
            client = Nfs4(1, "127.0.0.1", records_name(number * records // RECLAIMS))
            client.establish()
            results.append(client.open_reclaim(fh).status)
            client.close()
    checked("all reclaim", results == ["OK"] * RECLAIMS, results)
    checked("each is checked", len(calls.times) >= RECLAIMS, len(calls.times))
    return calls.times


def start(side, records, row="grace-start"):
    """Starts a server, measures, and stops it; returns what memory its start took."""
    before = memory()
    seconds = server.begin(side, records=records, timeout=900)
    taken = used(before, memory())
    if records == 100_000:
        report("check", side, reclaims(file, records), unit="us", records=records)
    stats = server.end()
    checked("all records were taken", stats["records"] == records and not stats["refused"], stats)
    if row:
        report(row, side, stats["grace_start_us"] / 1e6, unit="s", records=records,
               whole_start=round(seconds, 3))
    return taken


server = BenchServer()
server.set_up()
with open(f"{server.directory}/file", "wb") as f:
    f.write(b"data")
server.begin(STOCK)
probe = Nfs4(1, "127.0.0.1", "probe")
probe.establish()
probe.reclaim_complete()
file = probe.path("file")
probe.close()
server.end()

for count, stock_times, our_times in PLAN:
    for turn in range(max(stock_times, our_times)):
        if turn < stock_times:
            start(STOCK, count)
        if turn < our_times:
            full = start(OURS, count)
            if count == 1_000_000:
                # At the same time, to compare with: the host may be busier now than before.
                start(OURS, 10_000, row="grace-start-beside")
                empty = start(OURS, 1, row=None)
                report("memory", OURS, full["available"] - empty["available"], unit="B",
                       records=count, **{k: full[k] - empty[k] for k in ("slab", "vmalloc")})
check("the servers started, with their records", True)
done()
