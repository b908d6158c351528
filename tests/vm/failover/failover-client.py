#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The clients of 60-failover.scenario, who also say which server does what.

With the argument `full`, a whole minute is measured before, the export is moved once more by an admin who is late, and
at the end the stock kernel's way.
"""

import os
import subprocess
import sys
import time

import harness
import heartbeat
from conductor import Servers
from failover import ADDRESS, EXPORT, GRACE, HOST, LOCKS
from ktap import check, done, equal
from nfs import SLOW, sh, wait_until
from worklog import Worklog

FULL = "full" in sys.argv
BASELINE = 60.0 if FULL else 12.0
OTHERS = {"a": "the other export of a", "b": "the other export of b"}
began = time.monotonic()


def say(text):
    """A line that tells what happens."""
    print(f"# {time.monotonic() - began:6.1f} s  {text}", flush=True)


def spawn(command, **more):
    """Starts a process that goes on."""
    # pylint: disable-next=consider-using-with
    return subprocess.Popen(command.split(), text=True, **more)


LOGS = {name: Worklog(f"/tmp/{name}.log") for name in ("probe", "grab", *OTHERS)}


def operations(name, since=0.0):
    """The operations of a process that ended after a time: begin, end, result."""
    return LOGS[name].since(since)


def outage(since):
    """Seconds from the last lock taken on the moving export before a time to the first one after."""
    ends = [end for _, end, result in operations("probe") if result == "ok"]
    return max(after - before for before, after in zip(ends, ends[1:]) if after > since)


def longest(name, since):
    """The longest operation of a process since a time, with the one that has not ended."""
    all_of_it = operations(name)
    return max([end - max(start, since) for start, end, _ in all_of_it if end > since]
               + [time.monotonic() - max(all_of_it[-1][1], since) - 0.3])


def serves_again(taken, limit=120):
    """Waits until a lock was taken that the server which took over has granted."""
    return wait_until(lambda: any(r == "ok" for _, _, r in operations("probe", taken)), limit)


sh(f"echo {ADDRESS} {HOST} >>/etc/hosts; modprobe nfsv3; rpcbind -w; rpc.statd --no-notify; "
   "ip netns add second; ip link add second link eth0 type macvlan mode bridge; "
   "ip link set second netns second; mkdir -p /mnt/ha /mnt/a /mnt/b")
servers = Servers("ab")
ask = servers.ask
ask("a", "serve")
for server in OTHERS:
    ask(server, "lockd_ready")
OPTIONS = "vers=3,proto=tcp"
sh(f"mount -t nfs -o {OPTIONS} {ADDRESS}:{EXPORT} /mnt/ha; "
   f"mount -t nfs -o {OPTIONS} a:/srv/local /mnt/a; mount -t nfs -o {OPTIONS} b:/srv/local /mnt/b")
holder = spawn(f"python3 /test/failover/failover-locker.py hold /mnt/ha/held- {LOCKS}",
               stdin=subprocess.PIPE, stdout=subprocess.PIPE)
equal("a client takes its locks", holder.stdout.readline().strip(), "locked")
equal("the server holds them, and keeps others out", ask("a", "locks"), {"held": LOCKS, "open": 0})
spawn("python3 /test/failover/failover-locker.py loop /mnt/ha/probe /tmp/probe.log")
for server in OTHERS:
    spawn(f"python3 /test/failover/failover-locker.py loop /mnt/{server}/f /tmp/{server}.log")
# The second client has an address, a host name, an rpcbind and an rpc.statd of its own.
with open("/tmp/second", "w", encoding="ascii") as script:
    script.write(f"""hostname second; ip link set lo up; ip addr add 10.77.0.4/24 dev second; ip link set second up
mount -t sysfs sysfs /sys; mount -t tmpfs tmpfs /run; mount -t tmpfs tmpfs /var/lib/nfs
mkdir -p /run/lock /var/lib/nfs/sm /var/lib/nfs/sm.bak /mnt/second
rpcbind -w && rpc.statd --no-notify && mount -t nfs -o {OPTIONS} {ADDRESS}:{EXPORT} /mnt/second || exit
exec python3 /test/failover/failover-locker.py grab /mnt/second/held-7 /tmp/grab.log
""")
spawn("nsenter --net=/run/netns/second unshare --mount --uts sh -e /tmp/second")
check("a second client is there", wait_until(lambda: os.path.exists("/tmp/grab.log"), 30))

heartbeat.start(*OTHERS)
calm = time.monotonic()
say(f"{BASELINE:.0f} s, in which other exports come and go, and a new client comes")
for server in OTHERS:
    # lockd has one thread, which waits until a client that is new is on record. Its file is not the one of the loop.
    sh(f"mkdir -p /mnt/new; nsenter --net=/run/netns/second unshare --mount sh -ec 'mount -t nfs -o {OPTIONS} "
       f"{server}:/srv/local /mnt/new; python3 /test/lib/lock.py try /mnt/new/new; umount /mnt/new'")
DAYS = 10 if FULL else 3
for _ in range(DAYS):
    for server in OTHERS:
        ask(server, "rehearse")
    time.sleep(BASELINE / DAYS - 2)
calm_longest = {server: longest(server, calm) for server in OTHERS}
rows = [("calm", None, calm_longest)]


def judge(what, since, server):
    """After a move: who has the locks, and for how long there was no service."""
    check(f"{what}: the export is served again", serves_again(time.monotonic()))
    holder.stdin.write("write\n")
    holder.stdin.flush()
    equal(f"{what}: the client writes under its locks", holder.stdout.readline().strip(), "ok")
    equal(f"{what}: the server holds them, and keeps others out", ask(server, "locks"),
          {"held": LOCKS, "open": 0})
    # A try that came in the grace period ends when that has, perhaps after the others' operations.
    wait_until(lambda: operations("grab", since))
    tries = [result for _, _, result in operations("grab", since)]
    check(f"{what}: a second client got none of them", tries and "ok" not in tries, tries)
    now = {s: longest(s, since) for s in OTHERS if what != "crash" or s == server}
    for s, seconds in now.items():
        still = heartbeat.stood_still(s, since)
        check(f"{what}: no operation on {OTHERS[s]} took over 3 times its longest before",
              seconds <= 3 * (calm_longest[s] + still),
              f"{seconds:.3f} s, before {calm_longest[s]:.3f} s; a machine stood still for {still:.3f} s")
    rows.append((what, outage(since), now))
    equal(f"{what}: no lock operation failed",
          {r for s in ("probe", *now) for _, _, r in operations(s, since)}, {"ok"})
    say(f"{what}: no locks for {outage(since):.1f} s; on record now: {ask(server, 'records')}")


def move(what, source, target, *how):
    """The published procedure."""
    since = time.monotonic()
    steps = ask(source, "leave")
    say(f"{source}: {steps}")
    check(f"{what}: its file system is unmounted at once", steps.get("A-4", 99) < 2 * SLOW, steps)
    say(f"{target}: {ask(target, 'take', *how)}")
    judge(what, since, target)


move("from a to b", "a", "b")
move("from b to a", "b", "a")
# Who exports late: the clients come to the address before there is an export, and wait for it.
if FULL:
    move("a to b, 4 s late", "a", "b", "4", "25")
    move("b to a again", "b", "a")

crash = time.monotonic()
harness.kill("a")
say(f"a's power is cut; b: {ask('b', 'take')}")
judge("crash", crash, "b")
servers.boot("a", "again")

if FULL:
    time.sleep(GRACE)
    stock = time.monotonic()
    say(f"stock; b: {ask('b', 'stock_leave')}")
    say(f"stock; a: {ask('a', 'stock_take')}")
    check("stock: the export is served again", serves_again(time.monotonic()))
    rows.append(("stock", outage(stock), {s: longest(s, stock) for s in OTHERS}))
    check("the move was shorter than the stock way", rows[1][1] < rows[-1][1], rows)
    say(f"stock: of {LOCKS} locks {ask('a', 'locks')}")

print("# " + "-" * 72)
print(f"# {'':20} {'no locks for':>14} {'longest on a':>16} {'longest on b':>16}   (s)")
for title, gap, others in rows:
    print(f"# {title:20} {'' if gap is None else f'{gap:.1f}':>14}"
          + "".join(f" {others[s]:16.2f}" if s in others else f" {'-':>16}" for s in "ab"))
print("# " + "-" * 72)
servers.end()
done()
