#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: timeout=300 module=ship once=yes
"""What a daemon that fails does to the server: with the module, then with the stock code.

Each case has a net namespace of its own, as the stock code leaves threads that never end. The
words "start" and "records" choose which answer is missing when a server starts: the stock code hangs with
nfsd's mutex held, so there is one such case for a boot.
"""

import contextlib
import errno
import sys
import threading
import time

from cld import CREATE, GET_VERSION, GRACE_DONE, GRACE_START, Daemon
from harness import allow
from ktap import check, done
from nfs import SLOW, Server, load, sh, succeeds, switch_off, wait_until
from nfs4 import Nfs4

LIMIT = 3
MISSING = {"start": GET_VERSION, "records": GRACE_START}[(sys.argv[1:] or ["start"])[0]]


class Case:
    """A server in a net namespace, with a daemon that the test plays."""

    def __init__(self, name):
        self.name = name
        sh(f"ip netns add {name}; ip -n {name} link set lo up")
        self.server = Server(netns=name, directory=f"/srv/{name}", state=f"/var/lib/{name}")
        self.server.set_up()
        self.path = f"/run/pipefs-{name}/nfsd/cld"

    def daemon(self, **how):
        """A daemon."""
        return Daemon(self.path, **how)

    def start(self, **how):
        """Starts the server with a daemon."""
        thread = threading.Thread(target=self.server.start)
        thread.start()
        daemon = self.daemon(**how)
        thread.join(60)
        return daemon

    def client(self, name="a-client"):
        """A client that is confirmed, but has no record yet.

        The stock code hashes eight bytes of a name, also of a shorter one: KASAN would report that.
        """
        client = Nfs4(1, "127.0.0.1", name, netns=self.name)
        assert client.establish() == "OK"
        return client


def timed(function, limit):
    """Runs a function in a thread: how long it took, or None if it has not come back."""
    took = []

    def run():
        began = time.monotonic()
        with contextlib.suppress(TimeoutError):
            function()
            took.append(time.monotonic() - began)
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(limit)
    return took[0] if took else None


def stuck_threads():
    """nfsd's threads that wait in a way that nothing can end."""
    return sum(1 for line in sh("ps -eo stat=,comm=").splitlines()
               if line.startswith("D") and line.endswith("nfsd"))


def comes(condition, limit, times):
    """Does a condition come? Of a server that hangs, as the times say, it is enough to look once."""
    return wait_until(condition, 0 if None in times else limit, patient=False)


def after(seconds):
    """A time, or that it never came."""
    return "never" if seconds is None else f"after {seconds:.1f} s"


def dies(case):
    """The daemon reads a Create and is gone; another one comes at once."""
    first = case.start()
    read = threading.Event()
    first.answer = lambda upcall: read.set()
    client, took = case.client(), []
    thread = threading.Thread(target=lambda: took.append(timed(client.reclaim_complete, 10)))
    thread.start()
    read.wait(10)
    first.close()
    second = case.daemon()
    thread.join(15)
    # The client may have its answer before the daemon's thread goes on.
    recorded = comes(lambda: (CREATE, b"a-client") in second.said, 5, took)
    return (f"answered {after(took[0])}, recorded: {'yes' if recorded else 'no'}, "
            f"threads in D state: {stuck_threads()}", took[0] is not None and recorded)


def is_silent(case):
    """The daemon reads a Create and says nothing for three time limits, then answers again."""
    daemon = case.start()
    daemon.answer = lambda upcall: None
    first, second = case.client("the-first"), case.client("the-second")
    times = [timed(first.reclaim_complete, 4 * LIMIT), timed(second.reclaim_complete, 2 * LIMIT)]
    daemon.answer = lambda upcall: 0
    late = daemon.say(next(upcall for upcall in daemon.read if upcall.command == CREATE))
    recorded = comes(lambda: {(CREATE, b"the-first"), (CREATE, b"the-second")} <= set(daemon.said), 10, times)
    return (f"first client answered {after(times[0])}, second {after(times[1])}, late answer: "
            f"{errno.errorcode.get(late, 'taken')}, recorded: {'yes' if recorded else 'no'}, "
            f"threads in D state: {stuck_threads()}",
            None not in times and times[1] < 1 and late == errno.ENOENT and recorded)


def is_full(case):
    """The daemon answers three Creates with ENOSPC, then has room again."""
    daemon = case.start()
    tries = []
    daemon.answer = lambda upcall: tries.append(1) or (-errno.ENOSPC if len(tries) < 4 else 0)
    times = timed(case.client().reclaim_complete, 10)
    stored = wait_until(lambda: len(tries) > 3, 10, patient=False)
    return (f"answered {after(times)}, {len(tries)} times asked to store it, stored: "
            f"{'yes' if stored else 'no'}", times is not None and stored)


def comes_late(case):
    """No daemon when the server starts; one comes 3 s later, with a record of the client."""
    began = time.monotonic()
    case.server.start()
    took = time.monotonic() - began
    client = case.client()
    time.sleep(max(0, 3 - (time.monotonic() - began)))
    try:
        daemon = case.daemon(records=[b"a-client"], within=5)
    except AssertionError:
        return f"server starts {after(took)}, there is no pipe any more", False
    client_done = timed(client.reclaim_complete, 10)
    wanted = {GET_VERSION, GRACE_START, CREATE, GRACE_DONE}
    complete = wait_until(lambda: wanted <= {command for command, _ in daemon.said}, 5, patient=False)
    return (f"server starts {after(took)}, asked of the daemon: {len(daemon.said)} things, "
            f"client recorded {after(client_done)}", complete)


def never_answers(case):
    """The daemon does not answer when the server starts, and goes; another one does."""
    first = []
    thread = threading.Thread(target=lambda: first.append(case.daemon(
        answer=lambda upcall: None if upcall.command == MISSING else 0)), daemon=True)
    thread.start()
    took = timed(case.server.start, 10)
    thread.join(10)
    first[0].close()
    second = case.daemon()
    active = comes(lambda: (GRACE_START, b"") in second.said, 10, [took])
    return (f"server starts {after(took)}, tracking works then: {'yes' if active else 'no'}",
            took is not None and took < LIMIT + 3 * SLOW and active)


CASES = (("dies", dies), ("silent", is_silent), ("full", is_full), ("late", comes_late),
         ("start", never_answers))

allow("blocked for more than")
load(f"upcall_timeout={LIMIT}")
ours = {}
for key, function in CASES:
    this = Case(f"ours-{key}")
    ours[key] = function(this)
    check(f"{function.__doc__}", ours[key][1], ours[key][0])
    check("and the server stops", timed(this.server.stop, 20) is not None)
check("no thread hangs", stuck_threads() == 0)
switch_off()
check("the module can be unloaded", wait_until(lambda: succeeds("rmmod nfsd_ha"), 10))
for key, function in CASES:
    text, good = function(Case(f"stock-{key}"))
    print(f"# {function.__doc__}\n#   stock  {text}\n#   ours   {ours[key][0]}", flush=True)
    check("not so with the stock code", not good, text)
done()
