#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: once=yes timeout=240 mem=1024 module=ship
"""An original server, a mount of it and the server that exports that again, each in another net namespace."""

from ktap import check, done, equal
from nfs import Client, Server, load, sh, switch_off, succeeds, wait_until


def original(column):
    """What `originals` says in a column of the one original server."""
    with open("/proc/fs/nfsd/originals", encoding="ascii") as f:
        names, *lines = [line.strip("# \n").split() for line in f]
    return [dict(zip(names, line))[column] for line in lines]


sh("modprobe nfsd; mount -t nfsd nfsd /proc/fs/nfsd; for n in orig edge; do ip netns add $n; ip -n $n link set lo up; done; "
   "ip link add o-near type veth peer name o-far netns orig; ip addr add 10.9.99.2/24 dev o-near; ip link set o-near up; "
   "ip -n orig addr add 10.9.99.1/24 dev o-far; ip -n orig link set o-far up")
server = Server("orig", "/srv/orig", "/var/lib/nfs/nfsdcld-orig", lease=15)
server.set_up()
server.start_daemon()
server.start()
load("reexport=1")
sh("mkdir -p /srv/edge; mount -t nfs -o vers=4.2 10.9.99.1:/ /srv/edge")
check("no server runs where it is mounted, and one elsewhere has nobody to wait for: all is said to be reclaimed",
      wait_until(lambda: original("complete") == ["sent"], 30), original("complete"))
edge = Server("edge", "/srv/edge", "/var/lib/nfs/nfsdcld-edge", lease=15, tmpfs=False)
edge.set_up()
edge.start_daemon()
edge.run("rpc.mountd -N 3; exportfs -o rw,fsid=5,no_root_squash,no_subtree_check *:/srv/edge")
edge.mountd = True
edge.start()
client = Client("c", "4.2", server_netns="edge")
client.mount()
holder = client.holder()
equal("a client of that one locks", holder.write(), "ok")
equal("and is known to use the original server", original("reexported"), ["yes"])
with open("/proc/locks", encoding="ascii") as locks:
    equal("which has the lock, beside the edge's and the client's own", sum(" POSIX " in line for line in locks), 3)
check("the module is switched off with all of that in use", switch_off())
equal("the client goes on", holder.write(), "ok")
holder.stop()
client.umount()
edge.stop()
server.stop()
check("and unloaded", wait_until(lambda: succeeds("rmmod nfsd_ha"), 60))
done()
