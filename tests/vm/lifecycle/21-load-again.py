#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: once=yes timeout=400 module=ship smp=1
"""Loading and unloading again and again, with a mount in use, leaks nothing and logs nothing bad.

A word says how often in each half, 50 in make test-long. With one CPU livepatch is done at once; with
more it looks again after a second.
"""

import os
import re
import sys

from ktap import check, done, equal
from nfs import (LIVEPATCH, MODULE, Client, Server, kernel_log, sh, succeeds, switch_off,
                 wait_until)

WARM_UP = 6
ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 6


def slabs():
    """Active objects by cache, once what waits to be freed has been."""
    sh("sync; echo 3 > /proc/sys/vm/drop_caches; sleep 1;"
       " for cache in /sys/kernel/slab/*/shrink; do echo 1 > $cache; done; sleep 1")
    with open("/proc/slabinfo", encoding="ascii") as f:
        caches = {line.split()[0]: int(line.split()[1]) for line in f.readlines()[2:]}
    # A debug kernel's own notes of what is tracked, which it keeps for a while.
    caches.pop("debug_objects_cache", None)
    return caches


def restart():
    """Stops and starts the server, which keeps its exports and its times."""
    server.run("rpc.nfsd 0; rpc.nfsd -N 3 4")


def rounds(number):
    """Loads, switches off and unloads; every other time a server starts with the module."""
    results = set()
    for n in range(number):
        sh(f"insmod {MODULE}")
        if n % 2:
            restart()
        results.add(holder.write())
        assert switch_off(), "the livepatch stays"
        if n % 2:
            restart()
        assert wait_until(lambda: succeeds("rmmod nfsd_ha"), 30, 0.02), "rmmod fails"
    return results


# The kernel watches its own memory (DAMON): it keeps the more regions the longer it does.
# A connection that has ended leaves a socket for a minute, in a cache of its own.
sh("sysctl -q net.ipv4.tcp_max_tw_buckets=0")
sh("for on in /sys/module/damon_*/parameters/enabled; do echo N >$on; done", check=False)
server = Server(lease=10)
server.set_up()
server.start_daemon()
server.start()
client = Client("a", "4.2")
client.mount()
holder = client.holder()
equal(f"the client writes in each of the first {WARM_UP} rounds", rounds(WARM_UP), {"ok"})
seen = [slabs()]
for half in "first", "second":
    equal(f"the client writes in each of the {half} {ROUNDS} rounds", rounds(ROUNDS), {"ok"})
    seen.append(slabs())
# A leak shows in both halves; what the kernel keeps for each CPU comes and goes.
grown = {name: [s.get(name, 0) for s in seen] for name in seen[2]}
grown = {name: n for name, n in grown.items() if min(n[1] - n[0], n[2] - n[1]) >= ROUNDS * 0.9}
equal("no cache grows by an object a round", grown, {})
check("no module, no livepatch and no file is left",
      not any(map(os.path.exists, ("/sys/module/nfsd_ha", LIVEPATCH,
                                   "/proc/fs/nfsd/client_tracking"))))
check("the log has nothing bad",
      not re.search("WARNING|BUG|Oops|hung task|general protection", kernel_log()))
holder.stop()
done()
