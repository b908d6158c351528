#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: timeout=300 module=ship once=yes smp=1
"""Each call of the kernel that may fail does so, once: of the first, the second ... time it is made.

Loading, a server's start, upcalls, a control file, a client's first lock: what fails says so, leaves
nothing behind, and works the next time. (That memory fails is for 62-no-memory.)
"""

import errno
import os

from control import FILES
from fullserver import FullServer
from inject import Inject
from ktap import check, done, equal
from nfs import LIVEPATCH, MODULE, kernel_log, load, sh, succeeds, unload, wait_until
from nfs3 import Nfs3, mount_handle
from nfs4 import Nfs4
from nlm import Nlm

# A function, and what it returns.
LOADING = (("klp_enable_patch", -errno.EINVAL), ("simple_start_creating", -errno.ENOMEM), ("new_inode", 0))
STARTING = (("rpc_mkpipe_data", -errno.ENOMEM), ("rpc_mkpipe_dentry", -errno.ENOMEM),
            ("rpc_d_lookup_sb", 0))


def each(function, value, act):
    """Has `act` done with the first call of a function failing, with the second, until there is none.

    Returns the results.
    """
    results = []
    with Inject(function, value) as inject:
        while True:
            inject.arm(skip=len(results), pid=-1)
            result = act()
            if not inject.hits():
                return results
            results.append(result)


def load_and_unload():
    """What insmod said, how many files were there then, and of how many the log said that not."""
    before = kernel_log().count("in this mount, error")
    said = sh(f"insmod {MODULE}", check=False).strip().rsplit(": ", 1)[-1]
    files = len([name for name in FILES if os.path.exists(f"/proc/fs/nfsd/{name}")])
    missed = kernel_log().count("in this mount, error") - before
    if os.path.exists(LIVEPATCH):
        unload()
    assert not os.path.exists("/sys/module/nfsd_ha")
    return said or "ok", files, missed


server = FullServer(grace=10)
server.set_up()
for function, value in LOADING:
    results = each(function, value, load_and_unload)
    print(f"# insmod, {function}: {results}")
    equal(f"{function} fails: the module is not loaded, or says which file is not there",
          set(results) - {("Invalid parameters", 0, 0), ("ok", len(FILES) - 1, 1), ("ok", len(FILES), 0)}, set())
    check("it was called", results)
equal("without that it is loaded", load_and_unload(), ("ok", len(FILES), 0))

load()
for function, value in STARTING:
    def start():
        """Starts the server and stops it; what its tracking was."""
        started = succeeds("rpc.nfsd 2")
        state = server.status()["state"]
        sh("rpc.nfsd 0")
        return started, state, server.status()["state"]
    results = each(function, value, start)
    print(f"# rpc.nfsd, {function}: {results}")
    equal(f"{function} fails: a server is there, or is not, and can be stopped",
          [result for result in results if result[2] != "off"], [])
    check("it was called", results)
server.start()
equal("without that it is tracked", server.status()["state"], "active")
server.end_grace()

# Upcalls: whoever makes one, the record is stored in the end.
names = iter(range(1000))


def come_and_go():
    """A client comes and goes; whether both was noted."""
    client = Nfs4(1, "127.0.0.1", f"c{next(names)}")
    assert (client.establish(), client.reclaim_complete()) == ("OK", "OK")
    stored = wait_until(lambda: client.name in server.records()["current"], 20)
    client.destroy_session()
    assert client.destroy_clientid() == "OK"
    client.close()
    return stored, wait_until(lambda: client.name not in server.records()["current"], 20)


results = each("rpc_queue_upcall", -errno.ENOMEM, come_and_go)
print(f"# a client comes and goes, rpc_queue_upcall: {results}")
equal("upcalls that cannot be sent are sent later", set(results), {(True, True)})

# rpc.statd cannot be told, by a work item on behalf of lockd's thread.
path = server.export("a", "fsid=1234")
fh = Nfs3("127.0.0.1").create(mount_handle(path, "127.0.0.1"), "f")


def first_lock():
    """A new client's lock."""
    client = Nlm(4, "127.0.0.1", "one")
    result = client.lock(fh)
    if result == "GRANTED":
        client.unlock(fh)
    client.close()
    return result


equal("rpc.statd cannot be told: the lock is refused, and granted the next time",
      (each("rpc_call_sync", -errno.EIO, first_lock), first_lock()), (["NOLOCKS"], "GRANTED"))
server.stop()
unload()
check("in the end the module is gone", not os.path.exists("/sys/module/nfsd_ha"))
done()
