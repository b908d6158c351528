#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: once=yes timeout=180 module=ship smp=1
"""Commands while livepatch is in transition, to and fro: taken only while all threads keep to them.

A transition lasts as long as lockd's thread waits for rpc.statd in a function that is replaced.
"""

import errno
import os
import signal
import subprocess
import threading

from control import FILES, command, read
from fullserver import FullServer, RawHost
from ktap import check, done, equal
from nfs import LIVEPATCH, MODULE, Client, kernel_log, sh, succeeds, wait_until
from nlm import Nlm

CONTROL = "/proc/fs/nfsd"
answers = {}


def in_transition():
    """What livepatch says of us: '1' while threads are switched over, '0' when all are, '' without us."""
    return sh(f"cat {LIVEPATCH}/transition 2>/dev/null", check=False).strip()


def files(directory=CONTROL):
    """Our files in a mount."""
    return [name for name in FILES if os.path.exists(f"{directory}/{name}")]


def later(name, function):
    """Calls a function in a thread, for its answer."""
    thread = threading.Thread(target=lambda: answers.setdefault(name, function()), daemon=True)
    thread.start()
    return thread


def stall(client, where, offset):
    """Has lockd wait for rpc.statd, which does not answer, until that is continued."""
    os.kill(statd, signal.SIGSTOP)
    nlm = Nlm(4, where.server_ip, client, netns=where.netns)
    nlm.timeout = 120
    thread = later(client, lambda: nlm.lock(fh, offset=offset))
    # lockd's thread looks as if it slept: its stack says where.
    assert wait_until(lambda: "nsm_mon" in sh("cat /proc/$(pgrep -x lockd)/stack")), "lockd does not wait"
    return thread


def insmod():
    """Begins to load the module; returns when its transition goes on, and what we start runs its functions."""
    # pylint: disable-next=consider-using-with
    process = subprocess.Popen(["insmod", MODULE])
    assert wait_until(lambda: in_transition() == "1" and sh("cat /proc/self/patch_state") == "1\n"), "no transition"
    return process


def switch(value):
    """Switches the livepatch off or on."""
    with open(f"{LIVEPATCH}/enabled", "w", encoding="ascii") as f:
        f.write(value)


def switched_off():
    """The log's lines about it."""
    return [line.split("nfsd_ha: ")[1] for line in kernel_log().splitlines() if "nfsd_ha: switched" in line]


def record():
    """Confirms all that is in nlm_clients until that fails; returns how it does."""
    with open(f"{CONTROL}/nlm_clients", "r+b", buffering=0) as f:
        while True:
            try:
                f.seek(0)
                f.write(f.read().split()[1])
            except OSError as e:
                return e.strerror


server = FullServer(grace=10)
server.set_up()
server.start()
host, other = RawHost(), Client("other", "raw")
server.end_grace()
fh = host.create(server.export("t", "fsid=1234"))
statd = int(sh("pidof rpc.statd").split()[0])
sh("ip netns add empty; mkdir -p /run/other /run/empty")

# Loaded while lockd's thread is in a function that is to be replaced, and switched off before it has left.
waiting = stall("one", host, 0)
loading = insmod()
sh("mount -t nfsd nfsd /run/other; nsenter --net=/run/netns/empty mount -t nfsd nfsd /run/empty")
equal("a mount that is made in the transition has no files yet", files() + files("/run/empty"), [])
switch("0")
check("switched off before it was on, it comes to its end", wait_until(lambda: in_transition() == ""))
equal("insmod ends well", loading.wait(60), 0)
check("the log says that it is not attached", "loaded, but not attached yet" in kernel_log())
equal("there are no files", files() + files("/run/empty"), [])
check("and rmmod works", wait_until(lambda: succeeds("rmmod nfsd_ha")))

# Again, and lockd's thread leaves.
loading = insmod()
equal("loaded again, there are no files yet", files(), [])
os.kill(statd, signal.SIGCONT)
waiting.join()
equal("the client that was waiting has its lock", answers["one"], "GRANTED")
equal("insmod ends well again", loading.wait(60), 0)
equal("the transition has ended", in_transition(), "0")
equal("all mounts have the files", [files(), files("/run/empty")], [list(FILES)] * 2)
equal("a command is taken", command("fsid_grace", "1234 3600")[0], "ok")
late = Nlm(4, host.server_ip, "late", **host.where)
equal("all threads keep to it", late.lock(fh, offset=900, monitored=False), "DENIED_GRACE")

# Switched off while lockd's thread is in ours.
command("fsid_grace", "1234 0")
recorder = later("recorder", record)
waiting = stall("two", other, 100)
for fsid in range(1234, 1245):
    command("fsid_grace", f"{fsid} 3600")
command("reclaim_clients", "1234 6162")
kept = os.open(f"{CONTROL}/fsid_grace", os.O_RDWR)
shown = {name: read(name) for name in ("reclaim_clients", "floating_addresses", "nlm_clients")}
switch("0")
equal("it is being switched off", in_transition(), "1")
lines = switched_off()
first = "switched off: the grace period of 1234 ends, 3"
check("the log says which grace periods end",
      lines and lines[0].startswith(first) and lines[0].endswith(" s early"), lines)
equal("eight of them, and the number of the others", [len(lines), *lines[8:]],
      [9, "switched off: so do those of 3 other scopes"])
recorder.join(20)
equal("who waits for news in nlm_clients is told", answers.get("recorder"), os.strerror(errno.ENODEV))
for name, data in (("fsid_grace", "99 60"), ("nlm_set_ip_grace", "99 60"), ("fsid_grace", "1234 0"),
                   ("nlm_unlock", "1234"), ("reclaim_clients", "1234 6364"), ("reclaim_clients", "1234"),
                   ("floating_addresses", "192.0.2.1"), ("nlm_clients", "0"), ("fsid_grace", "rubbish")):
    result = command(name, data)[0]
    equal(f"{name} does not take '{data}'", result, "ENODEV")
equal("nothing has changed", {name: read(name) for name in shown}, shown)
equal("no scope has come or gone", [line.split()[0] for line in read("fsid_grace").splitlines()],
      [str(fsid) for fsid in range(1234, 1245)])
sh("umount /run/empty; nsenter --net=/run/netns/empty mount -t nfsd nfsd /run/empty")
equal("a mount that is made now has no files", files("/run/empty"), [])

# On again, midway.
switch("1")
check("switched on again midway, it comes to its end", wait_until(lambda: in_transition() == "0"))
check("the log says that the grace periods go on",
      any(line.startswith("switched on again: 11 grace periods go on") for line in switched_off()), switched_off())
check("that mount gets its files", wait_until(lambda: files("/run/empty") == list(FILES)))
equal("commands are taken again", command("fsid_grace", "99 60")[0], "ok")
os.kill(statd, signal.SIGCONT)
waiting.join()
equal("the client that was waiting is told that a grace period goes on", answers["two"], "DENIED_GRACE")
equal("so is everybody else", late.lock(fh, offset=900, monitored=False), "DENIED_GRACE")

# Off.
switch("0")
check("switched off, it comes to its end", wait_until(lambda: in_transition() == ""))
check("the files go", wait_until(lambda: not files() and not files("/run/empty")))
try:
    os.write(kept, b"1234 60")
    wrote = "ok"
except OSError as e:
    wrote = e.strerror
equal("one that is still open takes no command", wrote, os.strerror(errno.ENODEV))
equal("nobody keeps to the grace period", late.lock(fh, offset=900, monitored=False), "GRANTED")
os.close(kept)
server.stop()
check("rmmod works", wait_until(lambda: succeeds("rmmod nfsd_ha")))
done()
