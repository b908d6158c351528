#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: once=yes timeout=300 module=ship
"""nfsd-ha check on a real server: it finds nothing wrong with one that is well, then each fault, and only that.

Where what it says to do is a plain command, that is done, and the fault is gone.
"""

import json
import os
import re
import subprocess

from control import command, read
from fullserver import ROOT, FullServer, RawHost
from ktap import check, done, equal
from nfs import LIVEPATCH, MODULE, load, sh, switch_off, wait_until
from nlm import Nlm

SCOPE = "/etc/nfs.conf.d/ha.conf"
BOOT = "/etc/modules-load.d/nfsd_ha.conf"
UNIT = "/etc/systemd/system/nfs-server.service"
CIB = "/var/lib/pacemaker/cib/cib.xml"


def write(path, text):
    """Writes a file, with its directories."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def find(*words):
    """What is found: each name with what to do, and the exit status."""
    result = subprocess.run(["/test/nfsd-ha", "check", "--json", *words], check=False, text=True, capture_output=True)
    report = json.loads(result.stdout)
    equal(f"the status says whether there are errors {report['errors']}", result.returncode, min(report["errors"], 1))
    return [(one["id"], one["fix"]) for one in report["findings"]]


def finds(what, *names, mend=False, words=None):
    """Finds exactly these, and with `mend` does what it says, so that nothing is wrong then."""
    words = MOVES if words is None else words
    found = find(*words)
    equal(what, sorted(name for name, _ in found), sorted(names))
    if mend:
        for _, fix in found:
            sh(f"PATH=/tmp/stub:$PATH; {fix}")
        equal(f"{what}: mended", find(*words), [])


# The guest has no systemd: what would be told to it is not.
write("/tmp/stub/systemctl", "#!/bin/sh\n")
write("/tmp/stub/editor", "#!/bin/sh\n")
sh("chmod +x /tmp/stub/*; ln -s /test/nfsd-ha /tmp/stub/nfsd-ha")
os.makedirs(ROOT, exist_ok=True)
sh(f"mount -t tmpfs tmpfs {ROOT}; rm -rf /lib/systemd/system/nfs-server.service.d /etc/exports.d; echo > /etc/exports")
found = find()
check("without the module", "module" in [name for name, _ in found], found)

load()
write(BOOT, "nfsd_ha\n")
write(SCOPE, "[nfsd]\nscope=nfs-ha\n")
write(UNIT, "[Service]\nExecStart=/usr/sbin/rpc.nfsd\n")
server = FullServer(grace=20, lease=10)
server.set_up()
server.stop_daemon()
server.recorder.set_journal()
server.start_daemon()
host = RawHost()
FLOATING, FIXED = host.other_ip, host.server_ip
command("floating_addresses", FLOATING)
sh("sysctl -q fs.nfs.nlm_tcpport=4045")
server.start()
server.end_grace()
a = host.create(server.export("a", "fsid=1234"))
MOVES = [f"{ROOT}/a", "--address", FLOATING, "--address", f"{host.other_ip6}/64"]
command("floating_addresses", host.other_ip6)
nlm = Nlm(4, FLOATING, "client", **host.where)
# pylint: disable-next=consider-using-with
recorder = open("/proc/fs/nfsd/nlm_clients", "r+", encoding="ascii")
equal("a client of NLM", nlm.lock(a, 0), "GRANTED")

finds("nothing is wrong with a server that is well")
finds("nor if it is not said what moves", words=[])
text = subprocess.run(["/test/nfsd-ha", "check"], check=False, text=True, capture_output=True)
equal("as text", (text.returncode, text.stdout), (0, "nothing is wrong\n"))

os.unlink(BOOT)
finds("not loaded at boot", "module-boot", mend=True)
recorder.close()
finds("no recorder", "recorder")
# pylint: disable-next=consider-using-with
recorder = open("/proc/fs/nfsd/nlm_clients", "r+", encoding="ascii")

# Addresses, and who comes to them.
command("floating_addresses", f"-{FLOATING}")
finds("an address that the module does not know", "not-floating", mend=True)
command("floating_addresses", "192.0.2.99")
finds("one that was not given", "floating-besides", mend=True)
for address in (f"{FLOATING}/24", f"{host.other_ip6}/64"):
    host.on_server(f"ip addr del {address} dev {host.near}")
finds("the export is here, and its addresses are not", "address-elsewhere")
host.on_server(f"ip addr add {FLOATING}/24 dev {host.near}; ip addr add {host.other_ip6}/64 dev {host.near} nodad")
command("drain", f"{FLOATING} 1")
wait_until(lambda: " drained " in read("drain"), 10)
finds("an address that was drained, and is here", "address-drained", mend=True)
os.makedirs("/mnt/own", exist_ok=True)
sh(f"mount -t nfs4 {FIXED}:/a /mnt/own")
finds("a mount of its own", "own-mount", mend=True)
sh("sysctl -q net.ipv4.ip_nonlocal_bind=1")
finds("binding to any address", "nonlocal-bind")
sh("sysctl -q net.ipv4.ip_nonlocal_bind=0")

# Exports.
write("/etc/exports", f"{ROOT}/a *(rw,fsid=1234)\n")
finds("an export of the cluster in /etc/exports", "export-at-boot")
write("/etc/exports", f"{ROOT}/a *(rw,fsid=1234,mp)\n")
finds("one that waits for its mount")
write("/etc/exports", "")
server.export("b", "fsid=1234")
finds("one number for two", "fsid-twice")
sh(f"exportfs -u '*:{ROOT}/b'")
server.export("c", "fsid=7", device=None)
finds("NFSv4's root and another export on one file system", "root-shared")
sh(f"exportfs -u '*:{ROOT}/c'")
write(UNIT, "[Service]\nExecStartPre=-/usr/sbin/exportfs -r\nExecStop=/usr/sbin/rpc.nfsd 0\n"
            "ExecStopPost=/usr/sbin/exportfs -au\nExecStopPost=/usr/sbin/exportfs -f\nExecReload=-/usr/sbin/exportfs -r\n")
finds("a unit that ends exports", "exports-flushed", mend=True)

sh("sysctl -q fs.nfs.nlm_tcpport=0")
finds("any port for lockd", "lockd-port", mend=True)

# Records of NLM clients.
os.makedirs(f"{ROOT}/a/nsm")
os.makedirs("/var/lib/nfsd-ha", exist_ok=True)
os.symlink(f"{ROOT}/a/nsm", "/var/lib/nfsd-ha/1234")
finds("records on the export", "records-exported")
os.unlink("/var/lib/nfsd-ha/1234")

# Pacemaker.
RESOURCE = """<cib><configuration><resources><group id="ha"><primitive id="exp" class="ocf" provider="heartbeat"
 type="exportfs"><instance_attributes id="i"><nvpair id="d" name="directory" value="/srv/root/a"/>%s
 </instance_attributes></primitive></group></resources></configuration></cib>"""
write(CIB, RESOURCE % "")
finds("Pacemaker's agent as it comes", "unlock-on-stop")
write(CIB, RESOURCE % '<nvpair id="u" name="unlock_on_stop" value="false"/>')
finds("and as it should be")
os.unlink(CIB)

# Lists.
write("/tmp/list", f"# nfsd-ha clients 2\n# server-scope nfs-ha\n# export *:{ROOT}/a(rw,fsid=1234)\n1234 one\n# end 1\n")
finds("a list of this node", words=["--list", "/tmp/list"])
write("/tmp/list", f"# nfsd-ha clients 2\n# server-scope b\n# export *:{ROOT}/a(rw,fsid=4)\n4 one\n# end 1\n")
finds("one of another node", "scope-differs", "list-differs", words=["--list", "/tmp/list"])
write("/tmp/list", "nonsense\n")
equal("no list", subprocess.run(["/test/nfsd-ha", "check", "--list", "/tmp/list"], check=False, capture_output=True).returncode, 2)

# Daemons.
sh("pkill rpc.statd")
finds("no rpc.statd", "nfs3-daemon")
sh("rpc.statd --no-notify")
server.stop_daemon()
check("nfsdcld is not there", wait_until(lambda: server.status()["daemon"] == "absent", 10))
finds("no nfsdcld", "daemon-absent")
server.recorder.set_journal("DELETE")
server.start_daemon()
check("nfsdcld is there", wait_until(lambda: server.status()["daemon"] == "present", 10))
finds("its database in another journal mode", "journal-mode")
server.stop_daemon()
server.recorder.set_journal()
server.start_daemon()

# The server, started in other ways.
nlm.close()
recorder.close()
server.stop()
finds("no server", "server-off")
server.lease, server.grace = 20, 10
server.start()
server.end_grace()
finds("a short grace period", "grace-short")
server.stop()
server.lease, server.grace = 10, 20
os.unlink(SCOPE)
server.start()
server.end_grace()
finds("the scope is the host's name", "scope-default")
server.stop()
write(SCOPE, "[nfsd]\nscope=nfs-ha\n")
server.start()
server.end_grace()
finds("as it was")

# The module.
switch_off()
finds("switched off", "livepatch-off")
sh("rpc.nfsd 0; rmmod nfsd_ha")
found = [name for name, _ in find(*MOVES)]
check("no module", "module" in found and "not-floating" not in found, found)
server.start()


def load_anew(module=MODULE):
    """Loads a module, and tells it the addresses that move."""
    load(module=module)
    check("it is in force", wait_until(lambda: sh(f"cat {LIVEPATCH}/transition").strip() == "0", 30))
    command("floating_addresses", FLOATING)
    command("floating_addresses", host.other_ip6)


# One of another release: the same with another number.
with open(MODULE, "rb") as file:
    other, places = re.subn(rb"\0version=[^\0]*", lambda line: re.sub(rb"[0-9]", b"0", line[0]), file.read())
equal("the module has a version", places, 1)
with open("/tmp/other.ko", "wb") as file:
    file.write(other)
load_anew("/tmp/other.ko")
finds("the module of another release", "version-differs", "tracking-stock")
switch_off()
sh("rmmod nfsd_ha")
load_anew()
equal("it is of the program's release", sh("cat /sys/module/nfsd_ha/version").split()[-1:],
      sh("/test/nfsd-ha --version").split()[-1:])
finds("a server that was started before the module", "tracking-stock")
done()
