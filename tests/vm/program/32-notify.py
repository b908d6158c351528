#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: once=yes timeout=200 module=none
"""nfsd-ha notify, with a thousand clients that behave in many ways: each is told from and about the server address that
it used, who was not told stays on the list, and the next run goes on with these.
"""

import collections
import json
import os
import re
import resource
import signal
import subprocess
import time

from ktap import check, done, equal
from nfs import SLOW, sh, succeeds, wait_until

PROGRAM = "/test/nfsd-ha"
LISTS = "/var/lib/nfsd-ha"
CALLBACK = "0100007f 000186b5 00000003 00000010 " + "0" * 32
# Two addresses of IPv4, of which clients know one each, and one of IPv6.
SERVERS = ("10.8.0.1", "10.8.0.3", "fd08::1")
# How one client in fifty behaves, by its number; the others are good.
KINDS = dict(enumerate(("lossy", "only-tcp", "no-udp", "dead", "gone", "garbage", "wrong-address", "wrong-xid", "refuses",
                        "no-statd", "slow")))
BAD = {"dead": "no answer|closes the", "gone": "no answer from its rpcbind", "garbage": "no answer|closes the|ONC RPC",
       "wrong-address": "no answer|closes the", "wrong-xid": "no answer|ONC RPC", "refuses": "an error of its own",
       "no-statd": "rpc.statd does not run"}


def kind_of(number):
    """How a client behaves."""
    return KINDS.get(number % 50, "good")


def address_of(number):
    """The address of a client. One that is gone is behind a route that swallows packets."""
    low = f"{number // 256}.{number % 256}"
    if number % 10 == 9 and kind_of(number) == "good":
        return f"fd09::{number:x}"
    return f"10.9.{low}" if kind_of(number) != "gone" else f"10.10.{low}"


def server_of(number):
    """The server address that it used."""
    address = address_of(number)
    return SERVERS[2] if ":" in address else SERVERS[number % 2]


def record(scope, client, server):
    """Puts a client on a list."""
    for name in ("sm", "sm.bak"):
        os.makedirs(f"{LISTS}/{scope}/{name}", mode=0o700, exist_ok=True)
    with open(f"{LISTS}/{scope}/sm/{client}", "a", encoding="ascii") as f:
        f.write(f"{CALLBACK} {client} {server}\n")


def notify(*arguments, program=(PROGRAM,)):
    """Runs nfsd-ha notify; the exit status, the report, and the seconds."""
    began = time.monotonic()
    result = subprocess.run([*program, "--json", "notify", *arguments], check=False, text=True, capture_output=True)
    try:
        report = json.loads(result.stdout)
    except ValueError:
        report = {"error": result.stdout + result.stderr, "told": [], "not_told": [], "state": 0}
    return result.returncode, report, time.monotonic() - began


def on_list(scope, name="sm.bak"):
    """The clients in a directory of a list."""
    return {file for file in os.listdir(f"{LISTS}/{scope}/{name}") if not file.startswith(".")}


class World:
    """The clients, in a net namespace of their own."""

    def __init__(self):
        sh("ip netns add world; ip link set lo up; ip link add near type veth peer name far netns world; ip link set near up; "
           "ip addr add 10.8.0.1/24 dev near; ip addr add 10.8.0.3/24 dev near; ip addr add fd08::1/64 dev near nodad; "
           "ip netns exec world sh -ec '"
           "ip link set lo up; ip link set far up; ip addr add 10.8.0.2/24 dev far; ip addr add fd08::2/64 dev far nodad; "
           # All addresses of these networks are here; one of IPv6 may then only be sent from as if it were not.
           "sysctl -qw net.ipv6.ip_nonlocal_bind=1; "
           "ip route add local 10.9.0.0/16 dev lo; ip -6 route add local fd09::/64 dev lo; "
           "ip route add blackhole 10.10.0.0/16'; "
           "ip route add 10.9.0.0/16 via 10.8.0.2; ip route add 10.10.0.0/16 via 10.8.0.2; "
           "ip -6 route add fd09::/64 via fd08::2")
        # pylint: disable-next=consider-using-with
        self.process = subprocess.Popen(["ip", "netns", "exec", "world", "python3", "/test/program/notify-clients.py"],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "ready\n"

    def ask(self, *words):
        """Sends a command to the clients; what they answer."""
        self.process.stdin.write(json.dumps(words) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def told(self):
        """What the clients have been told since the last time, each a list."""
        told = collections.defaultdict(list)
        for client, *what in self.ask("told"):
            told[client].append(tuple(what))
        return told


assert os.path.exists(PROGRAM), "the program is not here"
COUNT = 1000
clients = {address_of(number): number for number in range(COUNT)}
world = World()
kinds = {address: kind_of(number) for address, number in clients.items()}
world.ask("kinds", kinds)
for address, number in clients.items():
    record("1234", address, server_of(number))
for odd in ("a-name", ".10.9.0.1.new", "10.9.300.1"):
    with open(f"{LISTS}/1234/sm/{odd}", "w", encoding="ascii") as f:
        f.write(f"{CALLBACK} {odd} {SERVERS[0]}\n")

good = {address for address, kind in kinds.items() if kind not in BAD}
limited = ("sh", "-c", 'ulimit -n 350; exec "$0" "$@"', PROGRAM)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
status, report, seconds = notify("1234", "--limit", str(40 * SLOW), program=limited)
told = world.told()
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
print(f"# {len(report['told'])} of {COUNT} clients told; run of {seconds:.1f} s, {usage.ru_utime - used.ru_utime:.2f} s of CPU and "
      f"{usage.ru_stime - used.ru_stime:.2f} s in the kernel; all good ones after "
      f"{max(t['seconds'] for t in report['told']):.2f} s, half of them after "
      f"{sorted(t['seconds'] for t in report['told'])[len(report['told']) // 2]:.2f} s", flush=True)
for kind in ["good", *KINDS.values()]:
    times = sorted(t["seconds"] for t in report["told"] if kinds[t["client"]] == kind)
    why = collections.Counter(t["why"] for t in report["not_told"] if kinds[t["client"]] == kind)
    print(f"# {kind:14} told {len(times):4} {'after %.2f to %.2f s' % (times[0], times[-1]) if times else ''} {dict(why) or ''}")
equal("somebody was not told: status 1", status, 1)
equal("told are all that answer as they should, and no others", {t["client"] for t in report["told"]}, good)
equal("the others are named", {t["client"] for t in report["not_told"]}, set(kinds) - good)
check("with the reason", all(re.search(BAD.get(kinds[t["client"]], "^$"), t["why"]) for t in report["not_told"]),
      [(kinds[t["client"]], t["why"]) for t in report["not_told"]])
equal("who says that it was told has heard of it", {c for c in good if c not in told}, set())
equal("from and about the address that it used", {c: told[c] for c in good if {t[:2] for t in told[c]} != {
    (server_of(clients[c]), server_of(clients[c]))}}, {})
equal("from a port that only root has", [t for ts in told.values() for t in ts if t[3] >= 1024], [])
equal("with one state number", {t[2] for ts in told.values() for t in ts}, {report["state"]})
check("which is odd, and not below the time", report["state"] % 2 == 1 and abs(report["state"] - time.time()) < 600, report["state"])
equal("by TCP who has no UDP", {kinds[t["client"]] for t in report["told"] if t["transport"] == "tcp"} - {"lossy", "slow", "good"},
      {"only-tcp", "no-udp"})
equal("who was not told is on the list", on_list("1234"), set(kinds) - good)
equal("and nothing else but what is no record", on_list("1234", "sm"), {"a-name", "10.9.300.1"})

# The next run.
before = report["state"]
world.ask("kinds", {address: "good" for address in kinds})
sh("ip route del 10.10.0.0/16; ip route add 10.10.0.0/16 via 10.8.0.2; "
   "ip netns exec world sh -ec 'ip route del blackhole 10.10.0.0/16; ip route add local 10.10.0.0/16 dev lo'")
status, report, seconds = notify("1234")
told = world.told()
equal("a repeat goes on with the rest", (status, {t["client"] for t in report["told"]}), (0, set(kinds) - good))
equal("and tells nobody twice", set(told), set(kinds) - good)
check("with a greater number", report["state"] > before, report["state"])
print(f"# {len(told)} clients told in {seconds:.2f} s")
equal("the list is empty", on_list("1234"), set())
equal("there is nobody to tell then", (sh(f"{PROGRAM} notify 1234"), world.told()), ("nobody is on the list\n", {}))

# An address that comes later, also where one may bind to any address.
sh("sysctl -qw net.ipv4.ip_nonlocal_bind=1 net.ipv6.ip_nonlocal_bind=1")
late = {"10.9.100.1": "10.8.0.50", "fd09::6401": "fd08::50", "10.9.100.2": "10.8.0.1"}
for address, server in late.items():
    record("5678", address, server)
# pylint: disable-next=consider-using-with
run = subprocess.Popen([PROGRAM, "--json", "notify", "5678"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
wait_until(lambda: len(on_list("5678")) == 2, 10)
time.sleep(1)
equal("who has used an address that is not here waits", set(world.told()), {"10.9.100.2"})
began = time.monotonic()
sh("ip addr add 10.8.0.50/24 dev near; ip addr add fd08::50/64 dev near nodad")
output, errors = run.communicate()
took = time.monotonic() - began
print(f"# told {took:.2f} s after the command that adds the addresses began")
equal("and is told when it is", ({c: {t[:2] for t in ts} for c, ts in world.told().items()}, run.returncode),
      ({c: {(s, s)} for c, s in late.items() if s.endswith("50")}, 0))
check("at once", took < 1 * SLOW + 1, took)
check("the admin hears of it", "10.8.0.50 is not on this node" in errors and "10.8.0.50 is here" in errors, errors)
sh("ip addr del 10.8.0.50/24 dev near; ip addr del fd08::50/64 dev near")
record("5678", "10.9.100.1", "10.8.0.50")
status, report, _ = notify("5678", "--limit", "2")
check("one that never comes is named", status == 1 and "not on this node" in report["not_told"][0]["why"], report)

# A client on two lists, by two addresses, with a name; this host; another kind of address.
sh(f"rm -r {LISTS}/5678; [ -e /run/rpcbind.sock ] || rpcbind -w")
wait_until(lambda: succeeds("rpcinfo -p"))
sh("rpc.statd --no-notify")
for scope, server in (("5678", "10.8.0.1"), ("5678", "10.8.0.3"), ("9", "10.8.0.1")):
    record(scope, "10.9.1.1", server)
record("9", "10.8.0.1", "10.8.0.1")
record("9", "fd08::1", "fd08::1")
status, report, _ = notify("5678", "9", "--name", "10.8.0.3=nfs-ha.example")
equal("a client is told of each address that it used, once for all exports", [t[:2] for t in sorted(world.told()["10.9.1.1"])],
      [("10.8.0.1", "10.8.0.1"), ("10.8.0.3", "nfs-ha.example")])
equal("the real rpc.statd, on this host, takes a notice", (status, {t["client"] for t in report["told"]}),
      (0, {"10.8.0.1", "10.9.1.1", "fd08::1"}))
for client, server in (("fe80::1", "fe80::2"), ("10.9.1.2", "fd08::1"), ("224.0.0.1", "10.8.0.1")):
    record("9", client, server)
status, report, seconds = notify("9")
check("what cannot be told is said at once", status == 1 and len(report["not_told"]) == 3 and seconds < 5 * SLOW, (report, seconds))
sh(f"rm -r {LISTS}/9 {LISTS}/5678")

# Exports that come one after the other within a second, each with a list of its own: the client is on all of them.
SCOPES = ("21", "22", "23", "24")
for scope in SCOPES:
    record(scope, "10.9.1.1", "10.8.0.1")
world.told()
numbers = [notify(scope)[1]["state"] for scope in SCOPES]
told = list(dict.fromkeys(t[2] for t in world.told()["10.9.1.1"]))
equal("lists that are told one after the other have growing, odd numbers",
      (numbers, told, [n % 2 for n in numbers]), (sorted(set(told)), numbers, [1] * len(SCOPES)))

# ^C in the midst, and two at once.
for number in range(300):
    record("5678", f"10.9.{5 + number // 250}.{number % 250}", SERVERS[0])
everybody = on_list("5678", "sm")
world.ask("kinds", {address: "slow" for address in list(everybody)[:100]})
# pylint: disable-next=consider-using-with
run = subprocess.Popen([PROGRAM, "notify", "5678"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
wait_until(lambda: not on_list("5678", "sm") and len(on_list("5678")) < len(everybody) - 50, 20, 0.02)
status, report, _ = notify("5678")
check("a second one at the same time is refused: status 3", status == 3 and "another nfsd-ha" in report["error"], report)
run.send_signal(signal.SIGINT)
run.wait()
left, first = on_list("5678"), set(world.told())
print(f"# ^C: {len(first)} of {len(everybody)} had been told, {len(left)} are left")
check("^C: who was told is off the list", left and left < everybody and everybody - left <= first, (len(left), len(first)))
status, report, _ = notify("5678")
equal("the next run tells the rest", (status, {t["client"] for t in report["told"]}), (0, left))

# rpc.statd's own program goes on with what is left.
record("5678", "10.9.7.1", "10.8.0.1")
record("5678", "10.9.7.2", "10.8.0.1")
world.ask("kinds", {"10.9.7.2": "dead"})
status, report, _ = notify("5678", "--limit", "2")
world.told()
world.ask("kinds", {"10.9.7.2": "good"})
record("5678", "10.9.7.3", "10.8.0.1")
sh("mkdir -p /etc/nfs.conf.d; printf '[sm-notify]\\nlift-grace = n\\n' >/etc/nfs.conf.d/ha.conf")
sh(f"timeout 60 sm-notify -d -P {LISTS}/5678", check=False)
told = world.told()
equal("sm-notify -P tells the rest of a list", set(told), {"10.9.7.2", "10.9.7.3"})
check("with a greater number", all(t[2] > report["state"] for ts in told.values() for t in ts), (told, report))
equal("and takes them off it", on_list("5678") | on_list("5678", "sm"), set())
record("5678", "10.9.7.1", "10.8.0.1")
after = notify("5678")[1]["state"]
check("then ours has a greater number again", after > max(t[2] for ts in told.values() for t in ts), after)

equal("an export without a list: status 1", [notify("77")[0], os.path.exists(f"{LISTS}/77")], [1, False])
equal("a directory that is no list", [notify("/etc/")[0], os.path.exists("/etc/sm")], [1, False])
equal("what is no scope: status 2", notify("x y")[0], 2)
world.process.stdin.close()
done()
