#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: timeout=180 module=load once=yes
"""The order of upcalls, how many there are at a time, and the parameters for that."""

import errno
import threading
import time

from cld import CREATE, GET_VERSION, GRACE_DONE, GRACE_START, REMOVE, Daemon
from ktap import check, done, equal
from nfs import Server, kernel_log, patience, sh, wait_until
from nfs4 import Nfs4

PARAMETERS = "/sys/module/nfsd_ha/parameters"


def set_parameter(name, value):
    """Sets a parameter; the error's name, or its new value."""
    try:
        with open(f"{PARAMETERS}/{name}", "w", encoding="ascii") as f:
            f.write(str(value))
    except OSError as e:
        return errno.errorcode[e.errno]
    with open(f"{PARAMETERS}/{name}", encoding="ascii") as f:
        return int(f.read())


def start(threads=16, **how):
    """Starts the server, and a daemon."""
    thread = threading.Thread(target=server.start)
    thread.start()
    daemon = Daemon(**how)
    thread.join(patience(60))
    sh(f"echo {threads} > /proc/fs/nfsd/threads")
    return daemon


def confirmed(name):
    """A client without a record."""
    client = Nfs4(1, "127.0.0.1", name)
    assert client.establish() == "OK"
    return client


def in_background(function):
    """Runs a function in a thread."""
    thread = threading.Thread(target=function)
    thread.start()
    return thread


def test_parameters():
    """What may be set, and what not."""
    for name, default, least, most in (("upcall_timeout", 30, 1, 600),
                                       ("upcalls_in_flight", 128, 1, 4096)):
        with open(f"{PARAMETERS}/{name}", encoding="ascii") as f:
            equal(f"{name} is {default}", int(f.read()), default)
        equal(f"{name} is {least} to {most}",
              [set_parameter(name, value) for value in (least - 1, most + 1, "x", least, most)],
              ["EINVAL", "EINVAL", "EINVAL", least, most])
        set_parameter(name, default)
        check(f"modinfo has {name}", f"({least} to {most}, default {default})"
              in sh("modinfo /test/nfsd_ha.ko"))


def test_remove_after_create():
    """A client goes while its Create is at the daemon."""
    set_parameter("upcall_timeout", 2)
    daemon = start()
    let_go = threading.Event()
    daemon.answer = lambda upcall: None if not let_go.is_set() else 0
    client = confirmed("goes")
    equal("RECLAIM_COMPLETE is answered without a record", client.reclaim_complete(), "OK")
    equal("the record is still to be stored", server.status()["to_store"], 1)
    check("and asked for again",
          wait_until(lambda: sum(u.command == CREATE for u in daemon.read) > 1, 10))
    set_parameter("upcall_timeout", 30)
    check("now with a longer limit",
          wait_until(lambda: sum(u.command == CREATE for u in daemon.read) > 2, 30))
    assert client.destroy_session() == "OK"
    thread = in_background(client.destroy_clientid)
    other = Daemon(answer=lambda upcall: 0)
    time.sleep(1)
    equal("the Remove is not sent before the Create is answered",
          [u.command for u in daemon.read + other.read if u.command == REMOVE], [])
    let_go.set()
    daemon.say(daemon.read[-1])
    thread.join(patience(20))
    check("then it is", wait_until(lambda: (REMOVE, b"goes") in daemon.said + other.said, 10))
    equal("and nothing is left to do",
          [server.status()[key] for key in ("to_store", "to_remove", "in_flight")], [0, 0, 0])
    other.close()
    stop(daemon)


def test_grace_done_last():
    """The grace period ends while the record of a client that has reclaimed is not stored."""
    daemon = start(records=[b"back", b"lost"])
    full = True
    daemon.answer = lambda upcall: -errno.ENOSPC if full and upcall.command == CREATE else 0
    client = confirmed("back")
    equal("a client that is on record is back", client.reclaim_complete(), "OK")
    set_parameter("upcall_timeout", 3)
    check("the grace period ends", wait_until(lambda: not server.in_grace(), 60))
    check("some time later", wait_until(lambda: server.status()["grace_done_due"], 10))
    asked = [u.command for u in daemon.read].count(CREATE)
    check("the keeper asks for the record again",
          wait_until(lambda: [u.command for u in daemon.read].count(CREATE) > asked, 40))
    equal("the daemon has not been told", [u.command for u in daemon.read].count(GRACE_DONE), 0)
    full = False
    check("it is when it has stored the record",
          wait_until(lambda: daemon.said[-2:] == [(CREATE, b"back"), (GRACE_DONE, b"")], 40),
          daemon.said)
    set_parameter("upcall_timeout", 30)
    stop(daemon)


def test_grace_done_once():
    """nfsdcld deletes all records when it is told twice that the grace period is over."""
    set_parameter("upcall_timeout", 1)
    daemon = start(records=[b"one"])
    daemon.answer = lambda upcall: None if upcall.command == GRACE_DONE else 0
    client = confirmed("one")
    equal("the only client that may reclaim is done", client.reclaim_complete(), "OK")
    time.sleep(4)
    read = [u for u in daemon.read if u.command == GRACE_DONE]
    equal("GraceDone is not sent again while its reader is there", len(read), 1)
    equal("a late answer to it is taken", daemon.say(read[0]), 0)
    check("and it is done", wait_until(lambda: not server.status()["grace_done_due"], 5, patient=False))
    stop(daemon)

    daemon = start(records=[b"one"])
    daemon.answer = lambda upcall: None if upcall.command == GRACE_DONE else 0
    equal("the client comes back", confirmed("one").reclaim_complete(), "OK")
    wait_until(lambda: daemon.read[-1].command == GRACE_DONE, 10)
    daemon.close()
    daemon = Daemon(records=[b"one"])
    check("a daemon that may have done it is followed by a new epoch, with all clients",
          wait_until(lambda: daemon.said == [(GET_VERSION, b""), (GRACE_START, b""),
                                             (CREATE, b"one"), (GRACE_DONE, b"")], 10),
          daemon.said)
    set_parameter("upcall_timeout", 30)
    stop(daemon)


def test_outage():
    """A daemon without room for a while, and five clients."""
    set_parameter("upcall_timeout", 30)
    daemon = start()
    full = True
    daemon.answer = lambda upcall: -errno.ENOSPC if full and upcall.command == CREATE else 0
    before = kernel_log()
    for n in range(5):
        confirmed(f"outage-{n}").reclaim_complete()
    equal("status shows how many wait", server.status()["to_store"], 5)
    check("each has been asked for more than once",
          wait_until(lambda: server.status()["create"] > 7, 20), server.status())
    full = False
    check("they are stored when there is room",
          wait_until(lambda: server.status()["to_store"] == 0, 40), server.status())
    log = kernel_log()[len(before):]
    equal("the log says once that it fails, and once that it is over",
          (log.count("create failed with -28"), log.count("the daemon has everything again")), (1, 1))
    stop(daemon)


def test_line():
    """More upcalls than may be in flight."""
    set_parameter("upcalls_in_flight", 2)
    daemon = start()
    silent = True
    daemon.answer = lambda upcall: None if silent else 0
    clients = [confirmed(f"line-{n}") for n in range(6)]
    threads = []
    for n, client in enumerate(clients):
        threads.append(in_background(client.reclaim_complete))
        wait_until(lambda n=n: server.status()["in_flight"] + server.status()["in_line"] > n, 10)
    equal("two are in flight, the others in line",
          [server.status()[key] for key in ("in_flight", "in_line")], [2, 4])
    creates = [u for u in daemon.read if u.command == CREATE]
    equal("the daemon has read two", len(creates), 2)
    silent = False
    for upcall in creates:
        daemon.say(upcall)
    for thread in threads:
        thread.join(patience(20))
    equal("the others come in the order in which they were made",
          [u.name for u in daemon.read if u.command == CREATE],
          [client.name.encode() for client in clients])
    set_parameter("upcalls_in_flight", 128)
    stop(daemon)


def stop(daemon):
    """Stops the server."""
    server.stop()
    daemon.close()


server = Server(lease=10)
server.set_up()
for test in (test_parameters, test_remove_after_create, test_grace_done_last,
             test_grace_done_once, test_outage, test_line):
    test()
done()
