# SPDX-License-Identifier: GPL-2.0
"""A raw client of the network lock manager, versions 1, 3 and 4.

The structures are those of Documentation/sunrpc/xdr/nlm3.x and nlm4.x: versions 1 and 3 are the
same on the wire and have offsets of 32 bits; version 1 ends with procedure 16. Of their file
handles lockd wants 32 bytes, as NFSv2's have: NFSv3's, filled up with zeros, are good ones
(see handle()).

The answer to a *_MSG call is another call, to the client. The server asks the client's rpcbind
for the port, so a client that wants these has a net namespace of its own with a Responder.
"""

import collections
import random
import socket
import socketserver
import struct
import threading

from nfs import patience
from rpc import (NLM, RPCBIND, Packer, Rpc, RpcError, Unpacker, in_netns, parse_answer,
                 receive_record, send_record)

STATS = ("GRANTED", "DENIED", "NOLOCKS", "BLOCKED", "DENIED_GRACE", "DEADLCK", "ROFS", "STALE_FH",
         "FBIG", "FAILED")
(NULL, TEST, LOCK, CANCEL, UNLOCK, GRANTED, TEST_MSG, LOCK_MSG, CANCEL_MSG, UNLOCK_MSG,
 GRANTED_MSG, TEST_RES, LOCK_RES, CANCEL_RES, UNLOCK_RES, GRANTED_RES) = range(16)
SHARE, UNSHARE, NM_LOCK, FREE_ALL = 20, 21, 22, 23
DENY_NONE, DENY_READ, DENY_WRITE, DENY_BOTH = range(4)
ACCESS_READ, ACCESS_WRITE, ACCESS_BOTH = 1, 2, 3
# Seconds that a client waits for an answer, where a test does not want none.
PATIENT = 10


def stat_name(number):
    """The name of a result."""
    return STATS[number] if number < len(STATS) else str(number)


def handle(fh, version):
    """A file handle as a version of NLM wants it.

    nfsd's handles say how long they are, so one of NFSv3 can be filled up to the 32 bytes of
    NFSv2, if it is not longer: this holds for exports with a number or a 16 byte UUID, and not
    for those of a directory that is not the root of a file system with a UUID.
    """
    if version == 4:
        return fh
    if len(fh) > 32:
        raise ValueError(f"a handle of {len(fh)} bytes is too long for NLM version {version}")
    return fh.ljust(32, b"\0")


def _result(answer):
    """The name of a result in lock_many()."""
    if len(answer) == 4:
        return stat_name(int.from_bytes(answer, "big"))
    return str(parse_answer(bytes(4) + answer)[1])


class Nlm(Rpc):
    """A client of one version; `caller` is its name, `responder` where *_RES calls arrive.

    The methods return the name of the result, e.g. "GRANTED"; that of an RPC error, e.g.
    "PROC_UNAVAIL"; or "no answer". Owners are a number (`svid`) and a handle (`oh`).
    """

    def __init__(self, version, server, caller="raw-client", responder=None, **where):
        super().__init__(NLM, version, server, **where)
        self.caller, self.responder = caller, responder
        self.timeout = PATIENT

    def _lock(self, fh, svid, offset, length, oh):
        packer = Packer().opaque(self.caller).opaque(handle(fh, self.version))
        packer.opaque(oh or f"{svid}@{self.caller}").uint(svid)
        return (packer.hyper if self.version == 4 else packer.uint)(offset, length).bytes()

    def _ask(self, procedure, arguments):
        """Calls, and returns the name of the result, which may come as a call."""
        cookie = random.randbytes(8)
        arguments = Packer().opaque(cookie).raw(arguments).bytes()
        try:
            if procedure not in (TEST_MSG, LOCK_MSG, CANCEL_MSG, UNLOCK_MSG):
                answer = self._call_again(procedure, arguments)
                assert answer.opaque() == cookie
                return stat_name(answer.uint())
            self.call(procedure, arguments, self.timeout)
        except RpcError as e:
            return str(e)
        except TimeoutError:
            return "no answer"
        return self.responder.result(procedure + 5, cookie, patience(self.timeout))

    def _call_again(self, procedure, arguments):
        """Calls, and once more if no answer comes for long: lockd drops what waits for rpc.mountd, and clients repeat it."""
        if self.timeout >= PATIENT:
            try:
                return self.call(procedure, arguments, PATIENT / 4)
            except TimeoutError:
                pass
        return self.call(procedure, arguments, self.timeout)

    def null(self):
        """NULL."""
        try:
            self.call(NULL)
        except RpcError as e:
            return str(e)
        return "GRANTED"

    def test(self, fh, exclusive=True, offset=0, length=1, svid=1, oh=None, msg=False):
        """TEST or TEST_MSG."""
        arguments = Packer().uint(exclusive).raw(self._lock(fh, svid, offset, length, oh))
        return self._ask(TEST_MSG if msg else TEST, arguments.bytes())

    def lock_arguments(self, fh, exclusive=True, offset=0, length=1, svid=1, oh=None, block=False,
                       reclaim=False, state=1):
        """The arguments of LOCK, LOCK_MSG and NM_LOCK, without the cookie."""
        arguments = Packer().uint(block, exclusive).raw(self._lock(fh, svid, offset, length, oh))
        return arguments.uint(reclaim, state).bytes()

    def lock(self, fh, msg=False, monitored=True, **what):
        """LOCK, LOCK_MSG or NM_LOCK; more arguments are those of lock_arguments()."""
        procedure = LOCK_MSG if msg else LOCK if monitored else NM_LOCK
        return self._ask(procedure, self.lock_arguments(fh, **what))

    def lock_many(self, fhs, count, window=256, procedure=NM_LOCK, step=2, length=1, first=0,
                  **what):
        """Takes `count` locks with up to `window` calls under way; counts results by name.

        The files take turns; on each the locks are `length` bytes, `step` bytes apart from `first`,
        so that they are not merged. NM_LOCK by default, which does not ask statd.
        """
        templates, words = [], ">Q" if self.version == 4 else ">I"
        for fh in fhs:
            arguments = self.lock_arguments(fh, offset=0, length=length, **what)
            templates.append(bytearray(self.message(procedure, Packer().opaque(b"many").raw(
                arguments).bytes())))
        # Behind the offset come the length, `reclaim` and `state`.
        at = -(2 * struct.calcsize(words) + 8)
        results, sent, done = collections.Counter(), 0, 0
        self.connect().settimeout(patience(60))
        with self.sock.makefile("rb", 1 << 16) as stream:
            while done < count:
                batch = bytearray()
                while sent < count and sent - done < window:
                    call = templates[sent % len(fhs)]
                    struct.pack_into(">I", call, 0, sent)
                    struct.pack_into(words, call, len(call) + at, first + sent // len(fhs) * step)
                    batch += struct.pack(">I", 0x80000000 | len(call)) + call
                    sent += 1
                self.sock.sendall(batch)
                for _ in range(max(1, (sent - done) // 2)):
                    (mark,) = struct.unpack(">I", stream.read(4))
                    answer = stream.read(mark & 0x7FFFFFFF)
                    # A good one is 36 bytes: the header, the cookie, and the result.
                    results[answer[-4:] if len(answer) == 36 else answer[4:]] += 1
                    done += 1
        return collections.Counter({_result(answer): n for answer, n in results.items()})

    def granted_res(self, cookie, stat=0):
        """GRANTED_RES: our answer to GRANTED_MSG, which lockd sends when it grants a lock."""
        self.call(GRANTED_RES, Packer().opaque(cookie).uint(stat).bytes())

    def cancel(self, fh, exclusive=True, offset=0, length=1, svid=1, oh=None, block=True,
               msg=False):
        """CANCEL or CANCEL_MSG."""
        arguments = Packer().uint(block, exclusive).raw(self._lock(fh, svid, offset, length, oh))
        return self._ask(CANCEL_MSG if msg else CANCEL, arguments.bytes())

    def unlock(self, fh, offset=0, length=1, svid=1, oh=None, msg=False):
        """UNLOCK or UNLOCK_MSG."""
        return self._ask(UNLOCK_MSG if msg else UNLOCK,
                         self._lock(fh, svid, offset, length, oh))

    def _share(self, procedure, fh, oh, mode, access, reclaim):
        arguments = Packer().opaque(self.caller).opaque(handle(fh, self.version)).opaque(oh)
        return self._ask(procedure, arguments.uint(mode, access, reclaim).bytes())

    def share(self, fh, oh="share", mode=DENY_NONE, access=ACCESS_READ, reclaim=False):
        """SHARE."""
        return self._share(SHARE, fh, oh, mode, access, reclaim)

    def unshare(self, fh, oh="share", mode=DENY_NONE, access=ACCESS_READ):
        """UNSHARE."""
        return self._share(UNSHARE, fh, oh, mode, access, False)

    def free_all(self, state=0):
        """FREE_ALL: all locks and shares of this caller go. (The `state` is 32 bits in both.)"""
        try:
            self.call(FREE_ALL, Packer().opaque(self.caller).uint(state).bytes())
        except RpcError as e:
            return str(e)
        return "GRANTED"


class Responder:
    """The client's side of NLM: takes *_RES and GRANTED, and is the rpcbind that tells its port.

    One server for both programs, on port 111 over TCP and UDP, IPv4 and IPv6, of a net
    namespace that has nothing else there.
    """

    PORT = 111

    def __init__(self, netns, grant=True):
        self.results, self.granted, self.grant = {}, [], grant
        self.calls = collections.Counter()
        self.came = threading.Condition()
        responder = self

        class Stream(socketserver.BaseRequestHandler):
            """A TCP connection."""

            def handle(self):
                while record := receive_record(self.request):
                    send_record(self.request, responder.answer(record))

        class Datagram(socketserver.BaseRequestHandler):
            """A UDP packet."""

            def handle(self):
                data, sock = self.request
                sock.sendto(responder.answer(data), self.client_address)

        for base, handler in ((socketserver.ThreadingTCPServer, Stream),
                              (socketserver.UDPServer, Datagram)):
            with in_netns(netns):
                kind = type("Server", (base,), {"address_family": socket.AF_INET6,
                                                "allow_reuse_address": True,
                                                "daemon_threads": True})
                server = kind(("::", self.PORT), handler)
            threading.Thread(target=server.serve_forever, daemon=True).start()

    def answer(self, record):
        """The answer to a call."""
        call = Unpacker(record)
        xid = call.uint()
        call.fixed(8)
        program, version, procedure = call.uint(), call.uint(), call.uint()
        for _ in ("credentials", "verifier"):
            call.uint()
            call.opaque()
        self.calls[program, version, procedure] += 1
        answer = Packer().uint(xid, 1, 0, 0, 0, 0)
        if program == RPCBIND and procedure == 3:
            if version == 2:
                answer.uint(self.PORT)
            else:
                call.fixed(8)
                host = "::" if call.opaque().endswith(b"6") else "0.0.0.0"
                answer.opaque(f"{host}.{self.PORT // 256}.{self.PORT % 256}")
        elif program == NLM and procedure:
            cookie = call.opaque()
            with self.came:
                if TEST_RES <= procedure <= GRANTED_RES:
                    self.results[procedure, cookie] = stat_name(call.uint())
                elif procedure in (GRANTED, GRANTED_MSG):
                    self.granted.append((version, cookie))
                self.came.notify_all()
            if procedure == GRANTED:
                answer.opaque(cookie).uint(0 if self.grant else 1)
        return answer.bytes()

    def result(self, procedure, cookie, timeout):
        """Waits for a *_RES call; the name of the result."""
        with self.came:
            self.came.wait_for(lambda: (procedure, cookie) in self.results, timeout)
            return self.results.pop((procedure, cookie), "no answer")
