#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: once=yes timeout=180 disk=top:64M disk=child:64M disk=own:64M disk=hidden:64M module=load
"""What is mounted below an export with crossmnt, or is exported with nohide, is a part of it, unless it has a number."""

import uuid

from control import command, read, release
from fullserver import ROOT, FullServer, RawHost, device_scope
from ktap import check, done, equal
from nfs import Client, Holder, sh, succeeds, wait_until
from nfs3 import Nfs3, Nfs3Error, mount_handle
from nfs4 import Nfs4, putfh
from nlm import Nlm

TOP, CHILD, GRANDCHILD, OWN, HIDDEN = (f"{ROOT}/{path}" for path in ("t", "t/vol", "t/vol/deep", "t/own", "h/in"))
# One of its own line in exports(5), two directories down; and two that show nothing of each other.
FAR, PLAIN, INNER = f"{ROOT}/t/some/where", f"{ROOT}/p", f"{ROOT}/p/inner"
UUIDS = {path: str(uuid.uuid4()) for path in (FAR, PLAIN, INNER)}
OPTIONS = "rw,no_root_squash,no_subtree_check"


def mount(disk, path, name="-q"):
    """A new file system, with a file that anybody may write."""
    sh(f"mkdir -p {path}; mkfs.ext4 -q {name} /dev/disk/{disk}; mount /dev/disk/{disk} {path}; touch {path}/f; "
       f"chmod 1777 {path}; chmod 666 {path}/f")


def export(path, options):
    """Exports it."""
    sh(f"exportfs -o {OPTIONS},{options} '*:{path}'")


def walk(nfs3, path):
    """The handle of a file, by a walk from the top of the export as a client of NFSv3 does it."""
    export_of = path if path in UUIDS else TOP if path.startswith(TOP) else f"{ROOT}/h"
    at = mount_handle(export_of, host.server_ip, **host.where)
    for name in (*path.removeprefix(export_of).split("/"), "f"):
        at = nfs3.lookup(at, name) if name else at
    return at


def v41(name):
    """A client of NFSv4.1."""
    client = Nfs4(1, host.server_ip, name, **host.where)
    assert (client.establish(), client.reclaim_complete()) == ("OK", "OK")
    return client


def nfs4_open(client, fh):
    """OPEN, then LOCK; both results."""
    opened = client.open_fh(fh)
    return opened, client.lock(opened, 50).status if opened.status == "OK" else None


def restart():
    """The server starts anew, so that nothing is known of its exports."""
    sh("rpc.nfsd 0; exportfs -f")
    server.start()
    server.end_grace()
    server.records()


server, host = FullServer(grace=10, lease=10), RawHost()
server.set_up()
server.start()
server.end_grace()
mount("top", TOP)
mount("child", CHILD)
sh(f"mkdir {GRANDCHILD}; mount -t tmpfs tmpfs {GRANDCHILD}; touch {GRANDCHILD}/f; chmod 666 {GRANDCHILD}/f")
mount("own", OWN)
sh(f"mkdir -p {ROOT}/h; mount -t tmpfs tmpfs {ROOT}/h")
mount("hidden", HIDDEN)
export(TOP, "fsid=31,crossmnt")
export(OWN, "fsid=32")
export(f"{ROOT}/h", "fsid=41")
export(HIDDEN, "nohide")
for path, options in ((FAR, ",crossmnt"), (PLAIN, ""), (INNER, "")):
    sh(f"mkdir -p {path}; mount -t tmpfs tmpfs {path}; touch {path}/f; chmod 666 {path}/f")
    export(path, f"fsid={UUIDS[path]}{options}")
# As a client of NFSv4 does: rpc.mountd makes exports of all that leads to these.
Nfs4(0, host.server_ip, "walker", **host.where).path("/p/inner")
nfs3 = Nfs3(host.server_ip, **host.where)
nlm = Nlm(4, host.server_ip, "nlm", **host.where)
top, child, own, hidden = (walk(nfs3, path) for path in (TOP, CHILD, OWN, HIDDEN))
far, plain, inner = (walk(nfs3, path) for path in UUIDS)
uuids = {path: sh(f"findmnt -no UUID {path}").strip() for path in (CHILD, HIDDEN)}
equal("a lock on each", [nlm.lock(fh) for fh in (top, child, own, hidden)], ["GRANTED"] * 4)
mover = v41("mover")
opens = [nfs4_open(mover, fh) for fh in (top, child, own, hidden)]
equal("and one of NFSv4", [status for _, status in opens], ["OK"] * 4)

# Grace.
for scope, parts, others in (("31", (top, child, far), (own, hidden, plain, inner)), ("41", (hidden,), (top, child, own)),
                             (UUIDS[PLAIN], (plain,), (inner, top, far)), (UUIDS[INNER], (inner,), (plain,)),
                             # The root shows all that has no number, but not what is below one that shows nothing.
                             ("0", (plain,), (top, child, own, hidden, far, inner)),
                             ("32", (own,), (top, child, hidden)), (uuids[CHILD], (child,), (top, own, hidden))):
    command("fsid_grace", f"{scope} 60")
    answers = [nlm.lock(fh, svid=2, offset=9) for fh in parts], [v41("new").open_fh(fh).status for fh in parts]
    equal(f"{scope} in grace: no new locks on what is a part of it",
          answers, (["DENIED_GRACE"] * len(parts), ["GRACE"] * len(parts)))
    equal(f"{scope} in grace: reclaims there", [nlm.lock(fh, reclaim=True) for fh in parts], ["GRANTED"] * len(parts))
    for fh in (far, plain, inner):
        nlm.unlock(fh)
    equal(f"{scope} in grace: new locks elsewhere", [nlm.lock(fh, svid=2, offset=9) for fh in others],
          ["GRANTED"] * len(others))
    command("fsid_grace", f"{scope} 0")
    equal(f"{scope} not in grace", [nlm.unlock(fh, svid=2, offset=9) for fh in others], ["GRANTED"] * len(others))

# Who holds what: each under its own fsid.
shown = {line.split()[0] for line in read("nfs4_clients").splitlines()[1:]}
equal("the list shows them under their own names", shown, {"31", "32", *uuids.values()})

# Release.
mover.close()
mover.sock = None
result, answer = release("31")
check("what has a number of its own is in the way, if something is held there",
      result == "EBUSY" and answer["busy"].startswith("32 is exported below it"), (result, answer))
equal("nothing was released", nlm.lock(child, svid=3), "DENIED")
equal("it is released first", release("32")[0], "ok")
result, answer = release("31")
equal("then the one above, with its parts", (result, answer.get("locks"), answer.get("nfs4_locks"), answer.get("below")),
      ("ok", 2, 2, 32))
equal("the other export keeps what it has", nlm.lock(hidden, svid=3), "DENIED")
for path in (OWN, FAR, TOP):
    server.unexport_path(path)
check("all of it can be unmounted at once", succeeds(f"umount {OWN} {FAR} {GRANDCHILD} {CHILD} {TOP}"), sh("cat /proc/locks"))
result, answer = release("41")
equal("so is the other one", (result, answer.get("locks")), ("ok", 1))

# It comes: its parts are expected as it is.
sh("sleep 1.2; exportfs -f")
command("fsid_grace", "31 60")
new = Nlm(4, host.server_ip, "nlm", **host.where)
new.timeout = 2
known = v41("known")


def seen(ask):
    """What NFSv3 is told."""
    try:
        return ask()
    except Nfs3Error as e:
        return e.status


equal("before it is there, handles of its parts wait", (seen(lambda: nfs3.getattr(child)), known.status(putfh(child))), (10008, "DELAY"))
sh(f"mount /dev/disk/top {TOP}; mount /dev/disk/child {CHILD}")
export(TOP, "fsid=31,crossmnt")
new = Nlm(4, host.server_ip, "nlm", **host.where)
equal("a part is asked for first: a new lock is refused", (new.lock(child, svid=2), known.open_fh(child).status),
      ("DENIED_GRACE", "GRACE"))
equal("and its owner reclaims", new.lock(child, reclaim=True), "GRANTED")
command("fsid_grace", "31 0")
nlm.close()

# A server that starts anew knows nothing of its exports: who asks for a part first gets no other answers.
restart()
command("fsid_grace", "31 60")
new = Nlm(4, host.server_ip, "nlm", **host.where)
equal("after a restart, too", (new.lock(child, svid=2), new.lock(child, reclaim=True)), ("DENIED_GRACE", "GRANTED"))
command("fsid_grace", "31 0")

# A mount.
real = Client("real", "4.2")
real.enter(f"mount -t nfs -o vers=4.2,hard {real.server_ip}:/t {real.mount_point}")
holder = Holder(f"{real.mount_point}/vol/deep/f")
equal("a mount walks into it, two deep, and locks", holder.write(), "ok")
result, answer = release("31")
check("it is in the way while it is connected", result == "EBUSY" and "client-real" in answer["busy"], answer)
real.on_server(f"ip addr del {real.server_ip}/24 dev {real.near}")
result, answer = release("31")
equal("when it is not, its locks are released", (result, answer.get("nfs4_locks")), ("ok", 1))
real.on_server(f"ip addr add {real.server_ip}/24 dev {real.near}")
holder.stop()
done()
