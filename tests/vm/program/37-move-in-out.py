#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: once=yes timeout=400 disk=ha:64M module=load
"""nfsd-ha move-out, move-in and unexport on one server: an export leaves by two addresses, and comes back.

What is in the way is said before anything is changed; who is interrupted at any moment goes on, or turns back; a list
that cannot be had is made from the daemon's database. Addresses drain before they go, and do not when all is over.
"""

import json
import os
import re
import signal
import subprocess
import time

import harness
from control import command, read
from fullserver import device_scope, serve
from drains import Closing, refused
from ktap import check, done, equal
from nfs import sh, succeeds, wait_until
from nfs3 import Nfs3
from nfs4 import Nfs4
from nlm import Nlm
from program import ABSENT, BUSY, DONE, FAILED, USAGE, steps, tool
from rpc import connect
FSID, COUNT = 1234, 20


class Clients:
    """Clients of NLM, NFSv4.0 and NFSv4.1, by both addresses; each has a lock on a file of its own."""

    def __init__(self, count, name):
        self.nfs4, self.nlm = [], []
        for number in range(count):
            where = ADDRESSES[number // 3 % 2]
            fh = host.create(path, f"{name}-{number}")
            if number % 3 == 2:
                source = (SOURCES6 if ":" in where else SOURCES)[number % len(SOURCES)]
                client = Nlm(4, where, f"{name}-{number}", source=source, **host.where)
                assert client.lock(fh) == "GRANTED"
                self.nlm.append((client, fh))
            else:
                client = Nfs4(number % 3, where, f"{name}-{number}", **host.where)
                assert client.establish() == "OK"
                assert not number % 3 or client.reclaim_complete() == "OK"
                opened = client.open_fh(fh) if number % 3 else client.open(client.path("/ha"), f"{name}-{number}")
                assert client.lock(opened).status == "OK"
                self.nfs4.append((client, fh))

    def reclaim(self):
        """All reclaim what they had: what each is told."""
        told = []
        for client, fh in self.nfs4:
            client.close()
            again = Nfs4(client.minor, client.server, client.name, **host.where)
            told.append(again.establish())
            opened = again.open_reclaim(fh)
            told.append(again.lock(opened, reclaim=True).status)
            if client.minor:
                told.append(again.reclaim_complete())
            again.close()
        closing.clients = [client for client, _ in self.nlm]
        for client, fh in self.nlm:
            client.close()
            told.append({"GRANTED": "OK"}.get(result := client.lock(fh, reclaim=True), result))
        return set(told)

    def close(self):
        """They go."""
        for client, _ in self.nfs4 + self.nlm:
            client.close()


def locks():
    """How many locks clients have on the file system."""
    device = f" {os.major(DEVICE):02x}:{os.minor(DEVICE):02x}:"
    with open("/proc/locks", encoding="ascii") as f:
        return sum(device in line for line in f)


def here():
    """What a move changes: mounted, exported, addresses."""
    addresses = sh(f"ip -o addr show dev {host.near}")
    return (os.path.ismount(path), sh("exportfs -v").count("/srv/root/ha"), [a for a in ADDRESSES if f" {a}/" in addresses],
            drains())


def drains():
    """The addresses that drain."""
    return [line.split()[0] for line in read("drain").splitlines()]


def drained(said):
    """What the step of a move-out says: how many connections were answered, were closed in order, and were reset."""
    (what,) = [step["what"] for step in said["steps"] if step["name"] == "drain"]
    return [sum(map(int, re.findall(rf"(\d+) {word}", what))) for word in ("connections have", "connections closed", "reset")]


server, host = serve(grace=20)
net = host.server_ip.rsplit(".", 1)[0]
ADDRESSES = [host.other_ip, host.other_ip6]
SOURCES, SOURCES6 = ([f"{net}.{n}" for n in range(100, 110)], [f"fd09::1{n}" for n in range(10)])
for address in SOURCES + SOURCES6:
    host.enter(f"ip addr add {address}/{64 if ':' in address else 24} dev c-{host.name.removeprefix('client-')}"
               f"{' nodad' if ':' in address else ''}")
for address in ADDRESSES:
    command("floating_addresses", address)
path = server.export("ha", f"fsid={FSID}", "/dev/disk/ha", "mkfs.ext4 -q")
with open("/etc/fstab", "a", encoding="ascii") as f:
    f.write(f"/dev/disk/ha {path} ext4 noauto,noatime 0 0\n")
DEVICE = os.stat(path).st_dev
AWAY = [word for address in ADDRESSES for word in ("--address", address)]
HERE = AWAY + ["--notify-for", "1"]
LIST = "/var/lib/nfsd-ha/moves/srv-root-ha.list"

closing = Closing()
clients = Clients(COUNT, "first")
closing.clients = [client for client, _ in clients.nfs4 + clients.nlm]
equal(f"{COUNT} clients have a lock each", locks(), COUNT)
before = here()

# What is asked, and what is in the way.
status, out, error = tool("move-out", path, *AWAY, "--dry-run")
print(f"# {out.replace(chr(10), chr(10) + '# ')}")
check("a dry run says what would be done", status == DONE and all(
    word in out for word in (*ADDRESSES, f"*:{path}", str(FSID), os.path.realpath("/dev/disk/ha"),
                             f"would drain:                   {ADDRESSES[0]}")), (out, error))
for words in (["/nowhere"], ["ip:192.0.2.1"], ["99"], [path, "--address", "192.0.2.1"], [f"{path}/lost+found"], ["/"]):
    equal(f"move-out {' '.join(words)}", tool("move-out", *words)[0], USAGE)
equal("nothing to turn back", tool("move-out", path, "--undo", "--notify-for", "1")[0], USAGE)
for what, start, stop in (
        ("an open file", f"sleep 100 <{path}/first-0 >/dev/null 2>&1 &", "pkill sleep"),
        ("a directory", f"cd {path}; sleep 100 >/dev/null 2>&1 &", "pkill sleep"),
        ("a mount below", f"mkdir -p {path}/sub; mount -t tmpfs tmpfs {path}/sub", f"umount {path}/sub"),
        ("another mount", f"mkdir -p /mnt/also; mount --bind {path} /mnt/also", "umount /mnt/also")):
    sh(start)
    for words in ([], ["--dry-run"]):
        status, _, error = tool("move-out", path, *AWAY, *words)
        print(f"# {error.strip()}")
        equal(f"{what} is in the way: {words}", (status, here(), locks()), (BUSY, before, COUNT))
    sh(stop)
fixed = Nfs4(1, host.server_ip, "fixed", **host.where)
assert (fixed.establish(), fixed.reclaim_complete()) == ("OK", "OK")
fh = host.create(path, "fixed")
held = fixed.open_fh(fh)
nlm = Nlm(4, host.server_ip, "fixed", **host.where)
assert nlm.lock(fh) == "GRANTED"
status, _, error = tool("move-out", path, *AWAY)
print(f"# {error.strip()}")
check("clients by an address that stays are in the way",
      status == BUSY and error.count(host.server_ip) == 2 and here() == before, error)
assert (fixed.close_file(held), nlm.unlock(fh)) == ("OK", "GRANTED")

# drain
HOME6 = host.server_ip6
nfs = Nfs3(HOME6, **host.where)
assert nfs.getattr(fh)[0] == 1
closing.clients.append(nfs)
for words in (["192.0.2"], [HOME6, "601"], [HOME6, "x"], ["--end", HOME6, "5"], [f"-{HOME6}", "5"], ["--nonsense"], []):
    equal(f"drain {words} is refused", (tool("drain", *words)[0], drains()), (USAGE, []))
status, out, error = tool("drain", HOME6, "30")
print(f"# {out.strip()}")
check("an address is drained: its client has closed", (status, error) == (DONE, "") and
      f"{HOME6}: 1 connections closed, 0 reset" in out and f"nfsd-ha drain --end {HOME6}" in out, (status, out, error))
equal("and refuses clients", (drains(), refused(HOME6, **host.where)), ([HOME6], True))
(line,) = [line for line in tool("status")[1].splitlines() if line.strip().startswith(f"{HOME6} ")]
equal("status shows it", line.split(), [HOME6, "drained", "-", "-", "-", "1", "0", "1", "0"])
equal("also as JSON", json.loads(tool("--json", "status")[1])["drains"],
      [{"address": HOME6, "state": "drained", "closed": 1, "reset": 0, "refused": 1, "kept": 0}])
equal("it is ended", (tool("drain", f"-{HOME6}")[:2], drains()), ((DONE, f"{HOME6}: does not drain\n"), []))
equal("as often as wanted", (tool("drain", "--end", HOME6)[0], refused(HOME6, **host.where)), (DONE, False))
deaf = connect(HOME6, 2049, **host.where)
began = time.monotonic()
said = json.loads(tool("--json", "drain", HOME6, "1")[1])
check("who does not close is reset after its time", said["seconds"] >= 1 and time.monotonic() - began < 6 and
      (said["address"], said["reset"]) == (HOME6, 1), said)
equal("--end", (json.loads(tool("--json", "drain", "--end", HOME6)[1])["address"], drains()), (HOME6, []))
deaf = connect(HOME6, 2049, **host.where)
# pylint: disable-next=consider-using-with
process = subprocess.Popen(["/test/nfsd-ha", "drain", HOME6, "60"], stderr=subprocess.PIPE, text=True)
assert wait_until(lambda: drains() == [HOME6])
command("drain", f"-{HOME6}")
said = process.communicate()[1]
check("somebody else ends it: the command says so", process.returncode == FAILED and "ended the drain" in said, said)
deaf.close()
status, out, error = tool("drain", "192.0.2.1")
check("an address that is not here: a warning", status == DONE and "not an address of this node" in error, (status, error))
tool("drain", "--end", "192.0.2.1")

# A module that cannot drain: all of its files but that one.
os.mkdir("/root/older")
for name in os.listdir("/proc/fs/nfsd"):
    if name != "drain":
        os.symlink(f"/proc/fs/nfsd/{name}", f"/root/older/{name}")
OLDER = os.environ | {"NFSD_HA_CONTROL": "/root/older"}
equal("an older module cannot drain", tool("drain", HOME6, env=OLDER)[0], ABSENT)
equal("status says so", json.loads(tool("--json", "status", env=OLDER)[1])["drains"], None)
check("a dry run says so", "nothing, as this module cannot" in tool("move-out", path, *AWAY, "--dry-run", env=OLDER)[1])

# A drain that somebody else ends stops the move; nothing is changed, and clients are served.
deaf = connect(ADDRESSES[0], 2049, **host.where)
# pylint: disable-next=consider-using-with
process = subprocess.Popen(["/test/nfsd-ha", "move-out", path, *AWAY, "--close", "--drain", "60"], stderr=subprocess.PIPE, text=True)
assert wait_until(lambda: sorted(drains()) == sorted(ADDRESSES))
command("drain", f"-{ADDRESSES[0]}")
said = process.communicate()[1]
deaf.close()
check("a drain is ended midway: the move stops there", process.returncode == FAILED and "stopped at drain" in said, said)
equal("clients are served again", (here(), refused(ADDRESSES[1], **host.where)), (before, False))
for client, _ in clients.nfs4 + clients.nlm:
    client.close()
    client.connect()
# What was closed just now must not count as one that the drain has closed.
assert wait_until(lambda: not sh("ss -Htn state close-wait 'sport = :2049'"), 10)

# There and back. The other server is this one.
began, clock = time.monotonic(), harness.clock()
leave, said = steps("move-out", path, *AWAY)
# Of each second, so much was ours; the host may be busy.
ours = (harness.clock() - clock) / (time.monotonic() - began)
print(f"# move-out: {leave}")
equal("away, and nothing drains", here(), (False, 0, [], []))
equal("all clients had their answers", drained(said), [COUNT, 0, 0])
equal("the list is root's", oct(os.stat(LIST).st_mode & 0o7777), "0o600")
status, text, error = tool("move-out", str(FSID), *AWAY, "--list", "-")
with open(LIST, encoding="ascii") as f:
    equal("repeated, nothing is done, and the list is the same", (status, f.read()), (DONE, text))
check("the list is confirmed, and carries what was exported and who was connected",
      "\n# released\n" in text and f"\n# export *:{path}(" in text and f"\n# connection [{host.other_ip6}]:2049 [" in text,
      text)
equal("move-in wants to know who may reclaim", tool("move-in", path, *HERE)[0], USAGE)
status, out, error = tool("move-in", path, *HERE, "--list", "-", "--dry-run", input=text)
check("a dry run", status == DONE and f"*:{path}" in out and host.other_ip6 in out, (out, error))
equal("changes nothing", here(), (False, 0, [], []))
# One that was drained here by hand, or by a move that was interrupted.
equal("an address that is not here drains", command("drain", f"{ADDRESSES[0]} 0")[0], "ok")
back, said = steps("move-in", path, *HERE, "--list", "-", input=text)
print(f"# move-in: {back}; {said}")
equal("here", here(), before)
equal("all reclaim", (clients.reclaim(), locks()), ({"OK"}, COUNT))
check("and the grace period ends", wait_until(lambda: read("fsid_grace") == "", 5), read("fsid_grace"))
away = sum(leave[s] for s in leave if s not in ("prepare", "drain", "umount")) + sum(
    back[s] for s in ("takeover", "export", "address"))
print(f"# the address was away for {away:.3f} s, without umount and mount; {away * ours:.3f} s on an idle host")
check("at most a second", away * ours <= 1.0, away)
print(f"# before that, it drained for {leave['drain']:.3f} s")
check("and drained for no more", leave["drain"] * ours <= 1.0, leave)

# Turning back after all is done, and after it has stopped: a mount elsewhere keeps the file system in use.
deaf = connect(ADDRESSES[0], 2049, **host.where)
leave, said = steps("move-out", path, *AWAY, "--close", "--drain", "1")
equal("closed, but one that does not close is reset", drained(said)[::2], [0, 1])
check("after a second", 1 <= leave["drain"] < 6, leave)
_, said = steps("move-out", path, "--undo", "--notify-for", "1")
equal("turned back", here(), before)
equal("all reclaim", (clients.reclaim(), locks()), ({"OK"}, COUNT))
check("and the grace period ends", wait_until(lambda: read("fsid_grace") == "", 5), read("fsid_grace"))
equal("nothing more to turn back", tool("move-out", path, "--undo", "--notify-for", "1")[0], USAGE)
elsewhere = subprocess.Popen(["unshare", "-m", "sleep", "1000"])  # pylint: disable=consider-using-with
assert wait_until(lambda: "sleep" in sh(f"cat /proc/{elsewhere.pid}/comm"))
status, out, error = tool("move-out", path, *AWAY)
print(f"# {error.strip()}")
check("another mount namespace has it", status == FAILED and "stopped at umount" in error and "not done: umount" in error
      and "/proc/*/mountinfo" in error, (status, out, error))
equal("all else is done", here(), (False, 0, [], []))
elsewhere.kill()
elsewhere.wait()
status, text, error = tool("move-out", path, *AWAY, "--list", "-")
check("the same command goes on", (status, "\n# released\n" in text, text.count("nlm ")) == (DONE, True, COUNT // 3),
      (status, text, error))
_, said = steps("move-in", path, *HERE, "--list", "-", input=text)
_, said = steps("move-in", path, *HERE)
equal("repeated without the list", said["steps"][0]["what"], f"{path}: there already")
equal("all reclaim", (clients.reclaim(), locks()), ({"OK"}, COUNT))
check("and the grace period ends", wait_until(lambda: read("fsid_grace") == "", 5), read("fsid_grace"))

# ^C at any moment, then back. Either nothing was released, or all may reclaim.
rng_delays = [0.02, 0.06, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8]
for delay in rng_delays:
    # pylint: disable-next=consider-using-with
    process = subprocess.Popen(["/test/nfsd-ha", "move-out", path, *AWAY], stdout=subprocess.PIPE, text=True)
    time.sleep(delay)
    process.send_signal(signal.SIGINT)
    seen = [line.split()[0] for line in process.communicate()[0].splitlines() if line.startswith("  ")]
    reached = here()
    status, out, error = tool("move-out", path, "--undo", "--notify-for", "1")
    if reached == before and status == USAGE:
        print(f"# ^C after {delay} s: nothing was begun")
        continue
    equal(f"^C after {delay} s, with {seen} done: turned back", (status, here()), (DONE, before))
    # Who was not released keeps what it has: what it reclaims is there already.
    if locks() < COUNT:
        equal("all reclaim", (clients.reclaim(), locks()), ({"OK"}, COUNT))
        check("and the grace period ends", wait_until(lambda: read("fsid_grace") == "", 25), read("fsid_grace"))
    equal("all locks are there, nothing is in grace", (locks(), read("fsid_grace")), (COUNT, ""))

# After a crash there is no list: the daemon's database has who may reclaim, but for NLM.
_, said = steps("move-out", path, *AWAY, env=OLDER)
check("a module that cannot drain: the move says so", "this module cannot" in said["steps"][1]["what"], said["steps"][1])
sh(f"mkdir -p /root/crashed; cp -a {server.state}/. /root/crashed")
_, said = steps("move-in", path, *HERE, "--database", "/root/crashed", "--export",
                f"*:{path}(rw,fsid={FSID},no_root_squash,no_subtree_check)", "--grace", "60")
print(f"# {said['steps']}")
clients.nfs4, gone = [], clients.nfs4
equal("NLM clients reclaim", clients.reclaim(), {"OK"})
clients.close()
tool("end", device_scope(path))

# unexport
nlm = Nlm(4, host.server_ip, "last", **host.where)
fh = host.create(path, "last")
equal("a client by another address", nlm.lock(fh), "GRANTED")
sh(f"exportfs -o rw,fsid={FSID},no_root_squash,no_subtree_check 10.9.1.99:{path}")
for specs in ([f"*:{path}"], ["*:/nowhere"], ["-u"]):
    status, _, error = tool("unexport", "--", *specs)
    print(f"# {error.strip()}")
    equal(f"unexport {specs}", (status, locks() > 0), (USAGE if specs[0] != f"*:{path}" else BUSY, True))
sh(f"sleep 100 <{path}/last >/dev/null 2>&1 &")
status, _, error = tool("unexport", path)
print(f"# {error.strip()}")
equal("while somebody uses the file system nothing is changed", (status, sh("exportfs -v").count(path) > 0, locks() > 0),
      (BUSY, True, True))
sh("pkill sleep")
out, said = steps("unexport", path)
print(f"# unexport: {out}; {said}")
equal("it is unexported, and nothing is locked", (sh("exportfs -v").count(path), locks()), (0, 0))
check("umount works at once", succeeds(f"umount {path}"))
sh(f"mount {path}; exportfs -o rw,fsid={FSID},no_root_squash,no_subtree_check *:{path}")
equal("a lock", nlm.lock(fh), "GRANTED")
out, said = steps("unexport", "--keep-locks", f"*:{path}")
equal("--keep-locks", (sh("exportfs -v").count(path), locks()), (0, 1))
done()
