#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: timeout=900 module=load mem=1024
"""Three NFSv3 clients lock and unlock while their fsid is released and reclaimed, again and again.

storm.py [seconds=N] [seed=N] [mode=fsid|restart|calm|break]

No two of them may ever hold locks that conflict, and none may lose one. To see what the test itself
is worth there are modes that need no module:
  restart  the server is restarted, with lockd's own grace period, in place of a release. Now and
           then this one fails, too: lockd drops the locks of one client after the other when it
           stops, while those who wait for them may still be granted them
  calm     nothing is released
  break    locks are released without a grace period, and without a word to the clients, until there
           are conflicts, and locks that are lost: if there are none, the checker is worth nothing
"""

import os
import random
import subprocess
import sys
import threading
import time

import v3
from ktap import check, done, equal
from nfs import SLOW, sh, wait_until
from stormtable import COUNTERS, FILES, LOG, Table, on_server

CLIENTS, PROCESSES = 3, 4  # clients, processes of each
STATE = "/run/storm-statd"  # of our sm-notify, which the server's own statd does not know of


def grace(fsid, seconds):
    """Starts a grace period, or with 0 ends it."""
    with open(f"{v3.CONTROL}/fsid_grace", "w", encoding="ascii") as f:
        f.write(f"{fsid} {seconds}\n")


def in_grace(fsid):
    """What fsid_grace says about an fsid: its line, or nothing."""
    with open(f"{v3.CONTROL}/fsid_grace", encoding="ascii") as f:
        return next((line for line in f if line.split()[:1] == [str(fsid)]), "")


def notify(clients):
    """Tells the clients that their server has restarted, as rpc.statd does: they reclaim."""
    for directory in "sm", "sm.bak":
        os.makedirs(f"{STATE}/{directory}", exist_ok=True)
    for client in clients:
        # What statd would have noted: the address, program, version and procedure of its own lockd,
        # a cookie, the other one's name and ours.
        with open(f"{STATE}/sm/{client.address}", "w", encoding="ascii") as f:
            f.write(f"0100007f 000186b5 00000003 00000010 {'0' * 32} "
                    f"{client.address} {client.server}\n")
    return sh(f"sm-notify -d -f -m 1 -P {STATE}", check=False, timeout=90)


class Storm:
    """The processes, and the one who calls the releases."""

    def __init__(self, export, clients, seed):
        self.export, self.clients, self.rng = export, clients, random.Random(seed)
        self.table = Table(CLIENTS * PROCESSES, create=True)
        self.commands = [
            client.command("python3", "/test/nlm/stormer.py", str(c * PROCESSES + p),
                           str(CLIENTS * PROCESSES))
            + ["", f"/mnt/{export.name}", export.path]
            for c, client in enumerate(clients) for p in range(PROCESSES)]
        self.seed, self.lives = seed, 0
        self.running = [self.spawn(n) for n in range(len(self.commands))]
        self.ending = threading.Event()
        self.keeper = threading.Thread(target=self.keep)
        self.keeper.start()
        self.problems = []

    def spawn(self, number):
        """Starts a process, each time with other random numbers."""
        self.lives += 1
        command = list(self.commands[number])
        command[-3] = f"{self.seed}-{number}-{self.lives}"
        # pylint: disable-next=consider-using-with
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def keep(self):
        """Starts a new process for each that has died."""
        while not self.ending.wait(0.3):
            for number, process in enumerate(self.running):
                if process.poll() is not None and not self.table.stopped:
                    self.running[number] = self.spawn(number)

    def all_there(self):
        """Does the server have every lock that a client believes to have?"""
        holds = self.table.holds()
        there = on_server(self.export.path)
        # Between the two somebody may have unlocked.
        now = self.table.holds()
        return all(hold in there for n, hold in holds.items() if now.get(n) == hold)

    def reclaimed(self, seconds):
        """Waits until that is so twice: a lock may have been granted, and not marked yet."""
        times = 0

        def stable():
            nonlocal times
            times = times + 1 if self.all_there() else 0
            return times >= 3

        return wait_until(stable, seconds, 0.3)

    def fsid(self, number):
        """A release of the fsid, and what belongs to it."""
        fsid = self.export.fsid
        expire = number % 3 == 2
        began = time.monotonic()
        self.table.begin()
        grace(fsid, SLOW * (10 if expire else 90))
        held = len(self.table.holds())
        error, answer, _ = v3.unlock(fsid)
        if error:
            self.problems.append(f"release {number}: {os.strerror(error)}, {answer}")
        told = notify(self.clients)
        if not self.reclaimed(8 if expire else 60):
            self.problems.append(f"release {number}: not all is reclaimed; sm-notify: {told}")
        took, line = time.monotonic() - began, in_grace(fsid).strip()
        if not expire:
            grace(fsid, 0)
        if not wait_until(lambda: " left 0 " in f" {in_grace(fsid)} " or not in_grace(fsid), 30):
            self.problems.append(f"release {number}: the grace period does not end")
        self.table.end()
        print(f"# release {number}: {held} held, {answer.get('locks')} released, reclaimed after "
              f"{took:.1f} s: {line}; {'expired' if expire else 'ended'} after "
              f"{time.monotonic() - began:.1f} s", flush=True)

    def restart(self, number):
        """A restart of the server."""
        began = time.monotonic()
        self.table.begin()
        held = len(self.table.holds())
        v3.lib(f"stop_server; GRACE={v3.GRACE} start_server")
        started = time.monotonic()
        told = notify(self.clients)
        if not self.reclaimed(v3.GRACE):
            self.problems.append(f"restart {number}: not all is reclaimed; sm-notify: {told}")
        took = time.monotonic() - began
        v3.sleep_until(started + v3.GRACE + 1)
        self.table.end()
        print(f"# restart {number}: {held} held, reclaimed after {took:.1f} s", flush=True)

    def calm(self, _number):
        """Nothing."""
        time.sleep(5)

    def break_it(self, _number):
        """A release that nobody is told of."""
        if v3.has("nlm_unlock"):
            v3.unlock(self.export.fsid)
        else:
            with open(f"{v3.CONTROL}/unlock_filesystem", "w", encoding="ascii") as f:
                f.write(f"{self.export.path}\n")

    def end(self):
        """Ends all processes; how many did not want to."""
        self.table.stop()
        stuck = 0
        end = time.monotonic() + 60 * SLOW
        self.ending.set()
        self.keeper.join()
        for process in self.running:
            try:
                process.wait(max(0.1, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                stuck += 1
                print(f"# process {process.pid} does not end: {sh(f'cat /proc/{process.pid}/stack', check=False)}"
                      .replace("\n", " "), flush=True)
                process.kill()
        if stuck:
            print("# " + sh(f"cat /proc/locks {v3.CONTROL}/nlm_clients; ss -tnp", check=False).replace("\n", "\n# "))
        return stuck

    def total(self, name, processes=None):
        """The sum of a counter."""
        processes = range(len(self.commands)) if processes is None else processes
        return sum(self.table.counter(n, name) for n in processes)

    def report(self):
        """Prints what each client did."""
        for c, client in enumerate(self.clients):
            processes = range(c * PROCESSES, (c + 1) * PROCESSES)
            sums = ", ".join(f"{self.total(name, processes)} {name}" for name in COUNTERS[:-1])
            longest = max(self.table.counter(n, "longest") for n in processes) / 1000
            print(f"# {client.name}: {sums}, longest wait {longest:.1f} s", flush=True)
        with open(LOG, encoding="ascii") as f:
            lines = f.readlines()
        for line in lines[:20]:
            print(f"#   {line.rstrip()}")
        print(f"# {len(lines)} lines in the log of the storm", flush=True)


def main(seconds=600, seed=None, mode="fsid"):
    """Runs it and reports."""
    seed = random.randrange(10**6) if seed is None else seed
    print(f"# seconds={seconds} seed={seed} mode={mode}", flush=True)
    (export,), grace_end = v3.start([("a", 1234)])
    wanted = ("nlm_unlock", "fsid_grace") if mode == "fsid" else ()
    for name in wanted:
        check(f"{name} is there", v3.has(name))
    if not all(map(v3.has, wanted)):
        done()
    for number in range(FILES):
        with open(f"{export.path}/s{number}", "wb"):
            os.chmod(f"{export.path}/s{number}", 0o666)
    clients = [v3.Client(f"c{n + 1}", [export]) for n in range(CLIENTS)]
    v3.sleep_until(grace_end)
    storm = Storm(export, clients, seed)
    act = {"fsid": storm.fsid, "restart": storm.restart, "calm": storm.calm,
           "break": storm.break_it}[mode]
    check("locks are taken", wait_until(lambda: storm.total("locks") > 50, 60))
    end, releases = time.monotonic() + seconds * SLOW, 0

    def found():
        return mode == "break" and storm.total("conflicts") > 0 and storm.total("lost") > 0

    while time.monotonic() < end and not found():
        act(releases)
        releases += 1
        time.sleep(storm.rng.uniform(0.5, 3))
    stuck = storm.end()
    storm.report()
    print(f"# {releases} releases, {storm.total('locks')} locks, {storm.total('kills')} processes "
          f"killed, {storm.total('conflicts')} conflicts, {storm.total('lost')} lost; seed={seed}")
    if mode == "break":
        check("the checker finds conflicts", storm.total("conflicts") > 0)
        check("and locks that are lost", storm.total("lost") > 0)
    else:
        equal("no two locks conflict", storm.total("conflicts"), 0)
        equal("no lock is lost", storm.total("lost"), 0)
        equal("all releases went well", storm.problems, [])
        equal("no error", storm.total("errors"), 0)
    equal("all processes end", stuck, 0)
    done()


def run(**defaults):
    """main() with the words of the command line."""
    words = dict(word.split("=", 1) for word in sys.argv[1:])
    arguments = {**defaults, **{k: int(v) if v.isdigit() else v for k, v in words.items()}}
    main(**arguments)


if __name__ == "__main__":
    run()
