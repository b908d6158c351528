#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: once=yes timeout=240 module=ship
"""scripts/admin/nfsd-ha: what it says, and its exit status."""

import json
import subprocess

from control import command, read
from fullserver import FullServer, RawHost
from ktap import check, done, equal
from nfs import MODULE, sh, wait_until
from nfs4 import Nfs4
from nlm import Nlm

DONE, FAILED, USAGE, BUSY, ABSENT, OTHER_SCOPE = range(6)


def tool(*words, given=""):
    """Runs it: its exit status, what it prints, and what it complains of."""
    result = subprocess.run(["/test/nfsd-ha", *words], check=False, text=True, input=given, capture_output=True)
    return result.returncode, result.stdout, result.stderr


def in_json(*words, given=""):
    """The same, with the JSON that it prints."""
    status, out, _ = tool("--json", *words, given=given)
    return status, json.loads(out)


equal("without the module, it says what to do", tool("status")[0], ABSENT)
check("which is to load it", "insmod nfsd_ha.ko" in tool("status")[2], tool("status"))
sh(f"insmod {MODULE}")
server = FullServer(grace=10)
server.set_up()
server.start()
host = RawHost()
server.end_grace()
HOME, FLOATING = host.server_ip, host.other_ip
for words in ([], ["sta"], ["status", "1"], ["release"], ["takeover"], ["--what", "status"], ["end", "1", "2"],
              ["--database", "/", "status"], ["takeover", "1", "0"], ["takeover", "1", "x"]):
    equal(f"{words} is no command", tool(*words)[0], USAGE)
equal("there is help", tool("--help")[0], DONE)
for scope in ("", "x", "0x", "dev:1", "a-b-c-d-e", "0" * 31 + "g", "0" * 37, "ip:192.0.2", "1\n2"):
    equal(f"{scope!r} is no scope", [tool(*words)[0] for words in (["release", scope], ["end", scope])], [USAGE] * 2)
equal("also in JSON", in_json("release", 'no"\t\nscope')[0], USAGE)
UUID = "0d7bb6e8-0c1e-4e6a-9d61-3f9a1f6c1b1d"
for scope in (UUID.upper(), UUID.replace("-", "")):
    assert command("fsid_grace", f"{UUID} 60")[0] == "ok"
    equal(f"{scope} is a scope", (tool("end", scope)[0], read("fsid_grace")), (DONE, ""))

a = host.create(server.export("a", "fsid=1234"))
one, odd = (Nfs4(1, FLOATING, name, **host.where) for name in ("one", 'o"d\\d two'))
for number, this in enumerate((one, odd)):
    assert (this.establish(), this.reclaim_complete()) == ("OK", "OK")
    assert this.lock(this.open_fh(a), number).status == "OK"
nlm = Nlm(4, FLOATING, "three", **host.where)
equal("a client of NLM, too", nlm.lock(a, offset=99), "GRANTED")
ODD = 'o"d\\134d\\040two'
status, shown = in_json("status")
scope = sh("hostname").strip()
equal("status in JSON", (status, shown["server_scope"], shown["grace"], shown["listed"]), (DONE, scope, [], []))
equal("with NFSv4 clients",
      sorted((c["fsid"], c["client"], c["opens"], c["locks"], c["address"]) for c in shown["nfs4"]),
      [("1234", ODD, 1, 1, FLOATING), ("1234", "one", 1, 1, FLOATING)])
equal("and those of NLM", [(c["fsid"], c["server"], c["locks"], c["caller"]) for c in shown["nlm"]],
      [("1234", FLOATING, 1, "three")])
status, text, _ = tool("status")
check("status as tables", status == DONE and "NFSv4 clients:" in text and f"  1234 {ODD}" in text, text)

status, exported, _ = tool("export-clients", "1234")
lines = ["# nfsd-ha clients 2", f"# server-scope {scope}", "# nlm-clients 1", "# held 1 0 2 2 9",
         f"1234 {ODD}", "1234 one", f"1234 nlm {FLOATING} {HOME[:-1]}2 4 holds=1", "# end 3"]
equal("the clients of an export", (status, exported.splitlines()), (DONE, lines))
equal("written in another way", tool("export-clients", "0x4D2")[1], exported)
equal("of another one: none", tool("export-clients", "5678")[1].splitlines(),
      [*lines[:2], "# nlm-clients 0", "# held 0 0 0 0 0", "# end 0"])
status, _, error = tool("export-clients", "ip:2001:DB8::1")
check("of an address that is not floating, it is not known", status == FAILED and "echo 2001:db8::1 >" in error, error)
with open("/dev/full", "w", encoding="ascii") as full:
    equal("a list that cannot be written", subprocess.run(["/test/nfsd-ha", "export-clients", "1234"], check=False,
                                                          stdout=full, stderr=subprocess.DEVNULL).returncode, FAILED)
check("both are on record", wait_until(lambda: len(server.records()["current"]) == 2, 10))
status, recorded, _ = tool("--database", server.state, "export-clients", "1234")
names = sorted(bytes.fromhex(line.split()[1][2:]).decode() for line in recorded.splitlines()[4:-1])
equal("from the daemon's database", (status, names), (DONE, sorted(['o"d\\d two', "one"])))
equal("there is no such database", tool("--database", "/nowhere", "export-clients", "1234")[0], FAILED)

status, out, error = tool("release", "1234")
check("busy", status == BUSY and f"connected to {FLOATING}" in error, (status, out, error))
equal("busy, in JSON", in_json("release", "1234")[1]["status"], BUSY)
host.on_server(f"ip addr del {FLOATING}/24 dev {host.near}")
status, released = in_json("release", "1234")
equal("released", (status, released["scope"], released["locks"], released["nfs4_locks"]), (DONE, "1234", 1, 2))
host.on_server(f"ip addr add {FLOATING}/24 dev {host.near}")

equal("what is no list, or not all of one",
      [tool("takeover", "1234", given=given)[0] for given in ("", "1234 one\n", exported[:-20], exported + exported)],
      [USAGE] * 4)
other = exported.replace(f"server-scope {scope}", "server-scope elsewhere")
status, _, error = tool("takeover", "1234", "60", given=other)
check("another server scope", status == OTHER_SCOPE and "rpc.nfsd -S" in error, (status, error))
equal("nothing has begun", read("fsid_grace"), "")
equal("it can be forced", tool("--force", "takeover", "1234", "60", given=other)[0], DONE)
equal("and ended", (tool("end", "1234")[0], read("fsid_grace")), (DONE, ""))
status, said = in_json("takeover", "1234", "60", given=exported)
equal("taken over", (status, said), (DONE, {"scope": "1234", "seconds": 60, "nfs4_clients": 2, "nlm_clients": 0,
                                            "nobody_else": False,
                                            "also_clients_here": 0}))
equal("they may reclaim", sorted(read("reclaim_clients").splitlines()), [f"1234 {ODD} # waiting", "1234 one # waiting"])
equal("status says so", [(c["client"], c["state"]) for c in in_json("status")[1]["listed"]],
      [(ODD, "waiting"), ("one", "waiting")])
tool("end", "1234")
equal("who may still reclaim is listed, too, and others may still come",
      (tool("takeover", "1234", "60", given=exported)[0], tool("export-clients", "1234")[1].splitlines()),
      (DONE, [*lines[:2], "# nlm-clients -", "# held 0 0 0 0 0", *lines[4:6], "# end 2"]))
tool("end", "1234")
many = [*lines[:2], "# nlm-clients 0", *(f"1234 \\x{f'client {n}'.encode().hex()}" for n in range(500)), "# end 500"]
status, said = in_json("takeover", "1234", "60", given="\n".join(many) + "\n")
equal("many, and nobody else", (status, said["nfs4_clients"], said["nobody_else"]), (DONE, 500, True))
equal("are all listed", len(read("reclaim_clients").splitlines()), 500)
tool("end", "1234")
equal("a list of another scope is for this one",
      in_json("takeover", f"ip:{FLOATING}", "60", given=exported)[1]["scope"], f"ip:{FLOATING}")
tool("end", f"ip:{FLOATING}")

# Who is a client of this server, too.
here = Nfs4(1, HOME, "one", **host.where)
assert (here.establish(), here.reclaim_complete()) == ("OK", "OK")
status, _, error = tool("takeover", "1234", "60", given=exported)
check("a client of both is said", status == DONE and "1 of these clients" in error, error)
named = exported.replace("one\n", f"one@{FLOATING}\n")
error = tool("takeover", "1234", "60", given=named)[2]
check("also if it came to an address that is floating there", "1 of these" in error, error)
command("floating_addresses", FLOATING)
for given in (exported, named):
    equal("with a floating address it is none", tool("takeover", "1234", "60", given=given)[2], "")
tool("end", "1234")

# A name as long as it may be, of bytes that need four characters each.
long = Nfs4(1, FLOATING, bytes(range(128, 256)) * 7 + bytes(100), **host.where)
assert (long.establish(), long.reclaim_complete()) == ("OK", "OK")
long.name = "long"  # in the names of its open-owners
assert long.open_fh(a).status == "OK"
status, exported, _ = tool("export-clients", f"ip:{FLOATING}")
digits = exported.splitlines()[4].removeprefix(f"ip:{FLOATING} \\x")
equal("a long name", (status, len(digits)), (DONE, 2 * len(bytes(996) + f"@{FLOATING}".encode())))
equal("can be listed", (tool("takeover", "1234", "60", given=exported)[0], len(read("reclaim_clients").splitlines())),
      (DONE, 1))
tool("end", "1234")

# A server that is in grace itself does not know all yet.
check("both are on record", wait_until(lambda: len(server.records()["current"]) == 2, 10), server.records())
server.stop()
server.start()
status, exported, _ = tool("export-clients", "1234")
equal("in the server's own grace period, who is on record may come, and others of NLM",
      (status, len(exported.splitlines()), exported.splitlines()[2]), (DONE, 7, "# nlm-clients -"))

# Clients that cannot say that they have finished: a list that is confirmed ends when they have all.
server.end_grace()
command("floating_addresses", f"-{FLOATING}")
for this in (one, odd, here, long, nlm):
    this.close()
LIST = "/tmp/list"


def exports(later=None):
    """Clients take something, and are listed, then released; one may take more in between."""
    nlm, old = Nlm(4, FLOATING, "three", **host.where), Nfs4(0, FLOATING, "old", **host.where)
    assert old.establish() == "OK"
    nlm.free_all()
    opened = old.open(old.path("/a"), "f")
    assert old.lock(opened, 0, 5).status == "OK"
    assert (nlm.lock(a, offset=99, length=0), nlm.share(a)) == ("GRANTED", "GRANTED")
    text = tool("export-clients", "1234")[1]
    with open(LIST, "w", encoding="ascii") as file:
        file.write(text)
    if later:
        nlm.lock(a, **later)
    host.on_server(f"ip addr del {FLOATING}/24 dev {host.near}")
    answer = tool("release", "1234", LIST)
    host.on_server(f"ip addr add {FLOATING}/24 dev {host.near}")
    with open(LIST, encoding="ascii") as file:
        return text, answer, file.read()


before, (status, _, error), after = exports()
equal("a list of clients that cannot say that they have finished", before.splitlines()[3:], [
    "# held 1 1 1 1 281474976710567", "1234 old holds=8",
    f"1234 nlm {FLOATING} {HOME[:-1]}2 4 holds=7fffffffffffff9f", "# end 2"])
equal("it was all that was released", (status, error), (DONE, ""))
equal("the list says so", after, before.replace("clients 2\n", "clients 2\n# released\n"))
equal("if it does not, it is not known whether that is all",
      in_json("takeover", "1234", "60", given=before)[1] | {"seconds": 0},
      {"scope": "1234", "seconds": 0, "nfs4_clients": 1, "nlm_clients": 0, "nobody_else": False,
       "also_clients_here": 0})
tool("end", "1234")
equal("if it does, nobody else is expected", in_json("takeover", "1234", "60", given=after)[1] | {"seconds": 0},
      {"scope": "1234", "seconds": 0, "nfs4_clients": 1, "nlm_clients": 1, "nobody_else": True,
       "also_clients_here": 0})
equal("they are waited for", read("reclaim_clients").splitlines(),
      [f"{line} # waiting" for line in after.splitlines() if line[0] != "#"])
check("and shown", f"nlm:{FLOATING}" in tool("status")[1])
nlm, old = Nlm(4, FLOATING, "three", **host.where), Nfs4(0, FLOATING, "old", **host.where)
assert old.establish() == "OK"
opened = old.open_reclaim(a)
equal("they reclaim", (old.lock(opened, 0, 5, reclaim=True).status, nlm.lock(a, offset=99, length=0, reclaim=True),
                       nlm.share(a, reclaim=True)), ("OK", "GRANTED", "GRANTED"))
check("and it ends", wait_until(lambda: read("fsid_grace") == "", 3))
nlm.close()
old.close()
before, (status, _, error), after = exports({"offset": 98})
check("somebody has taken more since the list was written", status == DONE and "lists something else" in error, error)
equal("the list stays as it is", after, before)
equal("there is no such list", tool("release", "1234", "/nowhere/list")[0], USAGE)
done()
