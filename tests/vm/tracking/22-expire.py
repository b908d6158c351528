#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: once=yes timeout=120 module=ship
"""A client is expired by hand while the daemon hangs, and the server stops meanwhile.

nfsd does not wait for such a writer when it stops: it must not find its tracking gone.
"""

import glob
import signal
import subprocess
import time

from ktap import check, done, equal
from nfs import SLOW, Client, Server, load, patience, sh, succeeds, switch_off, wait_until

load()
server = Server(lease=10)
server.set_up()
server.start_daemon()
server.start()
client = Client("a", "4.2")
client.mount()
equal("the client is on record", server.status()["create"], 1)
server.daemon.send_signal(signal.SIGSTOP)
(control,) = glob.glob("/proc/fs/nfsd/clients/*/ctl")
with subprocess.Popen(["sh", "-c", f"echo expire > {control}"]) as writer:
    check("its removal waits for the daemon",
          wait_until(lambda: server.status()["in_flight"] == 1, 10), server.status())
    began = time.monotonic()
    server.stop()
    check("the server stops without waiting for it", time.monotonic() - began < 10 * SLOW)
    equal("the writer comes back", writer.wait(patience(20)), 0)
server.daemon.send_signal(signal.SIGCONT)
server.stop_daemon()
check("the livepatch can be switched off", switch_off())
check("and the module unloaded", wait_until(lambda: succeeds("rmmod nfsd_ha"), 10))
done()
