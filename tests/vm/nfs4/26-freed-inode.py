#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: once=yes timeout=120 module=load boot=slab_debug=FPZU
"""Nobody looks at the inode of a lock that was released, when the file system is unmounted.

nfsd's laundromat looks for blocked locks at the inodes of all files of a client's lock owners, once it has not heard of
the client for a lease. What is freed is poisoned here: a pointer that is read from it ends the machine.
"""

from control import release
from fullserver import FullServer, RawHost
from ktap import check, done, equal
from nfs import kernel_log, sh, succeeds, wait_until
from nfs4 import Nfs4

LEASE = 10
server, host = FullServer(grace=LEASE, lease=LEASE), RawHost()
server.set_up()
server.start()
server.end_grace()
paths = {name: server.export(name, f"fsid={fsid}") for name, fsid in (("a", 1234), ("b", 5678))}
files = {name: host.create(path) for name, path in paths.items()}
clients = []
for minor in (0, 1, 2):
    client = Nfs4(minor, host.server_ip, f"client-{minor}", **host.where)
    assert (client.establish(), client.reclaim_complete()) == ("OK", "OK")
    # One lock owner, with a lock that goes and one that stays: so the client is not expired.
    for name, fh in files.items():
        opened = client.open_fh(fh) if minor else client.open(client.path(f"/{name}"), "f", create=False)
        assert client.lock(opened, 10 * minor).status == "OK"
    clients.append(client)
host.on_server(f"ip addr del {host.server_ip}/24 dev {host.near}")
result, answer = release("1234")
equal("what three clients hold is released, who hold something elsewhere",
      (result, answer.get("nfs4_opens"), answer.get("nfs4_locks")), ("ok", 3, 3))
server.unexport_path(paths["a"])
check("its file system can be unmounted", succeeds(f"umount {paths['a']}"), sh("cat /proc/locks"))
check("a lease later the laundromat has looked at them",
      wait_until(lambda: sh("cat /proc/fs/nfsd/clients/*/info").count("status: courtesy") == len(clients), 3 * LEASE),
      sh("grep -h status /proc/fs/nfsd/clients/*/info"))
check("nfsd has not read what is freed", "general protection" not in kernel_log(), kernel_log()[-3000:])
host.on_server(f"ip addr add {host.server_ip}/24 dev {host.near}")
checker = Nfs4(1, host.server_ip, "checker", **host.where)
equal("it goes on", (checker.establish(), checker.reclaim_complete()), ("OK", "OK"))
status = checker.open_fh(files["b"]).status
equal("also with what they have elsewhere", status, "OK")
for client in clients[1:]:
    client.close()
done()
