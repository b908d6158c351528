#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: timeout=240 module=load disk=plain:64M
"""nlm_unlock: what it releases, by every kind of scope, and what it leaves alone."""

import os
import struct
import time

from control import NOTHING, clients, release
from fullserver import FSID_LENGTH, ROOT, FullServer, RawHost
from ktap import check, done, equal
from nfs import Client, sh, succeeds, wait_until
from nfs3 import Nfs3, mount_handle
from nlm import ACCESS_BOTH, DENY_WRITE, Nlm, Responder

UUID = "0d7bb6e8-0c1e-4e6a-9d61-3f9a1f6c1b1d"

server = FullServer(grace=10)
server.set_up()
server.start()
host = RawHost()
Responder(host.netns)
second = Client("second", "raw")
server.end_grace()


def released(scope, **wanted):
    """Releases a scope, and reports whether it was this much."""
    result, answer = release(scope)
    answer.pop("scope", None)
    equal(f"{scope}: {wanted or 'nothing'}", (result, answer), ("ok", NOTHING | wanted))


def kernel_locks():
    """The byte-range locks that the kernel has."""
    with open("/proc/locks", encoding="ascii") as f:
        return sum("POSIX" in line and "->" not in line for line in f) - own_locks


def client(name, server_ip=None):
    """A raw client on the first host, that uses one of the server's addresses."""
    return Nlm(4, server_ip or host.server_ip, name, **host.where)


def files_of(path, *names):
    """The handles of new files."""
    directory = mount_handle(path, host.server_ip, **host.where)
    nfs = Nfs3(host.server_ip, **host.where)
    return [nfs.create(directory, name) for name in names]


own_locks = 0
own_locks = kernel_locks()
a = files_of(server.export("a", "fsid=1234"), "f", "g", "h")
b = files_of(server.export("b", "fsid=5678"), "f")
one, two = client("one"), Nlm(4, second.server_ip, "two", netns=second.netns)

equal("a lock, three ranges of two owners on a second file, and locks of another client",
      [one.lock(a[0]), one.lock(a[1], offset=0, length=10), one.lock(a[1], offset=20, length=0),
       one.lock(a[1], svid=2, offset=12, length=2), two.lock(a[0], offset=100), two.lock(b[0])],
      ["GRANTED"] * 6)
equal("a blocked lock of each", [two.lock(a[0], block=True), one.lock(a[0], offset=100, block=True, svid=3)],
      ["BLOCKED"] * 2)
equal("shares", [one.share(a[2], "s1", DENY_WRITE), two.share(a[2], "s2"), two.share(b[0], "s3")],
      ["GRANTED"] * 3)
equal("nlm_clients counts them", sorted(c[:1] + c[3:] for c in clients()),
      [("1234", 4, 1, 1, 1, "two"), ("1234", 4, 4, 1, 1, "one"), ("5678", 4, 1, 0, 1, "two")])
before = kernel_locks()
released("1234", locks=5, blocks=2, shares=2, files=3, clients=2)
equal("five locks are gone from the kernel", kernel_locks(), before - 5)
released("1234")
equal("nothing of the other export is touched", [c[4:7] for c in clients() if c[0] == "5678"], [(1, 0, 1)])
equal("both clients are to be notified still", sorted(c[4:] for c in clients() if c[0] == "1234"),
      [(0, 0, 0, "one"), (0, 0, 0, "two")])
equal("whoever had the locks may have them again, and so may others",
      [two.lock(a[0]), one.lock(a[1]), two.share(a[2], "s4", DENY_WRITE, ACCESS_BOTH)], ["GRANTED"] * 3)
released("0x4d2", locks=2, shares=1, files=3, clients=2)
server.unexport("a")
check("the file system can be unmounted at once", succeeds("umount /srv/root/a"))

# The server's address.
other = client("other", host.other_ip)
six = client("six", host.server_ip6)
c = files_of(server.export("c", "fsid=9"), "f", "g")
equal("locks that came to four addresses",
      [one.lock(c[0], offset=0), other.lock(c[0], offset=10), six.lock(c[0], offset=20),
       client("six2", host.other_ip6).lock(c[0], offset=30)], ["GRANTED"] * 4)
equal("and to two of them on a second file", [one.lock(c[1]), six.lock(c[1], offset=10)], ["GRANTED"] * 2)
equal("and a blocked one", six.lock(c[0], offset=0, block=True), "BLOCKED")
released(f"ip:{host.server_ip6}", locks=2, blocks=1, files=2, clients=1)
released(f"ip:{host.other_ip}", locks=1, files=1, clients=1)
released("ip:192.0.2.77")
released("9", locks=3, files=2, clients=2)
released(f"ip:{second.server_ip}", locks=1, shares=1, files=1, clients=1)
released("5678")

# One file system under two numbers: a handle says which.
sh(f"mkdir -p {ROOT}/both && mount -t tmpfs tmpfs {ROOT}/both && mkdir {ROOT}/both/x {ROOT}/both/y")
for name, fsid in (("x", 11), ("y", 12)):
    sh(f"exportfs -o rw,no_root_squash,no_subtree_check,fsid={fsid} *:{ROOT}/both/{name}")
x, y = files_of(f"{ROOT}/both/x", "f")[0], files_of(f"{ROOT}/both/y", "g")[0]
os.link(f"{ROOT}/both/x/f", f"{ROOT}/both/y/same")
same = Nfs3(host.server_ip, **host.where).lookup(
    mount_handle(f"{ROOT}/both/y", host.server_ip, **host.where), "same")
equal("locks under both numbers, also on one inode", [one.lock(x), one.lock(y), two.lock(same, offset=50)],
      ["GRANTED"] * 3)
released("11", locks=1, files=1, clients=1)
equal("under the other number they stay", [c[4] for c in clients() if c[0] == "12"], [1, 1])
equal("a lock that stays is a lock", one.lock(x, offset=50), "DENIED")
released("12", locks=2, files=2, clients=2)

# A UUID that the admin gave, the file system's own one, and a device.
u = files_of(server.export("u", f"fsid={UUID}"), "f")[0]
equal("a lock on an export with a UUID", one.lock(u), "GRANTED")
released(UUID.replace("0d7", "1d7"))
released(UUID.upper().replace("-", ""), locks=1, files=1, clients=1)
p = files_of(server.export("p", "", "/dev/disk/plain"), "f")[0]
equal("and on one whose file system has its own", one.lock(p), "GRANTED")
own = sh("blkid -o value -s UUID /dev/disk/plain").strip()
released(own, locks=1, files=1, clients=1)
# nfs-utils gives a device's handles to nobody any more, but takes them.
major, minor = os.major(os.stat(f"{ROOT}/p").st_dev), os.minor(os.stat(f"{ROOT}/p").st_dev)
inode = os.stat(f"{ROOT}/p").st_ino
by_device = bytes([1, 0, 0, p[3]]) + struct.pack(">HHI", major, minor, 0)[:4] + struct.pack("=I", inode)
by_device += p[4 + FSID_LENGTH[p[2]]:]
equal("a lock with a device's handle", one.lock(by_device), "GRANTED")
released(own, locks=1, files=1, clients=1)
equal("and with both", (one.lock(by_device), one.lock(p, offset=50)), ("GRANTED", "GRANTED"))
released(f"dev:{major}:{minor + 1}")
released(f"dev:{major}:{minor}", locks=2, files=2, clients=1)
server.unexport("p")
check("so can the one with its own UUID", succeeds("umount /srv/root/p"))
check("with all released, lockd holds no lock", kernel_locks() == 0, sh("cat /proc/locks"))

# A callback on its way to a client that does not answer any more holds the file, too.
f = files_of(server.export("e", "fsid=77"), "f")[0]
silent = Client("silent", "raw")
waiter = Nlm(4, silent.server_ip, "waiter", netns=silent.netns)
equal("a client is blocked", [one.lock(f), waiter.lock(f, block=True)], ["GRANTED", "BLOCKED"])
waiter.close()
silent.link("down")
equal("its lock is granted, which it does not hear", one.unlock(f), "GRANTED")
check("the server has it", wait_until(lambda: kernel_locks() == 1))
time.sleep(1)
server.unexport("e")
began = time.monotonic()
released("77", locks=1, blocks=1, files=1, clients=1)
check("and this file system can be unmounted at once", succeeds("umount /srv/root/e"))
print(f"# with a callback on its way, release and umount took {time.monotonic() - began:.2f} s")

# lockd has its clients no longer monitored when it stops in order; those whose locks were released must be told.
kept, told = Client("kept", "raw"), Client("told", "raw")
f, g = files_of(server.export("k", "fsid=88"), "f", "g")
equal("two clients take locks", [Nlm(4, c.server_ip, c.name, netns=c.netns).lock(fh)
                                 for c, fh in ((kept, f), (told, g))], ["GRANTED"] * 2)


def monitored():
    """Of these two clients, whom rpc.statd has on its list, by address."""
    names = os.listdir("/var/lib/nfs/sm")
    return [client.server_ip.rsplit(".", 1)[0] + ".2" in names for client in (told, kept)]


equal("rpc.statd monitors both", monitored(), [True, True])
released(f"ip:{told.server_ip}", locks=1, files=1, clients=1)
server.stop()
equal("the one whose lock was released stays monitored, the other does not", monitored(), [True, False])
done()
