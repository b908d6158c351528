#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: timeout=240 module=load once=yes
"""Version 3 of the upcall: what is in it, what a daemon can get wrong, and daemons that come and go.

The daemon here is the test itself.
"""

import errno
import os
import struct
import threading
import time

from cld import (ADDRESS, ALL_HELD, ANSWER, CREATE, EINPROGRESS, EPOCH, GET_VERSION, GRACE_DONE, GRACE_START,
                 MINOR, NAME, PIPE, PRINCIPAL, REMOVE, Daemon, Pipe)
from ktap import check, done, equal
from nfs import Server, kernel_log, patience, sh, wait_until
from nfs4 import Nfs4

EPOCH_A, EPOCH_B = b"a" * 16, b"b" * 16
server = Server(lease=10)
server.set_up()
sh("ip addr add 192.0.2.1/24 dev lo")
sh("ip -6 addr add 2001:db8::1/64 dev lo nodad")


def begin():
    """Starts the server in the background; returns its thread and the pipe."""
    thread = threading.Thread(target=server.start)
    thread.start()
    assert wait_until(lambda: os.path.exists(PIPE), 20, step=0.02)
    return thread, Pipe()


def agree(pipe, epoch):
    """Agrees on version 3."""
    upcall = pipe.read()
    assert upcall.command == GET_VERSION and upcall.asks_for_3, upcall.data[:20]
    assert pipe.write(upcall.agree(epoch)) == 0


def begin_3():
    """Starts the server, and agrees on version 3; returns its thread, the pipe and its GraceStart."""
    thread, pipe = begin()
    agree(pipe, bytes(16))
    upcall = pipe.read()
    assert (upcall.version, upcall.command) == (3, GRACE_START)
    return thread, pipe, upcall


def start(epoch, *records):
    """A server whose daemon, of version 3, has begun this epoch."""
    thread, pipe, upcall = begin_3()
    for record in records:
        assert pipe.write(upcall.answer_3(-EINPROGRESS, *record)) == 0
    assert pipe.write(upcall.answer_3(0, (EPOCH, epoch))) == 0
    if not records:
        # The grace period is over at once, and rpc.nfsd waits until that is recorded.
        upcall = pipe.read()
        assert upcall.command == GRACE_DONE and pipe.write(upcall.answer_3()) == 0
    thread.join(patience(60))
    return pipe


def refused(pipe, what, message, why=errno.EINVAL):
    """A write that must fail and change nothing."""
    before = server.status()
    error = pipe.write(message)
    after = server.status()
    equal(f"{what} is refused", errno.errorcode.get(error, "0"), errno.errorcode[why])
    same = [key for key in ("records_known", "in_flight", "version") if before[key] != after[key]]
    equal("and changes nothing", same, [])


def confirm(minor, address, name):
    """A client that the server has confirmed."""
    this = Nfs4(minor, address, name)
    assert this.establish() == "OK"
    return this


def in_background(function):
    """Runs a function in a thread, with a list of what it returns."""
    result = []
    thread = threading.Thread(target=lambda: result.append(function()))
    thread.start()
    return thread, result


def test_agreement():
    """Who is taken for one that knows version 3, and who not."""
    for highest, whose, version in ((3, b"nfsd-ha?", 2), (3, bytes(8), 2), (2, ANSWER, 2),
                                    (1, ANSWER, 1), (3, ANSWER, 3), (200, ANSWER, 3)):
        thread, pipe = begin()
        upcall = pipe.read()
        equal("GetVersion has version 1 and the question", (upcall.version, upcall.asks_for_3),
              (1, True))
        assert pipe.write(upcall.agree(EPOCH_A, highest, whose)) == 0
        upcall = pipe.read()
        equal(f"who says {highest} and {whose} is asked in version {version}",
              (upcall.version, upcall.command), (version, GRACE_START))
        end = (upcall.answer_3(0, (EPOCH, EPOCH_A)) if version == 3 else upcall.answer())
        assert pipe.write(end) == 0
        upcall = pipe.read()
        assert upcall.command == GRACE_DONE
        assert pipe.write(upcall.answer_3() if version == 3 else upcall.answer()) == 0
        thread.join(patience(60))
        equal("client_tracking shows it", server.status()["version"], version)
        pipe.close()
        server.stop()


def test_messages():
    """What is in each upcall; records by the hundred; all that is wrong."""
    thread, pipe, upcall = begin_3()
    equal("GraceStart is a header", (len(upcall.data), upcall.attributes), (8, {}))
    many = [(NAME, b"client-%03d" % n) for n in range(300)]

    def record(*pairs, **what):
        return upcall.answer_3(-EINPROGRESS, *pairs, **what)

    good = record((NAME, b"a"), (PRINCIPAL, b"h" * 32))
    for length in (1, 7, len(good) - 1, len(good) - 33):
        refused(pipe, f"a record cut at {length}", good[:length])
    for what, message in (
            ("a record without a name", record()),
            ("a record that begins with another attribute", record((MINOR, bytes(4)), (NAME, b"a"))),
            ("an empty name", record((NAME, b""))),
            ("a name of 1025 bytes", record((NAME, b"n" * 1025))),
            ("a hash of 31 bytes", record((NAME, b"a"), (PRINCIPAL, bytes(31)))),
            ("two hashes", record((NAME, b"a"), (PRINCIPAL, bytes(32)), (PRINCIPAL, bytes(32)))),
            ("a good client before a bad one", record((NAME, b"a"), (NAME, b"b"), (MINOR, bytes(3)))),
            ("a record of Create", record((NAME, b"a"), command=CREATE)),
            ("an epoch of 8 bytes", upcall.answer_3(0, (EPOCH, bytes(8)))),
            ("a record of 32 KiB and a byte", record(*many, (99, bytes(32769 - 12 - 300 * 14)))),
            ("an answer of version 2", upcall.answer_3() + bytes(1059)),
            ("status 1", upcall.answer_3(1)), ("status -4096", upcall.answer_3(-4096))):
        refused(pipe, what, message)
    refused(pipe, "an unknown xid", record((NAME, b"a"), xid=upcall.xid ^ 1), errno.ENOENT)
    equal("300 clients in one record are taken", pipe.write(record(*many)), 0)
    equal("one of 32 KiB, too, with an attribute of a type that is not known",
          pipe.write(record(*many, (99, bytes(32768 - 12 - 300 * 14)))), 0)
    equal("as is one with all attributes",
          pipe.write(record((NAME, b"n" * 1024), (PRINCIPAL, b"h" * 32), (ADDRESS, b"192.0.2.1"),
                            (MINOR, bytes(4)))), 0)
    equal("301 clients are known", server.status()["records_known"], 301)
    assert pipe.write(upcall.answer_3(0, (EPOCH, EPOCH_A))) == 0
    thread.join(patience(60))
    check("in the grace period", server.in_grace())

    for minor, address, name in ((1, "192.0.2.1", "new-1"), (2, "2001:db8::1", "new-2")):
        client = confirm(minor, address, name)
        thread, result = in_background(client.reclaim_complete)
        upcall = pipe.read()
        equal("Create has name, minor version and the server's address", (upcall.version, upcall.command, {
            **upcall.attributes, MINOR: struct.unpack("=I", upcall.attributes.get(MINOR, bytes(4)))[0]}),
            (3, CREATE, {NAME: client.name.encode(), MINOR: minor, ADDRESS: address.encode()}))
        equal("and the client waits", result, [])
        assert pipe.write(upcall.answer_3()) == 0
        thread.join(patience(20))
        equal("until it is stored", result, ["OK"])
    client.destroy_session()
    thread, result = in_background(client.destroy_clientid)
    upcall = pipe.read()
    equal("Remove has the name", (upcall.command, upcall.attributes),
          (REMOVE, {NAME: client.name.encode()}))
    assert pipe.write(upcall.answer_3()) == 0
    thread.join(patience(20))
    thread, _ = in_background(lambda: sh("echo Y > /proc/fs/nfsd/v4_end_grace"))
    upcall = pipe.read()
    equal("GraceDone names the epoch", (upcall.command, upcall.attributes),
          (GRACE_DONE, {EPOCH: EPOCH_A}))
    return pipe, thread


def test_same_daemon(pipe, thread):
    """The daemon is restarted: the next one is at the same epoch, and goes on."""
    # It was read, and not answered: nobody knows whether it was done.
    pipe.close()
    pipe = Pipe()
    agree(pipe, EPOCH_A)
    upcall = pipe.read()
    equal("a GraceDone that was not answered is sent again", (upcall.command, upcall.attributes),
          (GRACE_DONE, {EPOCH: EPOCH_A}))
    assert pipe.write(upcall.answer_3()) == 0
    thread.join(patience(20))
    check("and is not due any more", wait_until(lambda: server.status()["grace_done_due"] == 0, 10))
    new = confirm(1, "192.0.2.1", "new-3")
    thread, result = in_background(new.reclaim_complete)
    upcall = pipe.read()
    equal("a Create is read", upcall.command, CREATE)
    pipe.close()
    equal("and not answered, so the client waits", result, [])
    pipe = Pipe()
    equal("its answer is none for the next one", pipe.write(upcall.answer_3()), errno.EINVAL)
    agree(pipe, EPOCH_A)
    again = pipe.read()
    equal("which is asked for the same", (again.command, again.attributes),
          (CREATE, upcall.attributes))
    check("with another xid", again.xid != upcall.xid)
    assert pipe.write(again.answer_3()) == 0
    thread.join(patience(20))
    equal("and the client has waited for it", result, ["OK"])
    equal("nobody asked for the records again", server.status()["grace_start"], 1)
    check("and nothing of it is a failure", "failed with" not in kernel_log(), kernel_log()[-600:])
    pipe.close()
    pipe = Pipe()
    agree(pipe, EPOCH_A)
    # That all is held is said anew from time to time.
    while (upcall := pipe.read(1)) and upcall.command == ALL_HELD:
        assert pipe.write(upcall.answer_3()) == 0
    equal("one that comes is asked even if nothing else happens", upcall and (upcall.command, upcall.attributes), None)
    return pipe


def told_all(daemon, names):
    """Checks that a new daemon is told all: the version, the records of `names`, and that there is no grace period."""
    def told():
        """But that all is held, which is said anew from time to time."""
        return [said for said in daemon.said if said[0] != ALL_HELD]

    wait_until(lambda: len(told()) >= 6, 20)
    said = told()
    equal("it is told all, in this order", (said[:3], set(said[3:5]), said[5:]),
          ([(GET_VERSION, b""), (GET_VERSION, b""), (GRACE_START, b"")],
           {(CREATE, name) for name in names}, [(GRACE_DONE, b"")]))


def test_another_daemon(pipe):
    """One that has not what the other had: of version 3 at another epoch, then one of version 2."""
    names = {name.encode() for name in (Nfs4(1, "192.0.2.1", "new-1").name,
                                        Nfs4(1, "192.0.2.1", "new-3").name)}
    pipe.close()
    daemon = Daemon(version=3, epoch=EPOCH_B)
    told_all(daemon, names)
    ended = [upcall.attributes for upcall in daemon.read if upcall.command == GRACE_DONE]
    equal("with its own epoch", ended, [{EPOCH: daemon.epoch}])
    daemon.close()
    daemon = Daemon(version=2)
    told_all(daemon, names)
    equal("and its version is in use", server.status()["version"], 2)
    daemon.close()
    server.stop()


def test_another_in_the_grace_period():
    """The same, while clients reclaim: who has done so is told, and who has yet to may."""
    pipe = start(EPOCH_A, ((NAME, Nfs4(1, "192.0.2.1", "old-1").name.encode()),),
                 ((NAME, Nfs4(1, "192.0.2.1", "old-2").name.encode()),))
    one = confirm(1, "192.0.2.1", "old-1")
    thread, _ = in_background(one.reclaim_complete)
    upcall = pipe.read()
    assert pipe.write(upcall.answer_3()) == 0
    thread.join(patience(20))
    pipe.close()
    daemon = Daemon(version=3, epoch=EPOCH_B)
    check("who has reclaimed is told", wait_until(lambda: (CREATE, one.name.encode()) in daemon.said, 20),
          daemon.said)
    equal("and the grace period goes on", (server.in_grace(), server.status()["records_known"]), (True, 2))
    two = confirm(1, "192.0.2.1", "old-2")
    equal("the other one says that it is done", two.reclaim_complete(), "OK")
    check("which ends it", wait_until(lambda: not server.in_grace(), 10), server.status())
    check("and the daemon hears of it", wait_until(lambda: (GRACE_DONE, b"") in daemon.said, 10))
    daemon.close()
    server.stop()


def test_another_that_fails():
    """Another daemon, which cannot store anything: requests wait for one time limit in all."""
    pipe = start(EPOCH_A)
    clients = [confirm(1, "192.0.2.1", f"full-{n}") for n in range(4)]
    sh("echo 3 > /sys/module/nfsd_ha/parameters/upcall_timeout")
    pipe.close()
    daemon = Daemon(version=3, epoch=EPOCH_B,
                    answer=lambda upcall: -errno.ENOSPC if upcall.command == GRACE_START else 0)
    times = []
    for client in clients:
        began = time.monotonic()
        assert client.reclaim_complete() == "OK"
        times.append(time.monotonic() - began)
    check("one client waits at most", sum(each > 2 for each in times) <= 1, times)
    equal("all are to be stored", server.status()["to_store"], len(clients))
    daemon.answer = lambda upcall: 0
    stored = {(CREATE, client.name.encode()) for client in clients}
    check("and are when there is room", wait_until(lambda: stored <= set(daemon.said), 40), daemon.said)
    sh("echo 30 > /sys/module/nfsd_ha/parameters/upcall_timeout")
    daemon.close()
    server.stop()


def test_slow_end():
    """With nobody on record rpc.nfsd waits for GraceDone, here longer than a lease: nfsd's laundromat runs meanwhile."""
    thread, pipe, upcall = begin_3()
    assert pipe.write(upcall.answer_3(0, (EPOCH, EPOCH_A))) == 0
    upcall = pipe.read()
    assert upcall.command == GRACE_DONE
    # What this is for is seen by the debug kernel.
    time.sleep(12)
    check("it waits", thread.is_alive())
    assert pipe.write(upcall.answer_3()) == 0
    thread.join(patience(60))
    equal("until that is recorded", server.status()["grace_done_due"], 0)
    pipe.close()
    server.stop()


def test_no_epoch():
    """A daemon that says version 3 and no epoch."""
    thread, pipe, upcall = begin_3()
    assert pipe.write(upcall.answer_3(0)) == 0
    thread.join(patience(60))
    equal("is not one: tracking waits", server.status()["state"], "waiting")
    upcall = pipe.read()
    equal("and it is asked again", (upcall.version, upcall.command), (1, GET_VERSION))
    pipe.close()
    server.stop()


test_agreement()
test_another_daemon(test_same_daemon(*test_messages()))
test_another_in_the_grace_period()
test_another_that_fails()
test_slow_end()
test_no_epoch()
done()
