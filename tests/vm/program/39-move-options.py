#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: once=yes timeout=300 disk=ha:512M module=load
"""nfsd-ha move-out and move-in in other ways: the file system stays mounted, as that of a cluster does; the export comes
after the address. It is xfs here, with two exports.
"""

import os
import subprocess
import time

from control import command, read
from fullserver import device_scope, serve
from ktap import check, done, equal
from nfs import sh, wait_until
from nfs4 import Nfs4
from nlm import Nlm
from program import BUSY, DONE, steps, tool

EXPORTFS = "/usr/sbin/exportfs"

server, host = serve(grace=20)
ADDRESS = host.other_ip
command("floating_addresses", ADDRESS)
path = server.export("ha", "fsid=1234", "/dev/disk/ha", "mkfs.xfs -q -f")
second = server.export("ha/second", "fsid=77", device=None)
handles = {path: host.create(path), second: host.create(second)}
AWAY = ["--address", ADDRESS]
HERE = [*AWAY, "--notify-for", "1"]


class Clients:
    """A client of NFSv4.1 and one of NLM for each export, with a lock each."""

    def __init__(self):
        self.nfs4, self.nlm = [], []
        for number, fh in enumerate(handles.values()):
            client = Nfs4(1, ADDRESS, f"four-{number}", **host.where)
            assert (client.establish(), client.reclaim_complete()) == ("OK", "OK")
            assert client.lock(client.open_fh(fh)).status == "OK"
            self.nfs4.append((client, fh))
            client = Nlm(4, ADDRESS, f"three-{number}", **host.where)
            assert client.lock(fh, offset=10) == "GRANTED"
            self.nlm.append((client, fh))

    def reclaim(self):
        """All reclaim what they had: what each is told."""
        told = []
        for client, fh in self.nfs4:
            client.close()
            again = Nfs4(1, ADDRESS, client.name, **host.where)
            told += [again.establish(), again.lock(again.open_reclaim(fh), reclaim=True).status, again.reclaim_complete()]
            again.close()
        for client, fh in self.nlm:
            client.close()
            told.append({"GRANTED": "OK"}.get(result := client.lock(fh, offset=10, reclaim=True), result))
        return set(told)


def locks():
    """How many locks clients have on the file system."""
    device = f" {os.major(DEVICE):02x}:{os.minor(DEVICE):02x}:"
    with open("/proc/locks", encoding="ascii") as f:
        return sum(device in line for line in f)


def here():
    """Mounted, exported, the address, and how many locks."""
    exported = sh("exportfs -v").count("/srv/root/ha")
    return os.path.ismount(path), exported, f" {ADDRESS}/" in sh(f"ip -o addr show dev {host.near}"), locks()


with open("/etc/fstab", "a", encoding="ascii") as fstab:
    fstab.write(f"/dev/disk/ha {path} xfs noauto 0 0\n")
DEVICE = os.stat(path).st_dev
clients = Clients()
equal("two exports of one file system, with two locks each", here(), (True, 2, True, 4))

# The file system stays. What clients hold is released only if nobody else uses it all the same.
sh(f"sleep 1000 <{path}/f >/dev/null 2>&1 &")
for words in ([], ["--no-umount"]):
    equal(f"a process that uses it is in the way, and nothing is changed: {words}",
          (tool("move-out", path, *AWAY, *words)[0], here()), (BUSY, (True, 2, True, 4)))
sh("pkill sleep")
sh(f"mkdir -p /mnt/also; mount --bind {path} /mnt/also")
equal("another mount is in the way of umount", tool("move-out", path, *AWAY)[0], BUSY)
status, out, error = tool("move-out", path, *AWAY, "--no-umount", "--dry-run")
check("and not if it stays", status == DONE and "would unmount" not in out, (out, error))
_, said = steps("move-out", path, *AWAY, "--no-umount")
equal("--no-umount: all steps but umount", [step["name"] for step in said["steps"]],
      ["prepare", "drain", "address", "list", "unexport", "release"])
equal("--no-umount: nothing is exported or locked, and it is mounted", here(), (True, 0, False, 0))
with open(said["list"], encoding="ascii") as f:
    text = f.read()
check("--no-umount: what was released is what is listed", "\n# released\n" in text and text.count("four-") == 2, text)
equal("--no-umount, once more: the same list", tool("move-out", path, *AWAY, "--no-umount", "--list", "-")[:2], (DONE, text))
_, said = steps("move-in", path, *HERE, "--no-mount", "--list", "-", input=text)
equal("--no-mount: it was there", said["steps"][0]["what"], f"{path}: there already")
scopes = sorted(line.split()[0] for line in read("fsid_grace").splitlines())
equal("--no-mount: the exports are in grace, and not all of the file system", scopes, ["1234", "77"])
equal("--no-mount: all reclaim", (clients.reclaim(), here()), ({"OK"}, (True, 2, True, 4)))
# Each export waits for all who are listed, also for those of the other one: they end by their time.
check("--no-mount: the grace periods end", wait_until(lambda: read("fsid_grace") == "", 30), read("fsid_grace"))
sh("umount /mnt/also")

# The export comes after the address: who asks in between waits.
steps("move-out", path, *AWAY)
with open("/var/lib/nfsd-ha/moves/srv-root-ha.list", encoding="ascii") as f:
    text = f.read()
with open("/tmp/exportfs", "w", encoding="ascii") as f:
    f.write("#!/bin/sh\ntouch /tmp/waits\nwhile [ -e /tmp/waits ]; do sleep 0.05; done\nexec /tmp/exportfs.real \"$@\"\n")
sh(f"cp {EXPORTFS} /tmp/exportfs.real; chmod +x /tmp/exportfs; mount --bind /tmp/exportfs {EXPORTFS}")
# pylint: disable-next=consider-using-with
run = subprocess.Popen(["/test/nfsd-ha", "--json", "move-in", path, *HERE, "--export-later", "--list", "-"],
                       stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
run.stdin.write(text)
run.stdin.close()
assert wait_until(lambda: os.path.exists("/tmp/waits"), 20)
sh(f"umount -l {EXPORTFS}")
equal("--export-later: the address is here, the export is not", here(), (True, 0, True, 0))
scopes = sorted(line.split()[0] for line in read("fsid_grace").splitlines())
equal("--export-later: the file system is in grace, and so are its exports", scopes, sorted(["1234", "77", device_scope(path)]))
early = Nfs4(1, ADDRESS, "early", **host.where)
equal("--export-later: a client comes", early.establish(), "OK")
equal("--export-later: what it wants is not stale, it is to wait", {early.read(fh) for fh in handles.values()}, {"DELAY"})
os.unlink("/tmp/waits")
output = run.stdout.read()
equal("--export-later: it is done", (run.wait(), here()), (DONE, (True, 2, True, 0)))
check("--export-later: in this order", output.index('"address"') < output.index('"export"') < output.index('"clients"'), output)
early.close()
time.sleep(1)
equal("--export-later: all reclaim", (clients.reclaim(), locks()), ({"OK"}, 4))
done()
