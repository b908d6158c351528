#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: once=yes timeout=300 disk=named:64M disk=own:64M disk=bare:64M module=load
"""A scope has its export, and a device all that is on it, by whatever handle a client has named a file.

rpc.mountd takes a handle that names an export by its device or its UUID, whatever `fsid=` says; and a client keeps its
handles when `fsid=` changes.
"""

import os
import uuid

from control import clients, command, read, release
from fullserver import FSID_LENGTH, ROOT, FullServer, RawHost, device_scope
from ktap import check, done, equal
from nfs import sh, succeeds
from nfs4 import Nfs4
from nlm import Nlm

UUID = "0d7bb6e8-0c1e-4e6a-9d61-3f9a1f6c1b1d"
OPTION = "5f3cf6a1-6f0d-4d6b-93a5-2f1f6a7b8c9d"


class Kind:
    """An export, and the handles by which a file of it can be named."""

    def __init__(self, what, scope, path, fs=""):
        self.what, self.scope, self.path = what, scope, path
        self.device = device_scope(path)
        st = os.stat(path)
        major, minor = os.major(st.st_dev), os.minor(st.st_dev)
        encoded = (minor & 0xff) | major << 8 | (minor & ~0xff) << 12
        fsids = {3: encoded.to_bytes(4, "little") + st.st_ino.to_bytes(4, "little")}
        if fs:
            fsids[7] = st.st_ino.to_bytes(8, "little") + uuid.UUID(fs).bytes
        usual = host.create(path, f"f-{what.replace(' ', '-')}")
        fid = usual[4 + FSID_LENGTH[usual[2]]:]
        self.handles = {usual[2]: usual}
        for kind, fsid in fsids.items():
            self.handles.setdefault(kind, usual[:2] + bytes([kind]) + usual[3:4] + fsid + fid)
        print(f"# {what}: {scope} on {self.device}; by fsids of the types {sorted(self.handles)}", flush=True)

    def each(self, ask):
        """What is answered for each handle."""
        return {kind: ask(fh) for kind, fh in self.handles.items()}

    def all(self, answer):
        """The same answer for each."""
        return dict.fromkeys(self.handles, answer)


def nfs4_client(name, address):
    """A client of NFSv4.1."""
    client = Nfs4(1, address, name, **host.where)
    assert (client.establish(), client.reclaim_complete()) == ("OK", "OK")
    return client


def shown():
    """The scopes that the lists show something of."""
    nlm_shows = {line[0] for line in clients() if line[4]}
    return nlm_shows, {line.split()[0] for line in read("nfs4_clients").splitlines()[1:]}


def locked(kind, client, at=5):
    """Locks by each handle, of NLM and of a client of NFSv4, at different places of the file."""
    for number, fh in enumerate(kind.handles.values()):
        opened = client.open_fh(fh)
        seen = nlm.lock(fh, offset=10 * number), opened.status, client.lock(opened, 10 * number + at).status
        assert seen == ("GRANTED", "OK", "OK"), (kind.what, fh.hex(), seen)
    return len(kind.handles)


def released(what, scope, **counts):
    """Releases a scope, which finds so much."""
    result, answer = release(scope)
    found = {key: answer.get(key) for key in counts}
    equal(f"{what}: {scope} is released, by whatever handle it was locked", (result, found), ("ok", counts))


def unmounted(what, path):
    """A file system can be unmounted at once."""
    check(f"{what}: it can be unmounted", succeeds(f"umount {path}"), sh("cat /proc/locks", check=False))


server, host = FullServer(grace=10), RawHost()
server.set_up()
server.start()
server.end_grace()
named = server.export("named", "fsid=1234", "/dev/disk/named", f"mkfs.ext4 -q -U {UUID}")
own = server.export("own", "", "/dev/disk/own", "mkfs.ext4 -q")
bare = server.export("bare", "", "/dev/disk/bare", "mkfs.ext4 -q -U clear")
sh(f"mkdir -p {named}/sub {ROOT}/bound; mount --bind {named}/sub {ROOT}/bound")
own_uuid = sh("blkid -s UUID -o value /dev/disk/own").strip()
kinds = [Kind("a number", "1234", named, UUID),
         Kind("a directory beside it", "4321", server.export("named/dir", "fsid=4321", None), UUID),
         Kind("a bind mount", "77", server.export("bound", "fsid=77", None), UUID),
         Kind("a UUID", OPTION, server.export("option", f"fsid={OPTION}")),
         Kind("its own UUID", own_uuid, own, own_uuid),
         Kind("a device", device_scope(bare), bare)]
nlm = Nlm(4, host.server_ip, "nlm", **host.where)
v41 = nfs4_client("v41", host.server_ip)
for kind in kinds:
    what = kind.what
    equal(f"{what}: a lock by each handle", kind.each(nlm.lock), kind.all("GRANTED"))
    for scope in dict.fromkeys((kind.scope, kind.device)):
        equal(f"{what}: {scope} is in grace", command("fsid_grace", f"{scope} 60")[0], "ok")
        equal(f"{what}: no new lock by any handle", kind.each(lambda fh: nlm.lock(fh, svid=2, offset=9)),
              kind.all("DENIED_GRACE"))
        equal(f"{what}: a reclaim by any", kind.each(lambda fh: nlm.lock(fh, reclaim=True)), kind.all("GRANTED"))
        equal(f"{what}: no new open by any", kind.each(lambda fh: v41.open_fh(fh).status), kind.all("GRACE"))
        command("fsid_grace", f"{scope} 0")
    opened = kind.each(v41.open_fh)
    equal(f"{what}: not in grace any more", {fh: o.status for fh, o in opened.items()}, kind.all("OK"))
    equal(f"{what}: both lists have it under one name", shown(), ({kind.scope}, {kind.scope}))
    equal(f"{what}: who is connected is in the way", release(kind.scope)[0], "EBUSY")
    kind.each(nlm.unlock)
    for one in opened.values():
        v41.close_file(one)
    v41.renew()

v41.close()

# `both` has something of each export, `one` of one only: revoked, and expired.
both, one = nfs4_client("both", host.other_ip), nfs4_client("one", host.other_ip)
for kind in kinds:
    locked(kind, both)
locked(kinds[5], one, 7)
both.close()
one.close()
number, *_, option, by_uuid, by_device = kinds
for kind in (option, by_uuid):
    server.unexport(kind.path.removeprefix(f"{ROOT}/"))
    released(kind.what, kind.scope, locks=2 + (kind is by_uuid), nfs4_locks=2 + (kind is by_uuid), nfs4_clients=1)
    unmounted(kind.what, kind.path)
server.unexport("bare")
released("a device", by_device.scope, locks=2, nfs4_locks=4, nfs4_clients=2)
unmounted("a device", bare)

# Several exports of one file system: one of them is released, and then the others with the file system.
others = {"4321", "77"}
released("one of three", "1234", locks=3, nfs4_locks=3)
equal("one of three: the others have all that they had", shown(), (others, others))
for name in ("bound", "named/dir", "named"):
    server.unexport(name)
released("the file system", number.device, locks=6, nfs4_locks=6)
sh(f"umount {ROOT}/bound")
unmounted("the file system", named)
equal("nothing is left", shown(), (set(), set()))

# `fsid=` is added to an export that clients use: what they hold is of the new number, also once that is withdrawn.
sh(f"mount /dev/disk/named {named}; mount /dev/disk/own {own}")
server.export("named", "", None)
old = Kind("a number that came later", "1234", named, UUID)
holder = nfs4_client("holder", host.server_ip)
count = locked(old, holder)
equal("by its UUID at first", shown(), ({UUID}, {UUID}))
sh(f"exportfs -o rw,no_root_squash,no_subtree_check,fsid=1234 *:{named}")
host.create(named, "new")
equal("then by its number, for who has it already", shown(), ({"1234"}, {"1234"}))
equal("who is connected is in the way", release("1234")[0], "EBUSY")
command("fsid_grace", "1234 60")
equal("in grace, no new lock by an old handle", old.each(lambda fh: nlm.lock(fh, svid=2, offset=99)),
      old.all("DENIED_GRACE"))
command("fsid_grace", "1234 0")
holder.close()
server.unexport("named")
released(old.what, "1234", locks=count, nfs4_locks=count)
unmounted(old.what, named)

# One directory for two networks, with two numbers.
sh(f"exportfs -u '*:{own}'; chmod 777 {own}; "
   f"exportfs -o rw,no_root_squash,no_subtree_check,fsid=21 10.9.0.0/16:{own}; "
   f"exportfs -o rw,no_root_squash,no_subtree_check,fsid=22 '[fd09::]/64:{own}'")
by_v4, by_v6 = nfs4_client("v4", host.server_ip), nfs4_client("v6", host.server_ip6)
fh21 = host.create(own, "f")
fh22 = by_v6.path("/own/f")
lock21 = by_v4.lock(by_v4.open_fh(fh21), 1)
lock22 = by_v6.lock(by_v6.open_fh(fh22), 2)
equal("two numbers: both have their lock", (lock21.status, lock22.status), ("OK", "OK"))
equal("two numbers: shown as two", shown()[1], {"21", "22"})
elsewhere = Kind("elsewhere", "55", server.export("elsewhere", "fsid=55"))
equal("two numbers: one of them is used elsewhere, too", by_v4.open_fh(elsewhere.handles[1]).status, "OK")
by_v4.close()
released("two numbers", "21", nfs4_opens=1, nfs4_locks=1, nfs4_clients=1)
equal("two numbers: the connected client of the other one goes on", by_v6.lock_more(lock22, 7), "OK")
equal("two numbers: and who was released keeps what it has elsewhere", shown()[1], {"22", "55"})
done()
