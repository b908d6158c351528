#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: once=yes timeout=300 mem=1024 module=ship boot=slab_nomerge
"""On an edge, the module and the kernel's NFS client (nfs, nfsv4) are loaded and unloaded in every order, also with a mount in
use, with RECLAIM_COMPLETE held back, and at once. `--arg all` has each order of the ones with each of the others."""

import itertools
import os
import subprocess
import sys

import one_machine
from fullserver import FullServer
from ktap import check, done, equal
from nfs import LIVEPATCH, SLOW, Server, kernel_log, load, patience, sh, succeeds, switch_off, wait_until
from nfs4 import Nfs4
from one_machine import originals

number = itertools.count(1)
# The edge's own export, with what it has mounted below.
ROOT, EDGE = "/srv/root", "/srv/root/edge"
LAYOUTS = "nfs_layout_nfsv41_files nfs_layout_flexfiles"
# Each unloads what needs it first.
GO = {"nfsv4": f"modprobe -r {LAYOUTS} && rmmod nfsv4", "nfs": "modprobe -r nfsv3 && rmmod nfs", "nfsd_ha": "rmmod nfsd_ha"}


def come(name):
    """Loads a module."""
    if name == "nfsd_ha":
        load("reexport=1")
    else:
        sh(f"modprobe {name}")


def go(name):
    """Unloads one; whether it goes."""
    return (name != "nfsd_ha" or not os.path.exists(LIVEPATCH) or switch_off()) and wait_until(lambda: succeeds(GO[name]), 60)


def mount():
    """Mounts what the original server has, and exports it."""
    one_machine.mount(EDGE)
    sh(f"exportfs -o rw,fsid=5,no_root_squash,no_subtree_check '*:{EDGE}'")


def umount():
    """Takes that back."""
    FullServer.unexport_path(EDGE)
    assert wait_until(lambda: succeeds(f"umount {EDGE}"), 20), sh(f"umount {EDGE}", check=False)


def lock():
    """What an end client is told that opens a file of the mount and locks it."""
    client = Nfs4(1, "127.0.0.1", f"end-client-{next(number)}")
    assert client.establish() == "OK" and client.reclaim_complete() == "OK"
    opened = client.open(client.path("edge"), "file")
    status = client.lock(opened).status if opened.status == "OK" else opened.status
    if opened.status == "OK":
        client.close_file(opened)
    client.destroy_session()
    client.destroy_clientid()
    return status


def once():
    """What an end client is told of a lock, with a mount for that."""
    mount()
    try:
        return lock()
    finally:
        umount()


def end_grace():
    """Ends the grace period of the edge's server."""
    with open(f"{edge.control}/v4_end_grace", "w", encoding="ascii") as f:
        f.write("Y")


original = one_machine.original()
edge = Server(None, ROOT, lease=60 * SLOW)
edge.set_up()
edge.start_daemon()
edge.start()
assert wait_until(lambda: not edge.in_grace(), 60)
print(f"# with the stock code, a lock is {once()}", flush=True)
for name in ("nfsv4", "nfs"):
    assert go(name)

# The first one has the others loaded by a mount.
LOADED = [("nfsd_ha",), ("nfs", "nfsd_ha", "nfsv4"), ("nfs", "nfsv4", "nfsd_ha"), ("nfsd_ha", "nfs", "nfsv4")]
UNLOADED = [("nfsd_ha", "nfsv4", "nfs"), ("nfsv4", "nfsd_ha", "nfs"), ("nfsv4", "nfs", "nfsd_ha")]
ALL = "all" in sys.argv[1:]
TURNS = 20 if ALL else 2
for first, last in itertools.product(LOADED, UNLOADED) if ALL else zip(LOADED, UNLOADED):
    for name in first:
        come(name)
    status = once()
    gone = [name for name in last if go(name)]
    equal(f"{', '.join(first)} are loaded, {', '.join(last)} unloaded: a lock between", (status, gone), ("OK", list(last)))

come("nfsd_ha")
mount()
equal("a mount is in use: a lock", lock(), "OK")
check("the NFS client does not go", not succeeds(GO["nfs"]))
check("the module does", go("nfsd_ha"))
check("then nobody locks", lock() != "OK")
umount()
equal("and the NFS client goes", [name for name in ("nfsv4", "nfs") if go(name)], ["nfsv4", "nfs"])

# One is on record: the edge's server waits for it.
keeper = Nfs4(1, "127.0.0.1", "end-client-on-record")
assert keeper.establish() == "OK" and keeper.reclaim_complete() == "OK"
edge.stop()
for what in ("it is unmounted", "the module is switched off", "the server's grace period ends"):
    come("nfsd_ha")
    edge.start()
    mount()
    equal("mounted in the server's grace period, RECLAIM_COMPLETE is held back", originals("complete"), ["held"])
    if "unmounted" in what:
        umount()
        equal(f"{what}: nothing is known of the original server", originals("complete"), [])
    elif "off" in what:
        check(what, switch_off())
        check("a local process opens a file, as it could not before RECLAIM_COMPLETE",
              succeeds(f"timeout {patience(5)} sh -c 'echo new >{EDGE}/new'"))
        umount()
    else:
        end_grace()
        check(f"{what}: it is sent", one_machine.is_told(), originals("complete"))
        equal("and an end client locks", lock(), "OK")
        umount()
    edge.stop()
    equal("all can go", [name for name in UNLOADED[2] if go(name)], list(UNLOADED[2]))

# At once: livepatch takes its turn with modules that come and go.
sh("touch /run/at-once")
with subprocess.Popen(["sh", "-c", f"while [ -e /run/at-once ]; do modprobe nfsv4; {GO['nfsv4']} && {GO['nfs']}; done"],
                      stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as beside:
    turns = []
    for _ in range(TURNS):
        come("nfsd_ha")
        turns.append(go("nfsd_ha"))
    sh("rm /run/at-once")
equal("the NFS client comes and goes while the module does", turns, [True] * TURNS)
come("nfsd_ha")
edge.start()
if edge.in_grace():
    end_grace()
equal("and then end clients lock", once(), "OK")
log = [line for line in kernel_log().splitlines() if "nfsd_ha: " in line and ("failed with" in line or "cannot" in line)]
equal("no message says that something has failed", log, [])
edge.stop()
check("all is unloaded", go("nfsd_ha"))
# With them goes nfsd, and the kernel says what is left of clients and their locks.
for server in (original, edge):
    server.stop()
    server.stop_daemon()
    server.tear_down()
check("nothing is left of the end clients", wait_until(lambda: succeeds("rmmod nfsd"), 20))
check("as the kernel says", "Objects remaining" not in kernel_log(), kernel_log()[-600:])
done()
