# SPDX-License-Identifier: GPL-2.0
"""An original server in a net namespace, and what mounts it in this machine's own."""

from nfs import Server, sh, wait_until

ADDRESS = "10.9.99.1"
EDGE = "/srv/edge"


def original(lease=15):
    """The original server, which runs."""
    sh("modprobe nfsd; mount -t nfsd nfsd /proc/fs/nfsd; ip netns add orig; ip -n orig link set lo up; "
       "ip link add o-near type veth peer name o-far netns orig; ip addr add 10.9.99.2/24 dev o-near; ip link set o-near up; "
       f"ip -n orig addr add {ADDRESS}/24 dev o-far; ip -n orig link set o-far up")
    server = Server("orig", "/srv/orig", "/var/lib/nfs/nfsdcld-orig", lease=lease)
    server.set_up()
    server.start_daemon()
    server.start()
    return server


def serve(edge):
    """Starts the edge, a Server, of what is mounted."""
    edge.set_up()
    edge.start_daemon()
    edge.run(f"rpc.mountd -N 3; exportfs -o rw,fsid=5,no_root_squash,no_subtree_check *:{EDGE}")
    edge.mountd = True
    edge.start()


def mount(at=EDGE):
    """Mounts it."""
    sh(f"mkdir -p {at}; mount -t nfs -o vers=4.2 {ADDRESS}:/ {at}")


def originals(column):
    """What the module says of each original server, in a column."""
    with open("/proc/fs/nfsd/originals", encoding="ascii") as f:
        names, *lines = [line.strip("# \n").split() for line in f]
    return [dict(zip(names, line))[column] for line in lines]


def is_told():
    """Is all said to be reclaimed, and soon?"""
    return wait_until(lambda: originals("complete") == ["sent"], 30)
