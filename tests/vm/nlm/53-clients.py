#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: once=yes timeout=240 module=load
"""nlm_clients: who must be notified, known and recorded before a lock is granted."""

import os
import select
import signal
import threading
import time

import harness
from control import clients, command, read, sequence
from fullserver import FullServer, RawHost
from ktap import check, done, equal
from nfs import SLOW, Client, kernel_log, patience, sh, wait_until
from nlm import Nlm

PATH = "/proc/fs/nfsd/nlm_clients"

server = FullServer(grace=10)
server.set_up()
server.start()
host, other = RawHost(), Client("other", "raw")
server.end_grace()


def lines():
    """The lines without the addresses."""
    return sorted(line[:1] + line[3:] for line in clients())


def news(fd):
    """What poll() says at once."""
    poller = select.poll()
    poller.register(fd, select.POLLIN | select.POLLPRI)
    return bool(poller.poll(0))


def slurp(fd):
    """Reads an open file from its beginning."""
    os.lseek(fd, 0, os.SEEK_SET)
    text = b""
    while part := os.read(fd, 4096):
        text += part
    return text.decode()


a, b, c = (host.create(server.export(name, f"fsid={fsid}")) for name, fsid in (("a", 1234), ("b", 5678), ("c", 9)))
one = Nlm(4, host.server_ip, "one", **host.where)
equal("nobody has asked for a lock", read("nlm_clients"), "sequence 0\n")

fd = os.open(PATH, os.O_RDONLY)
check("a file that was not read has news", news(fd))
slurp(fd)
check("one that was read has not", not news(fd))
equal("a client takes a lock", one.lock(a), "GRANTED")
check("that is news", news(fd))
equal("its line", clients(), [("1234", host.server_ip, sh(
    f"nsenter --net=/run/netns/{host.netns} hostname -I").split()[0], 4, 1, 0, 0, "one")])
check("news until it is read", news(fd))
equal("the change has a number", slurp(fd).splitlines()[0], "sequence 1")
check("then not", not news(fd))
equal("another lock of the same client on the same export", one.lock(a, offset=10), "GRANTED")
check("is none", not news(fd))
equal("the same on another export", one.lock(b), "GRANTED")
check("is", news(fd))
equal("another NLM version, and another of the server's addresses",
      [Nlm(3, host.server_ip, "one", **host.where).lock(a, offset=20),
       Nlm(4, host.other_ip, "one", **host.where).lock(a, offset=30)], ["GRANTED"] * 2)
equal("all of them have a line", lines(),
      [("1234", 3, 1, 0, 0, "one"), ("1234", 4, 1, 0, 0, "one"), ("1234", 4, 2, 0, 0, "one"),
       ("5678", 4, 1, 0, 0, "one")])

before = sequence()
odd = Nlm(4, other.server_ip, "o d\\d\n\xe9", netns=other.netns)
equal("a client with an odd name", odd.lock(b, offset=99), "GRANTED")
check("is shown on one line", "o\\x20d\\x5cd\\x0a\\xc3\\xa9" in [line[7] for line in clients()], clients())
results = {odd.lock(a[:4] + (100_000 + n).to_bytes(4, "little") + a[8:]) for n in range(200)}
equal("exports that do not exist give an error", results & {"GRANTED", "no answer"}, set())
equal("and no lines", len([line for line in clients() if line[0] not in ("1234", "5678")]), 0)
equal("nor changes", sequence(), before + 1)
equal("locks that nobody wants to be told of are counted", odd.lock(c, monitored=False), "GRANTED")
check("with a line while they are there", ("9", 4, 1, 0, 0) in [line[:5] for line in lines()], lines())
odd.unlock(c)
check("and none when they are gone", "9" not in [line[0] for line in clients()])

# What rpc.statd is told; it is asked before the line is there in the stock kernel, after it in ours.
equal("rpc.statd knows the clients", len(os.listdir("/var/lib/nfs/sm")), 2)

# A recorder.
recorder = os.open(PATH, os.O_RDWR)
noted = slurp(recorder).splitlines()[0].split()[1]
back = threading.Event()


def acknowledge(number):
    """Says that all is recorded; returns when there is more."""
    os.write(recorder, f"{number}\n".encode())
    back.set()


thread = threading.Thread(target=acknowledge, args=(noted,))
thread.start()
check("a recorder waits for the next change", not back.wait(0.5))
began, ran = time.monotonic(), harness.clock()
result = []
asker = threading.Thread(target=lambda: result.append(one.lock(c)))
asker.start()
check("which wakes it", back.wait(5 * SLOW))
time.sleep(1)
equal("the lock is not granted yet", result, [])
check("though the line is there", "9" in [line[0] for line in clients()])
equal("an acknowledgement of what has not been is refused", command("nlm_clients", str(sequence() + 1))[0], "EINVAL")
back.clear()
thread = threading.Thread(target=acknowledge, args=(sequence(),))
thread.start()
asker.join(patience(5))
took, ran = time.monotonic() - began, harness.clock() - ran
equal("when it is recorded, the lock is granted", result, ["GRANTED"])
check("not earlier, not much later", 1 <= took and ran < 1 + 2 * SLOW, (took, ran))
equal("a lock on what is recorded waits for nobody", one.lock(c, offset=10), "GRANTED")

check("the next change wakes it", not back.is_set())
d = host.create(server.export("d", "fsid=10"))
began, ran = time.monotonic(), harness.clock()
equal("a recorder that does not answer: the lock is refused", one.lock(d), "NOLOCKS")
took, ran = time.monotonic() - began, harness.clock() - ran
check("after five seconds", 4.5 < took and ran < 5 + 3 * SLOW, (took, ran))
thread.join(patience(5))
equal("other clients' locks on what is recorded go on", odd.lock(b, offset=200), "GRANTED")
e = host.create(server.export("e", "fsid=11"))
equal("e is in grace", command("fsid_grace", "11 60")[0], "ok")
equal("a lock that is reclaimed is granted all the same: its owner would give it up",
      one.lock(e, reclaim=True), "GRANTED")
check("and its line is there to be recorded", "11" in [line[0] for line in lines()], lines())
equal("the grace period of e ends", command("fsid_grace", "11 0")[0], "ok")
began = time.monotonic()
pid = os.fork()
if not pid:
    # Another recorder of the same open file's namespace.
    own = os.open(PATH, os.O_RDWR)
    os.write(own, slurp(own).splitlines()[0].split()[1].encode())
    os._exit(0)
time.sleep(0.5)
equal("once a recorder has it, the lock is granted", one.lock(d), "GRANTED")
os.kill(pid, signal.SIGKILL)
os.waitpid(pid, 0)
os.close(recorder)
f = host.create(server.export("f", "fsid=12"))
began = harness.clock()
equal("with the recorder gone nobody waits", one.lock(f), "GRANTED")
check("at all", harness.clock() - began < min(SLOW, 4))

quick = os.open(PATH, os.O_RDWR | os.O_NONBLOCK)
slurp(quick)
began = harness.clock()
os.write(quick, str(sequence()).encode())
check("one that does not want to wait does not", harness.clock() - began < 0.5 * SLOW)
os.close(quick)

# A recorder that is told the news only, and cannot store all.
news_of = os.open(PATH, os.O_RDWR | os.O_NONBLOCK)


def stored(said):
    """Says what is stored; the news, each as (fsid, locks, name), and whether there are some that were not shown."""
    os.write(news_of, said.encode())
    shown = [line.split() for line in slurp(news_of).splitlines()]
    return shown[0][1], [(line[0], line[4], line[7]) for line in shown[1:]], news(news_of)


g, h = (host.create(server.export(name, f"fsid={fsid}")) for name, fsid in (("g", 13), ("h", 14)))
before = str(sequence())
equal("nothing has come since", stored(f"{before} news"), (before, [], False))
results = []
asker = threading.Thread(target=lambda: results.append(one.lock(g)))
asker.start()
check("somebody comes", wait_until(lambda: news(news_of)))
now, came, more = stored(f"{before} news")
equal("only that is shown, and nothing counted", (came, more), ([("13", "-", "one")], False))
began = harness.clock()
equal("it is not stored", stored(f"{now} news except 13 nonsense")[1:], ([], False))
asker.join(patience(5))
equal("its client is told at once", (results, harness.clock() - began < 3 * SLOW), (["NOLOCKS"], True))
began = harness.clock()
equal("and again", one.lock(g, offset=10), "NOLOCKS")
check("without a wait", harness.clock() - began < 3 * SLOW)
equal("what was stored before is not spoken of", one.lock(b, offset=400), "GRANTED")
asker = threading.Thread(target=lambda: results.append(odd.lock(h)))
asker.start()
check("somebody comes to another export", wait_until(lambda: news(news_of)))
later = stored(f"{now} news except 13")[0]
stored(f"{later} news except 13")
asker.join(patience(5))
equal("who gets a lock", results[1:], ["GRANTED"])
equal("the first one does not yet", one.lock(g), "NOLOCKS")
stored(f"{later} news")
equal("but when all is stored", one.lock(g), "GRANTED")
for nonsense in (f"{later} new", f"{later} news except", f"{later} except 13", "news"):
    equal(f"'{nonsense}' is refused", command("nlm_clients", nonsense)[0], "EINVAL")
os.close(news_of)

# A client that cannot be told of a restart must not have a lock. rpc.statd dies without a word to rpcbind.
sh("kill -9 $(pidof rpc.statd)")
third = Client("third", "raw")
unheard = Nlm(4, third.server_ip, "third", netns=third.netns)
equal("a client that nobody monitors, as rpc.statd is gone, gets no lock", unheard.lock(b, offset=300), "NOLOCKS")
check("the log says so", "cannot be monitored: is rpc.statd running?" in kernel_log())
sh("rpc.statd --no-notify")
equal("it does when rpc.statd is back", unheard.lock(b, offset=300), "GRANTED")

check("a stopped server forgets them", wait_until(lambda: (server.stop() or True) and clients() == [], 1))
check("that is news, too", news(fd))
os.close(fd)
done()
