#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: timeout=300 module=ship
"""Loading, switching off and unloading, in every order, with servers and mounts in use."""

import os

from ktap import check, done, equal
from nfs import Client, Server, kernel_log, load, sh, succeeds, switch_off, unload, wait_until

STATUS = "/proc/fs/nfsd/client_tracking"

# Before nfsd is there.
load()
equal("loaded before nfsd", os.path.exists("/sys/module/nfsd"), False)
server = Server(lease=10)
server.set_up()
equal("a mount made later has the file", server.status(), {"state": "off"})
server.start_daemon()
server.start()
equal("a server started later is tracked", server.status()["state"], "active")

# nfsd goes and comes.
server.stop()
server.stop_daemon()
server.tear_down()
sh("rmmod nfsd")
check("nfsd can be unloaded with the module in place", not os.path.exists("/sys/module/nfsd"))
server.set_up()
server.start_daemon()
server.start()
equal("and is attached to again when it is loaded again", server.status()["state"], "active")
server.stop()
unload(switching=60, removing=10)
check("unloaded with nfsd in place", not os.path.exists("/sys/module/nfsd_ha"))
check("its file is gone", not os.path.exists(STATUS))

# After nfsd, with a server that runs.
server.start()
client = Client("a", "4.2")
client.mount()
holder = client.holder()
load()
equal("a server that runs keeps its tracking", server.status()["state"], "stock")
check("the log says so", "keeps its present client tracking" in kernel_log())
equal("and its clients do not notice", holder.write(), "ok")
server.restart()
equal("after a restart it is ours", server.status()["state"], "active")
equal("the client that the stock code recorded reclaims", holder.write(), "ok")
equal("and its lock is there", server.locks(client.file), 1)
wait_until(lambda: not server.in_grace(), 60)

# Switched off while a server uses our operations.
check("switching off with a server in use comes to its end", switch_off())
check("rmmod is refused as long as the server runs", not succeeds("rmmod nfsd_ha"))
check("the file is gone", not os.path.exists(STATUS))
equal("the client goes on", holder.write(), "ok")
other = Client("b", "4.2")
other.mount()
second = other.holder()
equal("a client that comes now is recorded by the operations that are switched off",
      server.records()["current"], {client.name, other.name})
server.stop()
check("when the server has stopped, rmmod works", succeeds("rmmod nfsd_ha"))
server.start()
check("the stock tracking is used again",
      "NFSD: Using nfsdcld client tracking operations." in kernel_log().rsplit("nfsd_ha", 1)[1])
equal("with the records that ours have stored", [h.write() for h in (holder, second)],
      ["ok", "ok"])
wait_until(lambda: not server.in_grace(), 60)

# A file of ours that is open, also without a reference to the module.
load()
with open(STATUS, encoding="ascii") as f:
    path_only = os.open(STATUS, os.O_PATH)
    check("switching off with the file open comes to its end", switch_off())
    check("rmmod is refused as long as the file is open", not succeeds("rmmod nfsd_ha"))
    equal("the open file still reads", f.readline(), "state stock\n")
check("and works when it is closed", wait_until(lambda: succeeds("rmmod nfsd_ha"), 10))
check("opening it by a handle without operations fails",
      not succeeds(f"cat /proc/{os.getpid()}/fd/{path_only}"))
os.close(path_only)
equal("the client's lock has been there all the time", holder.write(), "ok")
for h in (holder, second):
    h.stop()
done()
