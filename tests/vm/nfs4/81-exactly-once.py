#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: once=yes timeout=900 smp=2 module=load
"""An address moves to and fro between two servers, which know nothing of each other's requests, while clients of all
versions do what must not be done twice. With a drain, nothing is; without one, for the record, this is how much.

The servers are two net namespaces of this VM that export one file system. `--arg moves=N --arg kept=N --arg plain=N`: so many
moves with a drain that closes connections, with one that keeps them, and without.
"""

import os
import sys
import time

from control import command
from drains import Mounted, Twice, read_line
from ktap import done, equal
from nfs import Server, sh, wait_until

options = dict(word.split("=") for word in sys.argv[1:])
MOVES, KEPT, PLAIN = (int(options.get(key, default)) for key, default in (("moves", 2), ("kept", 2), ("plain", 1)))
ADDRESS, SHARED = "10.8.0.1", "/srv/shared"


class Node(Server):
    """A server in a net namespace that is connected to a bridge."""

    def __init__(self, name, tmpfs):
        super().__init__(name, SHARED, f"/var/lib/nfs/nfsdcld-{name}", tmpfs=tmpfs)
        link(name)
        sh(f"ip netns exec {name} unshare --mount sh -c 'mount -t tmpfs tmpfs /run; rpcbind -w'")
        self.set_up()
        self.start_daemon()
        self.run(f"rpc.mountd -N 3; exportfs -o rw,fsid=0,no_root_squash,no_subtree_check *:{SHARED}; rpc.nfsd 8")

    def enter(self, commands):
        """Runs commands in the namespace."""
        sh(f"ip netns exec {self.netns} sh -ec '{commands}'")


def link(name):
    """A net namespace on the bridge."""
    sh(f"ip netns add {name}; ip link add b-{name} type veth peer name eth0 netns {name}; "
       f"ip link set b-{name} master hub up; ip netns exec {name} sh -c 'ip link set lo up; ip link set eth0 up'")


def move(source, target, drain):
    """Moves the address, after a `drain` of this kind; returns how long it took, and what that said."""
    began, said = time.monotonic(), ""
    if drain:
        command("drain", f"{ADDRESS} {drain}", source.control)
        wait_until(lambda: "drained" in read_line(source.control, ADDRESS), 20, 0.02)
        said = read_line(source.control, ADDRESS)
    source.enter(f"ss -Hnt state established src {ADDRESS} >/run/connected; ip addr del {ADDRESS}/24 dev eth0")
    if "keep" in drain:
        # What is kept here shall not meet those who come back.
        command("drain", f"{ADDRESS} 0", source.control)
    # What was closed in order is remembered for a minute, and would answer, in place of a reset, who comes back meanwhile and is
    # tickled. `nfsd-ha` has it forgotten, too.
    source.enter(f"ss -K -t state connected src {ADDRESS} >/dev/null")
    command("drain", f"-{ADDRESS}", target.control)
    target.enter(f"ip addr add {ADDRESS}/24 dev eth0")
    sh("ip netns exec cl ip neigh flush all")
    if "keep" in drain:
        target.enter("awk \"{ print \\$3, \\$4 }\" /run/connected | /usr/libexec/heartbeat/tickle_tcp -n 3")
    return time.monotonic() - began, said


sh("ip link add name hub type bridge forward_delay 0; ip link set dev hub up")
nodes = Node("one", True), Node("two", False)
os.chmod(SHARED, 0o1777)
nodes[0].enter(f"ip addr add {ADDRESS}/24 dev eth0")
link("cl")
sh("ip netns exec cl ip addr add 10.8.0.2/24 dev eth0")
workers = [Mounted("cl", ADDRESS, version, SHARED) for version in ("4.0", "4.1", "4.2")]
workers.append(Twice("cl", ADDRESS, SHARED))


def moves(count, drain, names):
    """Moves the address so often, under load; returns what went wrong, and how many operations were done."""
    errors, done_count, resets = [], 0, 0
    # All work before each move, and after the last one.
    for number in range(count + 1):
        progress = [0] * len(workers)

        def work_goes_on():
            for at, worker in enumerate(workers):
                mark = worker.mark()
                progress[at] += mark["count"]
                errors.extend(f"{number}: {worker.version}: {error}" for error in mark["errors"])
            return min(progress) > 30

        if not wait_until(work_goes_on, 60, 0.5):
            errors.append(f"move {number}: no progress: {progress}")
        done_count += sum(progress)
        if number < count:
            took, said = move(*names, drain)
            names.reverse()
            resets += "reset 0" not in said
    print(f"# {count} moves, {f'drained for {drain}' if drain else 'deleted'}: {done_count} operations, {len(errors)} wrong, the last "
          f"one took {took:.2f} s: {said.strip()}", flush=True)
    return errors, resets


order = list(nodes)
errors, resets = moves(MOVES, "20", order)
equal("drained: every operation is done once", errors[:20], [])
equal("drained: no connection was reset", resets, 0)
errors, resets = moves(KEPT, "20 keep", order)
equal("kept: every operation is done once", errors[:20], [])
equal("kept: no connection was reset before the address was away", resets, 0)
errors, _ = moves(PLAIN, "", order)
print("# without a drain: " + "; ".join(errors[:10]))
done()
