#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: timeout=240 module=load once=yes disk=data:32M
"""nfsd-had records clients of NLM: before their locks, with a full disk, stopped, beside another recorder, and while the
module comes and goes."""

import json
import os
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import harness
import quickstatd
import recorders
from fullserver import FullServer, RawHost
from ktap import check, done, equal
from nfs import SLOW, load, patience, sh, unload, wait_until
from nfs4 import Nfs4
from nlm import Nlm
from program import tool
from rpc import NLM, port_of

DISK, LOG, REPORT = "/srv/data", "/tmp/nfsd-had.log", "/run/nfsd-ha/record.json"
# How many come at a time.
STORM = 100


class Had(FullServer):
    """A server with nfsd-had on a small disk, whose messages are kept."""

    def __init__(self):
        super().__init__(grace=10)
        self.state, self.lockd = f"{DISK}/had", 0
        self.recorder = recorders.NfsdHad(self.state)

    def start_daemon(self):
        """Starts it; what it said before is forgotten."""
        with open(LOG, "w", encoding="utf-8") as log:
            # pylint: disable-next=consider-using-with
            self.daemon = subprocess.Popen(self.recorder.command(self.pipefs).split(), stderr=log)

    def serve(self):
        """Starts the server, and ends its grace periods; looks where lockd is."""
        self.start()
        self.end_grace()
        self.lockd = port_of(NLM, 4, "127.0.0.1")


def said(*words):
    """The lines that the daemon has said with all of these words."""
    with open(LOG, encoding="utf-8") as f:
        return [line.strip() for line in f if all(word in line for word in words)]


def full_then_well(nlm):
    """Has the daemon said, of clients of NLM or of NFSv4, that the disk is full, and that all is well again, each once?

    It may do so several times: what is small may be stored when what came together was not.
    """
    lines = [line for line in said() if ("ERROR" in line or "all is well" in line) and ("clients of NLM" in line) == nlm]
    return bool(lines) and ["is full" in line for line in lines] == [True, False] * (len(lines) // 2)


def report():
    """What the recorder says of itself, if there is one."""
    try:
        with open(REPORT, encoding="ascii") as f:
            return json.load(f)
    except FileNotFoundError:
        return {"pid": 0}


def records():
    """It is this daemon that records."""
    return report()["pid"] == server.daemon.pid


def on_record():
    """The clients of NLM on record: the export, both addresses, the version and the name of each."""
    status, out, error = tool("--json", "records", "--records", server.recorder.file, "list", "--nlm")
    assert status == 0, error
    return {(one["fsid"], one["server"], one["client"], one["version"], one["caller"])
            for one in json.loads(out) if one["gone"] is None}


def record(number, fsid):
    """What the record of a client is to be."""
    return (fsid, host.server_ip, address(number), 4, f"client{number}")


def address(number):
    """The address of a client; all of them are the host's."""
    return f"10.40.{number // 250}.{number % 250 + 1}"


def lock(number, fh):
    """A client asks for a lock of its own."""
    client = Nlm(4, host.server_ip, f"client{number}", port=server.lockd, source=address(number), **host.where)
    try:
        return client.lock(fh, offset=2 * number, svid=number)
    finally:
        client.close()


def within(seconds, what, number, fh, wanted):
    """A client is answered in so many seconds."""
    began = harness.clock()
    equal(what, lock(number, fh), wanted)
    took = harness.clock() - began
    check(f"{what}: within {seconds} s", took < seconds * SLOW, took)


def at_once(what, number, fh, wanted):
    """A client is answered without a wait."""
    within(2, what, number, fh, wanted)


def comes(name):
    """A client of NFSv4, up to where it may have state."""
    client = Nfs4(1, "127.0.0.1", name)
    assert client.establish() == "OK"
    status = client.reclaim_complete()
    client.close()
    names.add(name)
    return status


def many(prefix, count):
    """Many clients of NFSv4 come; the process that they are."""
    names.update(f"{prefix}{n:07}" for n in range(count))
    # pylint: disable-next=consider-using-with
    return subprocess.Popen(f"/test/nfs4load --server 127.0.0.1 --quiet --prefix {prefix} --first 0 --clients {count} "
                            "--in-flight 32 --steps session,complete".split(), stdout=subprocess.DEVNULL)


def stored():
    """Are all clients of NFSv4 on record?"""
    return server.status()["to_store"] == 0 and server.records()["current"] == names


names = set()
sh(f"mkdir -p {DISK}; mount /dev/disk/data {DISK}")
server = Had()
server.set_up()
statd = quickstatd.replace()
server.serve()
host = RawHost()
host.enter("ip route add local 10.40.0.0/16 dev lo")
host.on_server(f"ip route add 10.40.0.0/16 via {host.server_ip[:-1]}2")
a, b, c = (host.create(server.export(name, f"fsid={fsid},insecure")) for name, fsid in (("a", 1234), ("b", 5678), ("c", 9)))
check("nfsd-had is the recorder", wait_until(records), said())

# A record before the lock.
at_once("a new client gets its lock", 1, a, "GRANTED")
equal("and is on record", on_record(), {record(1, "1234")})
at_once("the same client on another export gets its lock", 1, b, "GRANTED")
equal("with another record", on_record(), {record(1, "1234"), record(1, "5678")})

# Many of NLM and of NFSv4 at a time.
began = harness.clock()
load4 = many("storm-", 600)
with ThreadPoolExecutor(8) as pool:
    results = set(pool.map(lambda n: lock(n, a), range(1000, 1000 + STORM)))
took = harness.clock() - began
equal("many of NFSv4 come beside them", load4.wait(patience(60)), 0)
print(f"# {STORM} clients of NLM in {took:.2f} s, 600 of NFSv4 in {harness.clock() - began:.2f} s", flush=True)
equal(f"{STORM} clients of NLM get their locks", results, {"GRANTED"})
check("and nobody waits for long", took < STORM * 0.1 * SLOW, took)
check("all of them are on record", on_record() >= {record(n, "1234") for n in range(1000, 1000 + STORM)})
check("those of NFSv4, too", wait_until(stored), server.status())
equal("nothing was wrong", said("ERROR"), [])

# The disk is full. There is some room in the log of the database, also when many do not fit into it.
sh(f"dd if=/dev/zero of={DISK}/filler bs=64k; dd if=/dev/zero of={DISK}/rest bs=4k", check=False)
for n in range(20):
    many(f"full{n}-", 300).wait(patience(60))
    if server.status()["to_store"]:
        break
for last in range(2000, 2500):
    if lock(last, a) != "GRANTED":
        break
print(f"# {last - 2000} clients of NLM had room", flush=True)
check("the disk is full: who gets a lock is on record", on_record() >= {record(n, "1234") for n in range(2000, last)})
equal("and who is not gets none", record(last, "1234") in on_record(), False)
at_once("nor the next time", last, a, "NOLOCKS")
at_once("nor does a new client", 2, a, "NOLOCKS")
at_once("nor does another one", 3, b, "NOLOCKS")
at_once("nor on an export of which nobody holds anything", 3, c, "NOLOCKS")
at_once("who is on record goes on", 1, b, "GRANTED")
came = {comes(f"client-full{n}") for n in range(5)}
equal("clients of NFSv4 may go on, as their lease is good", came, {"OK"})
check("there is no room for all of them", "client-full4" not in server.records()["current"])
before = server.status()["retried"]
check("who is not stored is tried again", wait_until(lambda: server.status()["retried"] > before), server.status())
check("and not stored yet", server.status()["to_store"] > 0, server.status())
equal("nor are the clients of NLM", {one[2] for one in on_record()} & {address(n) for n in (2, 3, last)}, set())
check("the report says who is not stored, and why", wait_until(
    lambda: {(w["scope"], w["client"]) for w in report()["unstored"] if "full" in w["error"]} ==
    {("1234", address(last)), ("1234", address(2)), ("5678", address(3)), ("9", address(3))}, 10), report())
os.unlink(f"{DISK}/filler")
check("there is room again: a client gets its lock", wait_until(lambda: lock(2, a) == "GRANTED"))
check("and the others do", wait_until(lambda: {lock(3, b), lock(3, c)} == {"GRANTED"}))
check("they are on record", on_record() >= {record(2, "1234"), record(3, "5678"), record(3, "9")})
check("those of NFSv4, too", wait_until(stored, 60), server.status())
check("the log says once of NLM that it was full, and is well again", wait_until(lambda: full_then_well(True)), said())
check("and of NFSv4", wait_until(lambda: full_then_well(False)), said())
equal("and nobody is left", report()["unstored"], [])

# It hangs.
server.daemon.send_signal(signal.SIGSTOP)
within(7, "it hangs: a new client gets no lock", 4, a, "NOLOCKS")
at_once("the next one does not wait", 5, a, "NOLOCKS")
at_once("nor this one again", 4, a, "NOLOCKS")
at_once("who is on record goes on", 1, a, "GRANTED")
server.daemon.send_signal(signal.SIGCONT)
check("it goes on: they get their locks", wait_until(lambda: lock(4, a) == "GRANTED") and lock(5, a) == "GRANTED")
check("and are on record", on_record() >= {record(4, "1234"), record(5, "1234")})

# It ends, and begins while its file system is not mounted.
server.stop_daemon()
check("it ends: its report goes", not os.path.exists(REPORT))
at_once("nobody records: a client does not wait", 6, a, "GRANTED")
sh(f"umount {DISK}")
server.start_daemon()
check("it begins without its file system", wait_until(records), said())
at_once("a new client gets no lock", 11, a, "NOLOCKS")
check("why is said", said("clients of NLM", "cannot be opened"), said())
sh(f"mount /dev/disk/data {DISK}")
check("it is mounted: the client gets its lock", wait_until(lambda: lock(11, a) == "GRANTED"), said())
check("it is on record, with the other one", on_record() >= {record(6, "1234"), record(11, "1234")})
server.stop_daemon()

# Another recorder.
other = subprocess.Popen(["/test/nfsd-ha", "record"])  # pylint: disable=consider-using-with
check("nfsd-ha record runs", wait_until(lambda: report()["pid"] == other.pid))
server.start_daemon()
check("nfsd-had says that it does", wait_until(lambda: said("another recorder is running")), said())
at_once("a client gets its lock", 7, a, "GRANTED")
equal("nfsd-had does not record it", record(7, "1234") in on_record(), False)
equal("but clients of NFSv4", (comes("client-other"), wait_until(stored)), ("OK", True))
time.sleep(5)
equal("that is said once", len(said("another recorder is running")), 1)
other.terminate()
began = harness.clock()
equal("nfsd-ha record ends", other.wait(patience(10)), 0)
check("nfsd-had takes its place", wait_until(records), said())
check("within some seconds", harness.clock() - began < 7 * SLOW)
check("who came meanwhile is on record", record(7, "1234") in on_record())
equal("and who comes now", (lock(8, a), record(8, "1234") in on_record()), ("GRANTED", True))
check("it says that all is well", wait_until(lambda: said("clients of NLM: all is well again")), said())

# The module goes, and the stock kernel is there.
quiet = len(said())
began = harness.clock()
server.stop()
print(f"# the server has stopped in {harness.clock() - began:.2f} s", flush=True)
began = harness.clock()
unload()
took = harness.clock() - began
print(f"# unloaded in {took:.2f} s", flush=True)
check("the module can be unloaded while nfsd-had runs, within ten seconds", took < 10 * SLOW, took)
server.serve()
equal("the stock kernel grants a lock", lock(9, a), "GRANTED")
check("nobody records clients of NLM", wait_until(lambda: not os.path.exists(REPORT)))
time.sleep(5)
equal("nfsd-had says nothing of that", [line for line in said()[quiet:] if "NLM" in line or "ERROR" in line], [])
equal("nor does it record it", record(9, "1234") in on_record(), False)
server.stop()
load()
began = harness.clock()
server.serve()
check("the module is there again: nfsd-had is the recorder", wait_until(records), said())
check("within ten seconds", harness.clock() - began < 10 * SLOW)
at_once("a new client gets its lock", 10, a, "GRANTED")
check("and is on record", record(10, "1234") in on_record())
equal("nothing was wrong", [line for line in said()[quiet:] if "NLM" in line or "ERROR" in line], [])
server.stop_daemon()
server.stop()
done()
