#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The server of 47-power-cut.scenario: the daemon's records are on a disk, the files are made anew."""

import time

import harness
from ktap import check, done
from nfs import Server, sh, wait_until
from power import COUNT, CUTS, JOURNAL

boot = int(harness.STAGE or 0)
sh("mkdir -p /srv/data; mount /dev/disk/data /srv/data")
server = Server(state="/srv/data/nfsdcld", lease=3600, grace=600)
server.set_up()
for number in range((boot - 1) * COUNT, boot * COUNT):
    with open(f"{server.directory}/cut-{number:07}", "w", encoding="ascii"):
        pass
if JOURNAL == "wal" and server.recorder.name == "nfsdcld":
    server.recorder.set_journal()
server.start_daemon()
server.start()
sh("echo 16 > /proc/fs/nfsd/threads")
harness.put(f"up-{boot}")
harness.get(f"seen-{boot}")
if server.in_grace():
    sh("echo Y > /proc/fs/nfsd/v4_end_grace")
ended = wait_until(lambda: not server.in_grace() and not server.status()["grace_done_due"], 60)
harness.put(f"open-{boot}", "yes" if ended else "no")
if boot == CUTS:
    check("the server has come back from all power cuts", ended)
    done()
time.sleep(600)
