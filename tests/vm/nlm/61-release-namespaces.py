#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: once=yes timeout=180 module=load
"""Two servers in two net namespaces export one file system under one number: a release of the one
leaves the other's clients alone, which the stock kernel's unlock_filesystem does not."""

from control import clients, read, release
from fullserver import ROOT, FullServer, RawHost
from ktap import done, equal
from nfs import Client, Server, sh
from nfs3 import Nfs3, mount_handle
from nlm import Nlm

# Where lockd is to listen: all namespaces' servers register with the rpcbind of the first.
PORT = 4045

first = FullServer(grace=10)
first.set_up()
sh(f"echo {PORT} > /proc/sys/fs/nfs/nlm_tcpport")
first.start()
host = RawHost()
first.end_grace()
path = first.export("a", "fsid=1234")

sh("ip netns add other; nsenter --net=/run/netns/other ip link set lo up")
second = Server("other", ROOT, "/var/lib/nfs/nfsdcld-other", tmpfs=False)
second.set_up()
guest = Client("guest", "raw", server_netns="other")
second.start_daemon()
# Not the first one's rpcbind, which it would find in /run.
second.run("mount -t tmpfs tmpfs /run; rpcbind -w; rpc.mountd")
second.run(f"exportfs -o rw,fsid=1234,no_root_squash,no_subtree_check *:{path}; rpc.nfsd 2")
sh("nsenter --net=/run/netns/other sh -c 'mount -t proc proc /mnt && echo Y > /mnt/fs/lockd/nlm_end_grace; "
   "umount /mnt'")

here, there = {"netns": host.netns}, {"netns": guest.netns}
directory = mount_handle(path, host.server_ip, **here)
file = Nfs3(host.server_ip, **here).create(directory, "f")
equal("both servers give the same handle", mount_handle(path, guest.server_ip, **there), directory)
one = Nlm(4, host.server_ip, "one", port=PORT, **here)
two = Nlm(4, guest.server_ip, "two", port=PORT, **there)


def locks():
    """The locks that each server's clients have."""
    return [[line[4] for line in clients(control) if line[4]] for control in ("/proc/fs/nfsd", second.control)]


equal("a client of each has a lock on the same file, without a monitor",
      [one.lock(file, offset=0, monitored=False), two.lock(file, offset=100, monitored=False)], ["GRANTED"] * 2)
equal("each mount shows its own", locks(), [[1], [1]])
equal("one is released", release("1234")[1]["locks"], 1)
equal("the other is there", locks(), [[], [1]])
equal("a grace period of the one", sh(f"echo '1234 100' > /proc/fs/nfsd/fsid_grace; cat {second.control}/fsid_grace"), "")
equal("is none of the other", [one.lock(file, offset=1, monitored=False), two.lock(file, offset=200, monitored=False)],
      ["DENIED_GRACE", "GRANTED"])
sh("echo '1234 0' > /proc/fs/nfsd/fsid_grace")
equal("released there", release("1234", second.control)[1]["locks"], 2)

equal("both have locks again",
      [one.lock(file, offset=0, monitored=False), two.lock(file, offset=100, monitored=False)], ["GRANTED"] * 2)
sh(f"echo {path} > /proc/fs/nfsd/unlock_filesystem")
stock = locks()
print(f"# the stock kernel's unlock_filesystem, written in one namespace, leaves {stock[0]} and {stock[1]}")
equal("the stock kernel's way takes the other's locks, too", stock, [[], []])
equal("nothing is in grace", read("fsid_grace"), "")
second.stop()
done()
