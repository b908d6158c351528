#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: once=yes timeout=300 smp=2 module=load disk=slow:16M
"""A server address drains: what was read is answered, nothing else is executed, and connections are closed in order."""

import contextlib
import errno
import fcntl
import json
import os
import select
import socket
import subprocess
import time

from control import command, read
from drains import Burst, Capture, Flood, Idle, ends, mute, refused
from fullserver import serve
from ktap import check, done, equal
from nfs import MODULE, Client, Server, sh, succeeds, switch_off, wait_until
from nfs3 import Nfs3, mount_handle
from nlm import Nlm
from rpc import Packer, connect, in_netns, port_of

server, host = serve()
PATH = server.export("a", "fsid=1234")
HOME, OTHER, HOME6, OTHER6 = host.server_ip, host.other_ip, host.server_ip6, host.other_ip6
WHERE = host.where
root = mount_handle(PATH, HOME, **WHERE)
big = host.create(PATH, "big")
os.truncate(f"{PATH}/big", 64 << 20)


def lines():
    """What `drain` shows, by address."""
    return {line.split()[0]: line.split()[1:] for line in read("drain").splitlines()}


def drained(address, timeout=20):
    """Waits until an address is drained; what its line says then, by key."""
    wait_until(lambda: lines().get(address, ["?"])[0] == "drained", timeout, 0.02)
    words = lines().get(address, ["?"])
    return dict(zip(words[1::2], map(int, words[2::2]))) if words[0] == "drained" else words


def end(*addresses):
    """Ends what drains."""
    return [command("drain", f"-{address}")[0] for address in addresses]


def was_reset(sock):
    """Has the server reset a connection?"""
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) in (errno.ECONNRESET, errno.EPIPE)


@contextlib.contextmanager
def frozen(path):
    """A file system to which nobody can write."""
    directory = os.open(path, os.O_RDONLY)
    fcntl.ioctl(directory, 0xC0045877)  # FIFREEZE
    try:
        yield
    finally:
        fcntl.ioctl(directory, 0xC0045878)  # FITHAW
        os.close(directory)


def serves(address):
    """Is a client served there?"""
    nfs = Nfs3(address, **WHERE)
    kind = nfs.getattr(root)[0]
    nfs.close()
    return kind == 2


# Commands.
equal("nothing drains", read("drain"), "")
for bad in ("", "x", "1.2.3", f"{HOME} x", f"{HOME} 601", f"{HOME} -1", f"{HOME} 1 2", "0.0.0.0", "::", "224.0.0.1",
            f"--{HOME}", f"-{HOME} 1", f" {HOME}", "keep", f"{HOME} keep 1", f"-{HOME} keep", f"{HOME}\n{HOME}"):
    equal(f"{bad!r} is refused", (command("drain", bad), read("drain")), (("EINVAL", ""), ""))
equal("what does not drain may be ended", command("drain", f"-{HOME}"), ("ok", f"{HOME} ended\n"))
results = [command("drain", f"192.0.2.{n}")[0] for n in range(65)]
equal("64 addresses fit", results, ["ok"] * 64 + ["ENOSPC"])
equal("they are shown", len(lines()), 64)
end(*(f"192.0.2.{n}" for n in range(64)))
equal("and ended", (wait_until(lambda: read("drain") == "", 5), read("drain")), (True, ""))


# Under load, at two addresses of IPv4 and one of IPv6; the first drains, and then the third. For the record the same when
# the second is taken away as ever.
def load(address, name):
    """Clients that have many calls under way."""
    return [Burst(address, root, f"{name}{n}", **WHERE) for n in range(3)]


def outcome(bursts):
    """How their connections ended, and how many calls were executed and not answered, and answered and not executed."""
    for burst in bursts:
        burst.join()
    there = os.listdir(PATH)
    lost = [burst.compare(there) for burst in bursts]
    return {burst.end for burst in bursts}, sum(one[0] for one in lost), sum(one[1] for one in lost)


for address, name in ((HOME, "first"), (HOME6, "six")):
    others = load(OTHER, f"{name}-other")
    capture = Capture(host.netns)
    bursts = load(address, name)
    time.sleep(1.5)
    with open("/proc/fs/nfsd/drain", "rb", buffering=0) as news:
        poll = select.poll()
        poll.register(news, select.POLLPRI)
        news.read()
        began = time.monotonic()
        result, text = command("drain", address)
        check(f"{name}: refused at once", refused(address, **WHERE))
        print(f"# refused within {time.monotonic() - began:.3f} s")
        check("a poller is told", bool(poll.poll(5000)))
    answer = drained(address)
    print(f"# {text.strip()}; drained after {time.monotonic() - began:.2f} s: {answer}")
    equal(f"{name}: it begins, and ends", (result, text.split()[:2], answer),
          ("ok", [address, "draining"], {"closed": 3, "reset": 0, "refused": 1}))
    unanswered = sum(len(burst.sent) - len(burst.answered) for burst in bursts)
    equal(f"{name}: what was executed was answered", outcome(bursts), ({"closed"}, 0, 0))
    check(f"{name}: some calls were not executed", unanswered > 0, unanswered)
    equal(f"{name}: each connection ends with two FINs and no reset", ends(capture.stop(), address), {(0, 2): 3})
    equal(f"{name}: nobody at the other address notices", [burst.end for burst in others], [""] * 3)
    for burst in others:
        burst.stop()
    equal(f"{name}: again, while it is drained", command("drain", f"{address} 5")[1].split()[:2], [address, "drained"])
    equal(f"{name}: served again", (end(address), serves(address)), (["ok"], True))
    check(f"{name}: nothing is left", wait_until(lambda: read("drain") == "", 5), read("drain"))

capture = Capture(host.netns)
bursts = load(OTHER, "stock")
time.sleep(1.5)
host.on_server(f"ip addr del {OTHER}/24 dev {host.near}")
time.sleep(1)
host.on_server(f"ip addr add {OTHER}/24 dev {host.near}")
stock = outcome(bursts), ends(capture.stop(), OTHER)
print(f"# the address is simply deleted: {stock}")
check("an address that is simply deleted resets its connections", (0, 2) not in stock[1], stock)

# A drain that is ended midway: connections that were there are closed, and the address is served again.
bursts = load(HOME, "midway")
time.sleep(0.5)
equal("ended at once", (command("drain", HOME)[0], end(HOME), serves(HOME)), ("ok", ["ok"], True))
equal("those who were there are closed in order all the same", outcome(bursts), ({"closed"}, 0, 0))

# Kept: what was executed is answered, and then nothing is said, until somebody resets it.
capture = Capture(host.netns)
bursts = load(HOME, "kept")
time.sleep(1)
began = time.monotonic()
equal("kept: it begins", command("drain", f"{HOME} 20 keep")[0], "ok")
equal("kept: all are quiet", drained(HOME), {"closed": 0, "reset": 0, "refused": 0, "kept": 3})
print(f"# within {time.monotonic() - began:.2f} s")
time.sleep(1)
equal("kept: no connection has ended", ({burst.end for burst in bursts}, ends(capture.stop(), HOME)), ({""}, {(0, 0): 3}))
equal("kept: a new one is refused", refused(HOME, **WHERE), True)
equal("kept: they go in the end", (command("drain", f"{HOME} 0")[0], drained(HOME)),
      ("ok", {"closed": 0, "reset": 3, "refused": 1}))
equal("kept: what was executed was answered", outcome(bursts), ({"closed"}, 0, 0))
end(HOME)
bursts, deaf = load(HOME, "turned"), mute(HOME, big, **WHERE)
silent = connect(HOME, 2049, **WHERE)
time.sleep(1)
equal("kept: who does not read is reset", (command("drain", f"{HOME} 1 keep")[0], drained(HOME)),
      ("ok", {"closed": 0, "reset": 1, "refused": 0, "kept": 4}))
equal("kept: served again", (end(HOME), serves(HOME)), (["ok"], True))
equal("kept: those who were there are closed in order all the same", outcome(bursts), ({"closed"}, 0, 0))
silent.close()
check("kept: nothing is left", wait_until(lambda: read("drain") == "", 5), read("drain"))

# Many that are idle.
idle = Idle(HOME, root, 200, **WHERE)
began = time.monotonic()
equal("200 connections drain", command("drain", f"{HOME} 60")[0], "ok")
equal("all are closed in order", (drained(HOME), idle.join()),
      ({"closed": 200, "reset": 0, "refused": 0}, {"closed": 200}))
print(f"# within {time.monotonic() - began:.2f} s")
end(HOME)

# Who does not close: one that does not read, one that is gone, one that sends without end, one that says nothing.
gone = Client("gone", "raw")
AWAY = gone.server_ip
silent, away = connect(HOME, 2049, **WHERE), connect(AWAY, 2049, netns=gone.netns)
flood, deaf = Flood(HOME, root, **WHERE), mute(HOME, big, **WHERE)
time.sleep(1)
gone.link("down")
began = time.monotonic()
for address in (HOME, AWAY):
    command("drain", f"{address} 3")
answers = drained(HOME), drained(AWAY)
took = time.monotonic() - began
equal("they are reset at the limit", answers,
      ({"closed": 0, "reset": 3, "refused": 0}, {"closed": 0, "reset": 1, "refused": 0}))
check("which is 3 s", 3 <= took < 8, took)
check("the one that sends sees it", flood.join() in ("ConnectionResetError", "BrokenPipeError"), flood.end)
end(HOME, AWAY)
check("nothing is left", wait_until(lambda: read("drain") == "", 5), read("drain"))
equal("another limit", (command("drain", f"{OTHER} 600")[0], command("drain", f"{OTHER} 0")[0], end(OTHER)),
      ("ok", "ok", ["ok"]))

# A request that takes long: its connection is there until it is answered.
slow = server.export("slow", "fsid=77", "/dev/disk/slow", "mkfs.ext4 -q")
nfs, directory = Nfs3(HOME, **WHERE), mount_handle(slow, HOME, **WHERE)
nfs.getattr(directory)
with frozen(slow):
    xid = nfs.send(9, Packer().opaque(directory).opaque("d").uint(1, 0o755, 0, 0, 0, 0, 0).bytes())
    time.sleep(0.5)
    command("drain", f"{HOME} 60")
    time.sleep(1)
    equal("slow: it is waited for", lines()[HOME][:5], ["draining", "connections", "1", "requests", "1"])
try:
    answer = nfs.receive(xid).uint(), nfs.sock.recv(1)
except OSError as e:
    answer = str(e)
equal("slow: it is answered, and then the connection is closed", answer, (0, b""))
nfs.close()
equal("slow: in order", (drained(HOME), end(HOME)), ({"closed": 1, "reset": 0, "refused": 0}, ["ok"]))

# Mounts of all versions, each at an address of its own, beside one that goes on.
class Mounted(Client):
    """A mount, and a process that works there."""

    def __init__(self, name, version, path):
        super().__init__(name, version)
        self.capture = Capture(self.netns)
        self.enter(f"mount -t nfs -o vers={version},soft,timeo=100,retrans=6 {self.server_ip}:{path} {self.mount_point}")
        # pylint: disable-next=consider-using-with
        self.process = subprocess.Popen(
            ["python3", f"{os.path.dirname(__file__)}/drain-worker.py", self.mount_point, name], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def mark(self):
        """What it has done since the last time."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


sh("sysctl -q fs.leases-enable=1")
mounted = [Mounted(name, version, path) for name, version, path in
           (("v3", "3,nolock", PATH), ("v40", "4.0", "/a"), ("v41", "4.1", "/a"), ("v42", "4.2", "/a"))]
staying = Mounted("stays", "4.2", "/a")
begun = [one for one in mounted + [staying] if wait_until(lambda one=one: one.mark()["count"], 60)]
equal("mounts: all work", len(begun), 5)
time.sleep(6)
before = [one.mark() for one in mounted + [staying]]
began = time.monotonic()
for one in mounted:
    command("drain", one.server_ip)
answers = [drained(one.server_ip) for one in mounted]
took = time.monotonic() - began
time.sleep(2)
during = [one.mark() for one in mounted + [staying]]
equal("mounts: all are closed", [one["reset"] for one in answers], [0] * 4)
check("mounts: soon", took < 5, took)
after = [ends(one.capture.stop(), one.server_ip, (2049,)) for one in mounted]
print(f"# {answers} {after}")
equal("mounts: each connection ends with two FINs and no reset", [set(one) for one in after], [{(0, 2)}] * 4)
print(f"# {before[-1]} {during[-1]}")
check("mounts: the longest operation at another address", during[-1]["longest"] < 3 * before[-1]["longest"] + 0.5)
end(*(one.server_ip for one in mounted))
check("mounts: served again", wait_until(lambda: all(one.mark()["count"] for one in mounted), 30, 1))
errors = [error for one in before + during + [one.mark() for one in mounted] for error in one["errors"]]
equal("mounts: no operation has failed", errors, [])
for one in mounted + [staying]:
    one.process.kill()
    one.process.wait()
    one.umount()
sh("sysctl -q fs.leases-enable=0")

# lockd.
port = port_of(100021, 4, HOME, **WHERE)
nlm, other = Nlm(4, HOME, **WHERE), Nlm(4, OTHER, **WHERE)
equal("locks at both addresses", [one.lock(big, offset=n) for n, one in enumerate((nlm, other))], ["GRANTED"] * 2)
with in_netns(host.netns):
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind(("", 777))
udp.settimeout(3)


def asks(address):
    """Is a question over UDP answered?"""
    question = nlm.message(1, b"\0\0\0\1x\0\0\0" + bytes(4) + nlm._lock(big, 9, 50, 1, None))
    udp.sendto(question, (address, udp_port))
    try:
        return udp.recv(1000)[:4] == question[:4]
    except TimeoutError:
        return False


udp_port = int(sh("rpcinfo -p | awk '$1 == 100021 && $2 == 4 && $3 == \"udp\" { print $4 }'").split()[0])
equal("lockd answers over UDP", [asks(HOME), asks(OTHER)], [True, True])
capture = Capture(host.netns)
command("drain", HOME)
equal("lockd: nlm_lock is not answered", (nlm.sock.recv(1), nlm.close()), (b"", None))
equal("lockd: refused", (refused(HOME, port, **WHERE), drained(HOME)["closed"]), (True, 1))
equal("lockd: closed in order", ends(capture.stop(), HOME), {(0, 2): 1})
equal("lockd: the other address goes on", other.lock(big, offset=7), "GRANTED")
equal("lockd: nor does it answer over UDP", [asks(HOME), asks(OTHER)], [False, True])
end(HOME)
equal("lockd: served again", nlm.lock(big, offset=8), "GRANTED")
other.close()
nlm.close()

# The server stops and starts meanwhile.
silent = connect(HOME, 2049, **WHERE)
command("drain", f"{HOME} 60")
began = time.monotonic()
server.stop()
check("a server that stops does not wait for it", time.monotonic() - began < 20)
equal("then it is drained", "reset" in drained(HOME), True)
server.start()
equal("a server that starts refuses, too", (refused(HOME, **WHERE), serves(OTHER)), (True, True))
host.on_server(f"ip addr del {HOME}/24 dev {host.near}; ip addr add {HOME}/24 dev {host.near}")
equal("also when the address was away", refused(HOME, **WHERE), True)
equal("until it is ended", (end(HOME), serves(HOME)), (["ok"], True))

# An IPv4 address on a socket of IPv6.
listener = socket.socket(socket.AF_INET6)
listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
listener.bind(("::", 2050))
listener.listen(64)
server.stop()
with open("/proc/fs/nfsd/portlist", "w", encoding="ascii") as f:
    f.write(str(listener.fileno()))
sh("echo 2 > /proc/fs/nfsd/threads")
mapped = Nfs3(HOME, **WHERE)
mapped.port = 2050
mapped.getattr(root)
equal("mapped: a socket of IPv6", command("drain", f"::ffff:{HOME}")[1].split()[:4],
      [HOME, "draining", "connections", "1"])
equal("mapped: closed, and refused", (mapped.sock.recv(1), mapped.close(), refused(HOME, 2050, **WHERE)), (b"", None, True))
equal("mapped: in order", drained(HOME), {"closed": 1, "reset": 0, "refused": 1})
end(HOME)
server.stop()
listener.close()
server.start()
server.end_grace()

# Namespaces.
sh("ip netns add other; nsenter --net=/run/netns/other ip link set lo up")
second = Server("other", "/srv/other", "/var/lib/nfs/nfsdcld-other")
second.set_up()
equal("another namespace drains the same address", command("drain", f"{HOME} 0", second.control)[0], "ok")
equal("it is seen there only", (read("drain"), read("drain", second.control).split()[:2]), ("", [HOME, "drained"]))
equal("and nobody notices here", (refused(HOME, **WHERE), serves(HOME)), (False, True))
second.tear_down()
sh("ip netns del other")

# The module goes meanwhile.
silent, kept = (connect(address, 2049, **WHERE) for address in (HOME, HOME6))
bursts = load(HOME, "off")
time.sleep(0.5)
command("drain", f"{HOME6} 600 keep")
command("drain", f"{HOME} 600")
for burst in bursts:
    burst.join()
equal("off: one is kept", drained(HOME6).get("kept"), 1)
began = time.monotonic()
check("the livepatch can be switched off", switch_off())
print(f"# within {time.monotonic() - began:.2f} s")
check("the connection that is left was reset", wait_until(lambda: was_reset(silent), 5))
check("and so was the one that was kept", wait_until(lambda: was_reset(kept), 5))
check("accepted again", serves(HOME))
server.stop()
check("and the module unloaded", wait_until(lambda: succeeds("rmmod nfsd_ha"), 30))
sh(f"insmod {MODULE}")
equal("loaded again, nothing drains", read("drain"), "")
began = time.monotonic()
switch_off()
print(f"# switched off without a drain: within {time.monotonic() - began:.2f} s")
done()
