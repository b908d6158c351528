#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: once=yes timeout=120 module=load
"""What a daemon can get wrong: the writer hears of it, nothing is lost, a right answer is taken.

The daemon here is the test itself. rpc.nfsd runs beside it and waits in GetVersion and
GraceStart, so each wrong answer is followed by the right one, and the server must start.
"""

import errno
import os
import subprocess
import threading
import time

from cld import (CHECK, CREATE, EINPROGRESS, GET_VERSION, GRACE_DONE, GRACE_START, HASH_MAX,
                 LENGTH, NAME_MAX, REMOVE, Pipe)
from ktap import check, done, equal
from nfs import patience

STATUS = "/proc/fs/nfsd/client_tracking"


def status():
    """The status file as a dictionary of its first two columns."""
    with open(STATUS, encoding="ascii") as f:
        return dict(line.split()[:2] for line in f)


def run(command):
    """Runs a command to its end."""
    return subprocess.run(command, shell=True, check=False).returncode


def start_server():
    """Starts rpc.nfsd in the background, and opens the pipe as soon as it is there."""
    server = subprocess.Popen(["rpc.nfsd", "-N", "3", "2"])
    for _ in range(100):
        try:
            return server, Pipe()
        except FileNotFoundError:
            time.sleep(0.05)
    raise RuntimeError("the pipe did not come")


def refused(pipe, name, message, wanted):
    """A write that must fail with `wanted`, be counted, and leave the upcall open."""
    before = status()
    equal(name, errno.errorcode.get(pipe.write(message), "0"), errno.errorcode[wanted])
    after = status()
    equal(f"{name}: is counted, and the upcall is still open",
          (int(after["bad_downcalls"]) - int(before["bad_downcalls"]), after["in_flight"]),
          (1, before["in_flight"]))


def test_any_upcall(pipe, upcall):
    """Mistakes that are wrong in every answer."""
    good = upcall.answer()
    for length in (0, 1, 7, 8, len(good) - 1, len(good) + 1, 5000):
        message = (good + bytes(5000))[:length]
        if length == 0:
            # The VFS itself does not pass on a write of nothing.
            continue
        if length == 5000:
            equal("length 5000", pipe.write(message), errno.EINVAL)
            continue
        refused(pipe, f"length {length}", message, errno.EINVAL)
    refused(pipe, "unknown xid", upcall.answer(xid=upcall.xid ^ 0x5A5A5A5A), errno.ENOENT)
    for bad in (1, 115, 32767, -4096, -32768):
        refused(pipe, f"status {bad}", upcall.answer(bad), errno.EINVAL)
    other = REMOVE if upcall.command == CREATE else CREATE
    refused(pipe, "command of another upcall", upcall.answer(command=other), errno.EINVAL)


def test_records(pipe, upcall):
    """Records, right and wrong."""
    def record(**what):
        return upcall.answer(-EINPROGRESS, **what)

    refused(pipe, "name of length 0", record(name=b"", length=0), errno.EINVAL)
    refused(pipe, "name of length 1025", record(name=b"x", length=NAME_MAX + 1), errno.EINVAL)
    refused(pipe, "name of length 65535", record(name=b"x", length=65535), errno.EINVAL)
    refused(pipe, "hash of length 33", record(name=b"x", hash_length=HASH_MAX + 1), errno.EINVAL)
    refused(pipe, "hash of length 255", record(name=b"x", hash_length=255), errno.EINVAL)
    refused(pipe, "record in the command Create", record(name=b"x", command=CREATE), errno.EINVAL)
    refused(pipe, "record in the command Check", record(name=b"x", command=CHECK), errno.EINVAL)
    equal("a good record is taken", pipe.write(record(name=b"good")), 0)
    equal("the longest name and hash are taken",
          pipe.write(record(name=b"n" * NAME_MAX, princhash=b"h" * HASH_MAX)), 0)
    equal("the same name again is taken", pipe.write(record(name=b"good")), 0)
    equal("two clients are known", status()["records_known"], "2")


def test_start():
    """Every mistake while a server starts."""
    server, pipe = start_server()
    upcall = pipe.read()
    equal("the first upcall is GetVersion", upcall.command, GET_VERSION)
    equal("and has version 1 and its length", (upcall.version, len(upcall.data)), (1, LENGTH[1]))
    test_any_upcall(pipe, upcall)
    refused(pipe, "record in the command GetVersion",
            upcall.answer(-EINPROGRESS, name=b"x"), errno.EINVAL)
    equal("the right answer is still taken", pipe.write(upcall.answer(first=2)), 0)
    # By now the version, and with it the length, may be another one.
    check("but only once", pipe.write(upcall.answer(first=2)) in (errno.ENOENT, errno.EINVAL))

    upcall = pipe.read()
    equal("then comes GraceStart", upcall.command, GRACE_START)
    equal("with version 2 and its length", (upcall.version, len(upcall.data)), (2, LENGTH[2]))
    test_any_upcall(pipe, upcall)
    test_records(pipe, upcall)
    equal("the end is taken", pipe.write(upcall.answer()), 0)
    equal("the server starts", server.wait(patience(20)), 0)
    equal("and is in its grace period", status()["grace"], "active")
    equal("an answer after the end is refused", pipe.write(upcall.answer()), errno.ENOENT)
    stop(pipe)


def stop(pipe):
    """Stops the server, whose daemon we are."""
    equal("the server stops", run("rpc.nfsd 0"), 0)
    equal("after which the pipe is dead", pipe.write(bytes(LENGTH[2])), errno.EPIPE)
    pipe.close()


def test_unread():
    """An answer to an upcall that nobody has read."""
    server, pipe = start_server()
    upcall = pipe.read()
    # The next xid is that of GraceStart, which is not there yet.
    early = upcall.answer(command=GRACE_START, xid=upcall.xid + 1)
    equal("an answer to an upcall that does not exist yet", pipe.write(early), errno.ENOENT)
    assert pipe.write(upcall.answer(first=1)) == 0
    time.sleep(0.5)
    upcall.version = 1
    equal("an answer to an upcall that nobody has read", pipe.write(early), errno.ENOENT)
    upcall = pipe.serve(version=1, until=GRACE_DONE)
    equal("the server starts", server.wait(patience(20)), 0)
    equal("with protocol version 1", (upcall.version, status()["version"]), (1, "1"))
    stop(pipe)


def test_close_in_the_middle():
    """A daemon that goes away half-way: the next one gets the upcall again."""
    server, pipe = start_server()
    first = pipe.read()
    os.read(pipe.fd, 0)
    pipe.close()
    pipe = Pipe()
    again = pipe.read()
    equal("an upcall that was read comes again after a close",
          again and again.command, first.command)
    check("with a new xid", again.xid != first.xid)
    refused(pipe, "an answer to the old xid", first.answer(first=2), errno.ENOENT)
    equal("the answer is taken", pipe.write(again.answer(first=2)), 0)

    # GraceStart: read a part of the message only, then close.
    for _ in range(100):
        part = os.read(pipe.fd, 5)
        if part:
            break
        time.sleep(0.05)
    pipe.close()
    pipe = Pipe()
    again = pipe.read()
    equal("so does one that was read in part", again and again.command, GRACE_START)
    assert pipe.write(again.answer(-EINPROGRESS, name=b"before")) == 0
    pipe.close()
    pipe = Pipe()
    again = pipe.read()
    equal("and one that was answered in part", again and again.command, GRACE_START)
    assert pipe.write(again.answer(-EINPROGRESS, name=b"before")) == 0
    assert pipe.write(again.answer(-EINPROGRESS, name=b"after")) == 0
    assert pipe.write(again.answer()) == 0
    equal("the server starts", server.wait(patience(20)), 0)
    equal("no record is lost or counted twice", status()["records_known"], "2")
    check("the upcalls were queued again", int(status()["requeued"]) >= 3, status())
    stop(pipe)


def test_error_answers():
    """A daemon that says no."""
    server, pipe = start_server()
    upcall = pipe.read()
    assert pipe.write(upcall.answer(-errno.EIO)) == 0
    equal("the server starts though GetVersion fails", server.wait(patience(20)), 0)
    equal("its tracking waits", status()["state"], "waiting")
    upcall = pipe.read()
    equal("GetVersion comes again", upcall and upcall.command, GET_VERSION)
    assert pipe.write(upcall.answer(-errno.EIO)) == 0
    began = time.monotonic()
    pipe.serve(until=GRACE_DONE)
    check("after a pause", time.monotonic() - began > 1)
    check("and then tracking is active",
          any(status()["state"] == "active" or time.sleep(0.1) for _ in range(50)), status())
    equal("the server stops", run("rpc.nfsd 0"), 0)
    pipe.close()

    server, pipe = start_server()
    reader = threading.Thread(target=lambda: pipe.serve(until=GRACE_START))
    reader.start()
    reader.join(patience(20))
    upcall = pipe.read()
    equal("GraceDone comes at once when nobody is on record", upcall.command, GRACE_DONE)
    assert pipe.write(upcall.answer(-errno.ENOSPC)) == 0
    equal("the server starts though GraceDone fails", server.wait(patience(20)), 0)
    with open(STATUS, encoding="ascii") as f:
        check("the failure is counted", "grace_done 1 failed 1\n" in f)
    equal("and it is still due", status()["grace_done_due"], "1")
    upcall = pipe.serve(until=GRACE_DONE)
    check("it comes again", any(status()["grace_done_due"] == "0" or time.sleep(0.1)
                                for _ in range(50)), status())
    stop(pipe)


run("modprobe nfsd; mount -t nfsd nfsd /proc/fs/nfsd; mkdir -p /run/rpc_pipefs;"
    " mount -t rpc_pipefs rpc_pipefs /run/rpc_pipefs")
for test in (test_start, test_unread, test_close_in_the_middle, test_error_answers):
    test()
done()
