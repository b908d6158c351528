#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: once=yes timeout=300 module=ship
"""nfsd-ha: what it says, and its exit status; also where somebody means it ill."""

import json
import os
import re
import sqlite3
import subprocess

from control import command, read
from fullserver import FullServer, RawHost
from ktap import check, done, equal
from nfs import load, sh, wait_until
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


def write(path, text):
    """Writes a file."""
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


equal("without the module, it says what to do", tool("status")[0], ABSENT)
check("which is to load it", "insmod nfsd_ha.ko" in tool("status")[2], tool("status"))
load()
server = FullServer(grace=10)
server.set_up()
# Nobody knows the server's scope before nfsd runs (field case 27).
early = "# nfsd-ha clients 2\n# server-scope there\n# nlm-clients 0\n# held -\n1234 one\n# end 1\n"
status, _, error = tool("takeover", "1234", "60", given=early)
check("before nfsd runs, a take-over says what to start",
      status == OTHER_SCOPE and "nfsd does not run" in error and "rpc.nfsd -S there" in error, error)
equal("nothing has begun then", read("fsid_grace"), "")
status, _, error = tool("--force", "takeover", "1234", "60", given=early)
check("it can be forced, too", status == DONE and "rpc.nfsd -S there" in error, error)
equal("status is there before nfsd, too", (in_json("status")[1]["server_scope"], tool("status")[0]), (None, DONE))
equal("watching goes on, and says how far they are",
      subprocess.run(["timeout", "5", "/test/nfsd-ha", "status", "--watch"], check=False, text=True,
                     capture_output=True).stdout.split(";")[0], "1234: 0 of 1 clients are back")
equal("ended", tool("end", "1234")[0], DONE)
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
row = re.search(rf"\n  1234 +{re.escape(ODD)} ", text)
check("status as tables", status == DONE and "NFSv4 clients:" in text and row, text)

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
equal("from the daemon's database", (status, recorded.splitlines()[1:]),
      (DONE, ["# server-scope -", "# nlm-clients -", "# held -", f"1234 {ODD}", "1234 one", "# end 2"]))
equal("the option may also come behind", tool("export-clients", "--database", server.state, "1234")[1], recorded)
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
for what, given in (("characters for terminals", exported.replace("one", "o\x1b[2Jne")),
                    ("a line of another scope", exported.replace("1234 one", "5678 one")),
                    ("a name that ends too early", exported.replace("1234 one", "1234 o\\1")),
                    ("letters of another kind", exported.replace("1234 one", "1234 \u00e9")),
                    ("two ends", exported + "# end 3\n")):
    status, _, error = tool("takeover", "1234", given=given)
    check(f"a list with {what} is refused, and it says where", status == USAGE and "line " in error, error)
binary = subprocess.run(["/test/nfsd-ha", "takeover", "1234"], check=False, input=os.urandom(5000), capture_output=True)
equal("so are any bytes", binary.returncode, USAGE)
equal("and nothing has begun", read("fsid_grace"), "")
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
check("and shown", re.search(rf"\n  1234 +{re.escape(HOME[:-1])}2 +{re.escape(FLOATING)} +nlm4 ", tool("status")[1]))
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

# Clients whose names look like something else.
ODDITIES = ["# end 1", "holds=5", "nlm", "\x1b[2J\n1234 x", "a holds=1", "-", "#"]
guests = [Nfs4(1, HOME, name, **host.where) for name in ODDITIES]
for number, this in enumerate(guests):
    assert (this.establish(), this.reclaim_complete()) == ("OK", "OK")
    this.name = f"guest{number}"  # in the names of its open-owners
    assert this.open_fh(a).status == "OK"
exported = tool("export-clients", "1234")[1]
equal("names that look like something else are names", sorted(c["client"] for c in in_json("status")[1]["nfs4"]),
      sorted("".join(c if "!" <= c <= "~" else f"\\{ord(c):03o}" for c in name) for name in ODDITIES))
names = sorted(line for line in exported.splitlines()[4:-1] if not line.startswith("1234 nlm "))
equal("all are on the list", len(names), len(ODDITIES))
equal("they can be listed", tool("takeover", "1234", "60", given=exported)[0], DONE)
equal("and are", sorted(line.removesuffix(" # waiting") for line in read("reclaim_clients").splitlines()), names)
equal("status has them", len(in_json("status")[1]["listed"]), len(ODDITIES))
tool("end", "1234")
for this in guests:
    this.close()

# Counts that the module could not make (field case 28), and a client of NLM that gives itself no name.
MADE = "/tmp/made"
os.makedirs(MADE)
for file, text in (("client_tracking", "state active\nserver_scope x\n"), ("floating_addresses", ""),
                   ("fsid_grace", ""), ("reclaim_clients", ""), ("v4_end_grace", "Y\n"),
                   ("nfs4_clients", "# fsid ...\n1 one 1 - 0 0 1 - - -\n"),
                   ("nlm_clients", "sequence 1\n1 192.0.2.1 192.0.2.2 4 - - -  -\n")):
    write(f"{MADE}/{file}", text)
os.environ["NFSD_HA_CONTROL"] = MADE
shown = in_json("status")[1]
one, other = shown["nfs4"][0], shown["nlm"][0]
equal("what could not be counted is null", (one["locks"], one["holds"], other["locks"], other["caller"]),
      (None, None, None, ""))
equal("and a dash on a list", tool("export-clients", "1")[1].splitlines()[3:],
      ["# held - - 1 - -", "1 one", "1 nlm 192.0.2.1 192.0.2.2 4", "# end 2"])
write(f"{MADE}/nfs4_clients", "# fsid ...\n1 one\n")
status, _, error = tool("status")
check("what it does not know, it says", status == FAILED and "another version" in error, error)
del os.environ["NFSD_HA_CONTROL"]

# The database of another server, to which somebody else can write (field case 23).
THERE = "/tmp/there"
VICTIM = "/tmp/victim"


def database(*tables):
    """A database with tables of these names, and a client in each."""
    sh(f"rm -rf {THERE}; mkdir {THERE}")
    with sqlite3.connect(f"{THERE}/main.sqlite") as made:
        for name in ("rec-0000000000000001", *tables):
            quoted = '"' + name.replace('"', '""') + '"'
            made.execute(f"CREATE TABLE {quoted} (id BLOB PRIMARY KEY, princhash BLOB)")
            made.execute(f"INSERT INTO {quoted} VALUES (x'6f6e65', NULL)")
    made.close()


def there():
    """The clients on it, or what is complained of."""
    status, out, error = tool("--database", THERE, "export-clients", "1234")
    return out.splitlines()[4:-1] if status == DONE else error


database(f"rec-\"; SELECT writefile('{VICTIM}', 'x'); --", f"rec-\"; ATTACH '{VICTIM}' AS v; CREATE TABLE v.t (a); --",
         "rec-\n.shell touch " + VICTIM, "rec-0000000000000001; --")
equal("SQL in the names of tables is not run", (there(), os.path.exists(VICTIM)), (["1234 one"], False))
database()
os.rename(f"{THERE}/main.sqlite", f"{THERE}/other")
os.symlink("other", f"{THERE}/main.sqlite")
check("a link is not followed", "is a link" in there(), there())
write(VICTIM, "keep")
database()
os.symlink(VICTIM, f"{THERE}/main.sqlite-journal")
check("nor one in place of a journal", "is a link" in there(), there())
os.unlink(f"{THERE}/main.sqlite-journal")
# SQLite removes the file that a journal names.
name, magic = VICTIM.encode(), bytes.fromhex("d9d505f920a163d7")
numbers = [number.to_bytes(4, "big") for number in (0, 0, 1, 512, 4096)]
header = (magic + b"".join(numbers)).ljust(512, b"\0")
with open(f"{THERE}/main.sqlite-journal", "wb") as file:
    file.write(header + bytes(4) + name + len(name).to_bytes(4, "big") + sum(name).to_bytes(4, "big") + magic)
check("a journal that names another file is refused", "names another file" in there(), there())
equal("and that file stays", os.path.exists(VICTIM), True)
database()
write(f"{THERE}/main.sqlite", "no database at all")
check("what is no database is said", "cannot read" in there(), there())
equal("nothing is left behind", [name for name in os.listdir("/tmp") if name.startswith("nfsd-ha-")], [])

# Somebody who can write beside the list.
command("nlm_unlock", "1234")
write(VICTIM, "keep")
write(LIST, tool("export-clients", "1234")[1])
sh(f"rm -f {LIST}.new; ln -s {VICTIM} {LIST}.new")
status = tool("release", "1234", LIST)[0]
with open(VICTIM, encoding="ascii") as victim, open(LIST, encoding="ascii") as file:
    equal("a link where the new list is to be leads nowhere", (status, victim.read()), (DONE, "keep"))
    check("and the list is confirmed", file.read().startswith("# nfsd-ha clients 2\n# released\n"))
sh(f"mv {LIST} {LIST}.moved; ln -s {LIST}.moved {LIST}")
status, _, error = tool("release", "1234", LIST)
check("a list that is a link is refused", status == USAGE and "no plain file" in error, error)
done()
