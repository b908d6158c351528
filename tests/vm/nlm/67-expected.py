#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: once=yes timeout=300 disk=home:64M disk=new:64M module=load
"""What is about to be exported is waited for: by handle, by path, by who has no export at all, and after a restart.

A client that asks between the address and the export, or between nfsd's start and the cluster manager's exportfs, loses
nothing. As soon as neither the scope nor the server is in grace, it is told what the stock server says.
"""

import os
import subprocess
import time

from control import command, read
from fullserver import ROOT, FullServer, RawHost, device_scope
from ktap import check, done, equal
from nfs import SLOW, Client, Holder, patience, sh, succeeds, wait_until
from nfs3 import Nfs3, Nfs3Error
from nfs4 import PUTROOTFH, Nfs4, putfh, simple
from nlm import LOCK, Nlm
from rpc import Packer, RpcError

SCOPE, PATH = "61", f"{ROOT}/h"
PSEUDO = f"exportfs -o rw,fsid=0,no_root_squash,no_subtree_check '*:{ROOT}'"
EXPORT = f"exportfs -o rw,fsid={SCOPE},no_root_squash,no_subtree_check '*:{PATH}'"
# One that this server has never had.
NEW, NEW_SCOPE = f"{ROOT}/n", "62"

# SETATTR of an owner, whose name nfsd looks for while it decodes the request, for the client that it is from.
CHOWN = simple(34, arguments=bytes(16) + Packer().uint(2, 0, 1 << 4).opaque(Packer().opaque("x@y").bytes()).bytes())


def started(command_line, client=None):
    """A command that goes on by itself, in a client's place."""
    if client:
        command_line = f"nsenter --net=/run/netns/{client.netns} sh -c '{command_line}'"
    # pylint: disable-next=consider-using-with
    return subprocess.Popen(command_line, shell=True, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def ended(process):
    """What it has said at its end."""
    return process.communicate(timeout=patience(60))[0].split()


def asked():
    """What raw clients of NFSv3, NFSv4.1, a new one and one that was there, and NLM are told of the export, which they lack."""
    nfs3 = Nfs3(host.other_ip, **host.where)
    new = Nfs4(1, host.other_ip, f"new-{time.monotonic()}", **host.where)
    nlm = Nlm(4, host.other_ip, "reclaims", **host.where)
    nlm.timeout = 2
    results = []
    for ask in (lambda: nfs3.getattr(handle), new.establish, lambda: v41.status(putfh(handle)),
                lambda: v41.status(PUTROOTFH), lambda: v41.status(putfh(handle), CHOWN), lambda: nlm.lock(handle, reclaim=True)):
        try:
            results.append(ask())
        except Nfs3Error as e:
            results.append(e.status)
        except RpcError as e:
            results.append(str(e))
    for client in (nfs3, new, v41, nlm):
        client.close()
    return ["denied" if str(result).startswith("MSG_DENIED") else result for result in results]


server, host = FullServer(grace=15 * SLOW, lease=10), RawHost()
sh(f"mkdir -p {ROOT}; mount -t tmpfs tmpfs {ROOT}")
server.set_up()
server.start()
server.end_grace()
sh(f"exportfs -u '*:{ROOT}'; sleep 1.2; {PSEUDO}")
server.export("h", f"fsid={SCOPE}", None)
sh(f"echo wrong >{PATH}/underneath")
server.unexport_path(PATH)
server.export("h", f"fsid={SCOPE}", "/dev/disk/home", "mkfs.ext4 -q")
sh(f"echo right >{PATH}/inside; chmod 666 {PATH}/inside")
handle = host.create(PATH)
v41 = Nfs4(1, host.other_ip, "v41", **host.where)
equal("a client of NFSv4.1 comes", (v41.establish(), v41.reclaim_complete()), ("OK", "OK"))
sh(f"mkdir {NEW}; echo wrong >{NEW}/underneath; chmod 1777 {NEW}; mkfs.ext4 -q /dev/disk/new; mount /dev/disk/new {NEW}; "
   f"chmod 1777 {NEW}; echo right >{NEW}/inside")

# A path, below a root that is exported as it is.
walker, comer = Client("walker", "4.2"), Client("comer", "4.2")
walker.enter(f"mount -t nfs -o vers=4.2,actimeo=0,lookupcache=none {walker.server_ip}:/ {walker.mount_point}")
check("a client sees what is exported", "inside" in sh(f"ls {walker.mount_point}/h"))
for scope, fsid, path in ((SCOPE, SCOPE, PATH), (device_scope(PATH), SCOPE, PATH),
                          (NEW_SCOPE, NEW_SCOPE, NEW)):
    name = path.removeprefix(f"{ROOT}/")
    command("fsid_grace", f"{scope} 60")
    if path == PATH:
        server.unexport_path(path)
    listing = started(f"ls {walker.mount_point}/{name}")
    writing = started(f"echo new >{walker.mount_point}/{name}/written-{scope.replace(':', '-')}; echo written")
    mounting = started(f"mount -t nfs -o vers=4.2 {comer.server_ip}:/{name} {comer.mount_point}; ls {comer.mount_point}",
                       comer)
    time.sleep(2)
    equal(f"{scope} in grace and not exported: a path walk, a write and a new mount wait",
          [p.poll() for p in (listing, writing, mounting)], [None] * 3)
    check("and others see the root meanwhile", succeeds(f"timeout 5 ls {walker.mount_point}"))
    sh(f"exportfs -o rw,fsid={fsid},no_root_squash,no_subtree_check '*:{path}'")
    command("fsid_grace", f"{scope} 0")
    equal("they end with the export: the write", ended(writing), ["written"])
    for what, process in (("path walk", listing), ("new mount", mounting)):
        seen = ended(process)
        check(f"the {what} has seen what is exported", "inside" in seen and "underneath" not in seen, seen)
    sh(f"umount {comer.mount_point}")
written = sh(f"ls {PATH}").split()
check("the writes are on the disk", os.path.exists(f"{NEW}/written-{NEW_SCOPE}") and sum(name.startswith("written") for name in written) == 2, written)
sh(f"umount {walker.mount_point}")

# A server that exports nothing.
nlm = Nlm(4, host.server_ip, "had", **host.where)
three, four = Client("three", "3"), Client("four", "4.2")
three.enter(f"mount -t nfs -o vers=3,nolock,actimeo=0 {three.server_ip}:{PATH} {three.mount_point}")
four.enter(f"mount -t nfs -o vers=4.2 {four.server_ip}:/h {four.mount_point}")
holder = Holder(f"{four.mount_point}/held")
equal("clients write, and lock", (holder.write(), nlm.lock(handle)), ("ok", "GRANTED"))
nlm.close()
for path in (PATH, NEW, ROOT):
    server.unexport_path(path)
equal("nothing is exported: all are refused", asked(), ["denied"] * 6)
command("fsid_grace", f"{SCOPE} 60")
equal("in grace: NFSv3 and NFSv4.1 are told to wait, NLM is not answered", asked(),
      [10008, "DELAY", "DELAY", "DELAY", "DELAY", "no answer"])
writing = started(f"echo more >>{three.mount_point}/inside; echo $?")
holder.ask()
time.sleep(2)
equal("NFSv3 waits", writing.poll(), None)
sh(f"{PSEUDO}; {EXPORT}")
equal("and goes on when there is an export", ended(writing), ["0"])
equal("so does NFSv4, under its lock", holder.answer(), "ok")
nlm = Nlm(4, host.server_ip, "had", **host.where)
equal("and who reclaims with NLM", nlm.lock(handle, reclaim=True), "GRANTED")
command("fsid_grace", f"{SCOPE} 0")
equal("at last, all of them go on", (holder.write(), succeeds(f"cat {three.mount_point}/inside")), ("ok", True))

# The distribution's unit restarts nfsd, and what the cluster manager exports comes later.
wait_until(lambda: server.records()["current"], 10)
sh("rpc.nfsd 0; exportfs -au; exportfs -f")
server.start()
sh(PSEUDO)
check("nfsd is in grace, as it has clients on record", server.in_grace())
writing = started(f"echo yet more >>{three.mount_point}/inside; echo $?")
holder.ask()
time.sleep(4)
equal("a restart, and the export is late: NFSv3 waits", writing.poll(), None)
sh(EXPORT)
equal("and writes", ended(writing), ["0"])
equal("NFSv4 writes under its lock", holder.answer(), "ok")
check("which nobody else gets", not succeeds(f"python3 /test/lib/lock.py try {PATH}/held"))
server.end_grace()
for path in (PATH, ROOT):
    server.unexport_path(path)
equal("not in grace: all are refused again", asked(), ["denied"] * 6)

# All that comes to an address is in grace: any export may come, but nobody may make some up.
sh(f"{PSEUDO}; {EXPORT}")
command("fsid_grace", f"ip:{host.other_ip} 60")
stranger, known = (Nlm(4, host.other_ip, name, **host.where) for name in ("stranger", "known"))
MADE_UP = [handle[:4] + (1000 + i).to_bytes(4, "little") + handle[8:] for i in range(20)]
for fh in MADE_UP:
    stranger.send(LOCK, Packer().opaque(b"cookie").raw(stranger.lock_arguments(fh, reclaim=True)).bytes())
equal("who has an export reclaims there", known.lock(handle, offset=7, reclaim=True), "GRANTED")
seen = [line.split()[0] for line in read("nlm_clients").splitlines() if line and line[0].isdigit()]
equal("exports that somebody has made up are not noted", [scope for scope in seen if scope != SCOPE], [])
check("that of the other client is", SCOPE in seen, read("nlm_clients"))

# Who asks for what is expected, of which lockd has the file, does not have who asks next for what is there go unanswered.
there = host.create(server.export("o", "fsid=63"))
waits, goes_on = (Nlm(4, host.server_ip, name, **host.where) for name in ("waits", "goes-on"))
waits.timeout = goes_on.timeout = 2
equal("a client locks on another export, and unlocks", (goes_on.lock(there), goes_on.unlock(there)), ("GRANTED", "GRANTED"))
server.unexport_path(PATH)
command("fsid_grace", f"{SCOPE} 60")


def answer(nlm, *what, **how):
    """What it is told, if anything."""
    try:
        return nlm.lock(*what, **how)
    except RpcError as e:
        return str(e)


equal("a reclaim of what is expected, and then a lock elsewhere",
      (answer(waits, handle, reclaim=True), answer(goes_on, there)), ("GRANTED", "GRANTED"))
done()
