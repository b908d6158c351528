#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: once=yes timeout=3600 module=load mem=1024
"""Anything is written to the pipe and to every control file while the server serves clients.

Clients with mounts work on an export that is left alone. Raw clients work on one whose locks are released
and whose grace periods begin and end all the time. A second net namespace has a server that starts and
stops, and no daemon but the fuzzer. Words: writes=N, seed=N.
"""

import collections
import json
import subprocess
import sys
import threading
import time

import v3
from control import FILES, read, release
from ktap import check, done, equal
from nfs import Server, patience, sh, succeeds, switch_off, wait_until
from nfs3 import Nfs3, mount_handle
from nfs4 import Nfs4
from nlm import Nlm

WORDS = dict(word.split("=", 1) for word in sys.argv[1:])
WRITES = int(WORDS.get("writes", 20_000))
HOST = "127.0.0.1"


class Work:
    """Threads that do something until it is enough, and count the results."""

    def __init__(self):
        self.enough = threading.Event()
        self.counts = collections.defaultdict(collections.Counter)
        self.threads = []

    def begin(self, name, prepare, pause=0.02):
        """Begins a thread that does again and again what `prepare` returns, and counts its results."""
        def run():
            act = prepare()
            while not self.enough.wait(pause):
                try:
                    self.counts[name][act()] += 1
                except (OSError, RuntimeError, AssertionError) as e:
                    self.counts[name][f"{type(e).__name__}: {e}"] += 1
                    act = prepare()
        self.threads.append(threading.Thread(target=run))
        self.threads[-1].start()

    def end(self):
        """Ends them all; returns how many did not want to."""
        self.enough.set()
        for thread in self.threads:
            thread.join(patience(60))
        return sum(thread.is_alive() for thread in self.threads)


def end_grace():
    """Ends the grace periods of lockd and of nfsd."""
    sh("echo Y > /proc/fs/lockd/nlm_end_grace; echo Y > /proc/fs/nfsd/v4_end_grace || true")


def locks(export):
    """A raw client that locks and unlocks over NLM."""
    def prepare():
        file = Nfs3(HOST).create(mount_handle(export.path, HOST), "nlm")
        client = Nlm(4, HOST, "raw")

        def act():
            result = client.lock(file)
            return result if result != "GRANTED" else client.unlock(file)
        return act
    return prepare


def opens(export, host=HOST):
    """A raw client that opens and closes over NFSv4."""
    def prepare():
        client = Nfs4(1, host, f"raw-opens-{host}")
        assert client.establish() == "OK"
        client.reclaim_complete()
        directory = client.path(export.name)

        def act():
            opened = client.open(directory, "opened")
            return opened.status if opened.status != "OK" else client.close_file(opened)
        return act
    return prepare


def guests():
    """NFSv4 clients that come and go, so that there are upcalls."""
    number = 0

    def act():
        nonlocal number
        number += 1
        client = Nfs4(1, HOST, f"guest-{number}")
        results = [client.establish(), client.reclaim_complete(), client.destroy_session(),
                   client.destroy_clientid()]
        client.close()
        return next((r for r in results if r != "OK"), "OK")
    return act


def restarts(server):
    """A server that starts, is there for a moment, and stops."""
    def act():
        server.restart()
        return server.status()["state"]
    return act


def fuzz(pipes, scopes):
    """Runs the fuzzer to its end; its exit status."""
    words = [f"--pipe={pipe}" for pipe in pipes] + [f"--scope={scope}" for scope in scopes]
    words += [f"--file=/proc/fs/nfsd/{name}" for name in FILES] + [f"--writes={WRITES}"]
    words += [f"--seed={WORDS['seed']}"] if "seed" in WORDS else []
    # The server comes first.
    with subprocess.Popen(["nice", "/test/filefuzz", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True) as process:
        for line in process.stdout:
            print(f"# {line.rstrip()}", flush=True)
    return process.returncode


# A line on the console for each grace period would take most of the time.
sh("dmesg -n notice")
(calm, busy), _ = v3.start([("calm", 3141592653), ("busy", 1234)])
end_grace()
sh("sysctl -q fs.leases-enable=0; ip netns add other; nsenter --net=/run/netns/other ip link set lo up")
other = Server("other", "/srv/other")
other.set_up()
client = v3.Client("c1", [calm])
v3.lib(f'in_client c1 sh -c ". /test/lib/lib.sh; SERVER={client.server} mount_client 4.2 calm /mnt/calm4"')
mounts = {"NFSv3": "/mnt/calm/three", "NFSv4.2": "/mnt/calm4/four"}

work = Work()
work.begin("NLM locks on the busy export", locks(busy))
work.begin("NFSv4 opens on the busy export", opens(busy))
work.begin("NFSv4 opens by an address that drains at times", opens(busy, "127.0.0.2"))
work.begin("NFSv4 clients that come and go", guests)
work.begin("restarts of the other server", lambda: restarts(other), pause=0.5)
# pylint: disable-next=consider-using-with
workers = {name: subprocess.Popen(client.command("python3", "/test/stress/fuzz-client.py", path), text=True,
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE)
           for name, path in mounts.items()}
began = time.monotonic()
equal("the fuzzer comes to its end",
      fuzz(["/run/rpc_pipefs/nfsd/cld", f"{other.pipefs}/nfsd/cld"], ["1234", f"ip:{HOST}"]), 0)
seconds = time.monotonic() - began
equal("all who worked meanwhile come to theirs", work.end(), 0)
for name, counts in work.counts.items():
    print(f"# {name}: {dict(counts)}", flush=True)
for name, process in workers.items():
    result = json.loads(process.communicate(timeout=patience(120))[0])
    print(f"# a mount of {name}: {result}", flush=True)
    check(f"a mount of {name} went on working", result["done"] > seconds / 4 and not result["errors"], result)
    check(f"and never waited for long: {result['longest']:.1f} s", result["longest"] < 20)
for name, good in (("NLM locks on the busy export", "GRANTED"), ("NFSv4 opens on the busy export", "OK")):
    counts = work.counts[name]
    check(f"{name} went on, {counts[good]} of {counts.total()}", counts[good] > seconds / 4, dict(counts))
check("clients came and went", work.counts["NFSv4 clients that come and go"]["OK"] > seconds / 4)

status = Server().status()
print(f"# {status}", flush=True)
check("bad messages were counted", status["bad_downcalls"] > WRITES / 100)
check("nothing is in flight", wait_until(lambda: Server().status()["in_flight"] == 0, 30))
equal("nothing is in grace", read("fsid_grace"), "")
check("nothing drains", wait_until(lambda: read("drain") == "", 5), read("drain"))
check("the address that did is served", opens(busy, "127.0.0.2")()() == "OK")
locker = v3.Locker(client)
equal("a client locks with NFSv3 and NFSv4.2",
      [locker.lock(path, "w", 0, 100) for path in mounts.values()], ["ok", "ok"])
equal("a release works", release("1234")[0], "ok")
v3.lib(f"stop_server; GRACE={v3.GRACE} start_server")
check("after a restart, the client may reclaim", Server().status()["records_known"] >= 1)
equal("and does: it goes on under its lock", locker.lock(mounts["NFSv4.2"], "w", 100, 100), "ok")
check("which nobody else gets", not succeeds(f"python3 /test/lib/lock.py try {calm.path}/four"))
end_grace()
locker.stop()
v3.lib("in_client c1 umount /mnt/calm /mnt/calm4; stop_server; stop_nfsdcld")
other.stop()
check("the livepatch can be switched off", switch_off())
check("and the module unloaded", wait_until(lambda: succeeds("rmmod nfsd_ha"), 10))
done()
