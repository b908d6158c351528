# SPDX-License-Identifier: GPL-2.0
"""A raw client of NFSv4.0, 4.1 and 4.2 (RFC 7530, 8881, 7862, 8276).

A COMPOUND is a list of operations from the functions below. Methods of Nfs4 return the name of
the status, e.g. "OK" or "GRACE", and raise nothing for a status.
"""

import collections
import itertools
import os

from rpc import NFS, Packer, Rpc, RpcError

STATUS = {
    0: "OK", 1: "PERM", 2: "NOENT", 5: "IO", 13: "ACCES", 17: "EXIST", 20: "NOTDIR", 22: "INVAL",
    30: "ROFS", 70: "STALE", 10001: "BADHANDLE", 10004: "NOTSUPP", 10006: "SERVERFAULT",
    10008: "DELAY", 10010: "DENIED", 10011: "EXPIRED", 10012: "LOCKED", 10013: "GRACE",
    10015: "SHARE_DENIED", 10016: "WRONGSEC", 10020: "NOFILEHANDLE",
    10021: "MINOR_VERS_MISMATCH", 10022: "STALE_CLIENTID", 10023: "STALE_STATEID",
    10024: "OLD_STATEID", 10025: "BAD_STATEID", 10026: "BAD_SEQID",
    10018: "RESOURCE", 10019: "MOVED", 10037: "LOCKS_HELD",
    10033: "NO_GRACE", 10034: "RECLAIM_BAD", 10035: "RECLAIM_CONFLICT", 10036: "BADXDR",
    10038: "OPENMODE", 10044: "OP_ILLEGAL", 10052: "BADSESSION", 10054: "COMPLETE_ALREADY",
    10050: "BADLAYOUT", 10059: "LAYOUTUNAVAILABLE", 10061: "RECALLCONFLICT",
    10063: "SEQ_MISORDERED", 10071: "OP_NOT_IN_SESSION", 10095: "NOXATTR",
    10096: "XATTR2BIG"}
ZEROS, ONES, READ, WRITE, BOTH = bytes(16), b"\xff" * 16, 1, 2, 3
# 4.0: an operation that fails with one of these does not count in the owner's sequence.
NOT_COUNTED = ("STALE_CLIENTID", "STALE_STATEID", "BAD_STATEID", "BAD_SEQID", "BADXDR",
               "NOFILEHANDLE", "RESOURCE", "MOVED")

Op = collections.namedtuple("Op", "number arguments parse")


def status_name(number):
    """The name of a status."""
    return STATUS.get(number, str(number))


def _stateid(answer):
    return answer.fixed(16)


def _opaque(answer):
    return answer.opaque()


def _bitmap(answer):
    return [answer.uint() for _ in range(answer.uint())]


def _open(answer):
    """OPEN's result: the stateid and the flags."""
    stateid = answer.fixed(16)
    answer.fixed(20)
    flags = answer.uint()
    _bitmap(answer)
    delegation = answer.uint()
    if delegation == 3 and answer.uint() in (1, 2):
        answer.uint()
    if delegation in (1, 2):
        raise ValueError("the server granted a delegation: set fs.leases-enable")
    return stateid, flags


def _read(answer):
    answer.uint()
    return answer.opaque()


def _write(answer):
    count = answer.uint()
    answer.fixed(12)
    return count


def simple(number, parse=None, arguments=b""):
    """Any operation."""
    return Op(number, arguments, parse)


def putfh(fh):
    """PUTFH."""
    return Op(22, Packer().opaque(fh).bytes(), None)


def lookup(name):
    """LOOKUP."""
    return Op(15, Packer().opaque(name).bytes(), None)


GETFH, PUTROOTFH, SAVEFH = simple(10, _opaque), simple(24), simple(32)


class Open:
    """An open file: what OPEN answered, and what goes on from there."""

    def __init__(self, owner):
        self.owner, self.seqid = owner, 0
        self.fh = self.stateid = None
        self.status = ""


class Lock:
    """What LOCK answered."""

    def __init__(self, opened):
        self.open, self.seqid = opened, 0
        self.stateid = None
        self.status = ""


class Nfs4(Rpc):
    """A client with a name; `minor` is 0, 1 or 2. establish() makes it known to the server."""

    # Where an NFSv4.0 client can be called back: netid and address.
    callback = ("tcp", "0.0.0.0.0.0")

    def __init__(self, minor, server, name, **where):
        super().__init__(NFS, 4, server, port=2049, **where)
        self.minor, self.name = minor, name
        self.verifier = os.urandom(8)
        self.clientid, self.session, self.sequence = 0, None, 0
        self.owners = itertools.count(1)

    # --- COMPOUND ---

    def compound(self, *operations):
        """The last status, and the parsed results of the operations that were done."""
        operations = list(operations)
        if self.session:
            self.sequence += 1
            arguments = Packer().raw(self.session).uint(self.sequence, 0, 0, 0).bytes()
            operations.insert(0, Op(53, arguments, lambda answer: answer.fixed(36)))
        packer = Packer().opaque("").uint(self.minor, len(operations))
        for operation in operations:
            packer.uint(operation.number).raw(operation.arguments)
        try:
            answer = self.call(1, packer.bytes())
        except RpcError:
            # The session has not seen it.
            self.sequence -= bool(self.session)
            raise
        status = status_name(answer.uint())
        answer.opaque()
        results = []
        for _, operation in zip(range(answer.uint()), operations):
            number, one = answer.uint(), answer.uint()
            assert number == operation.number, (number, operation.number)
            if one:
                break
            results.append(operation.parse(answer) if operation.parse else None)
        if self.session:
            if not results:
                self.sequence -= 1
            results = results[1:]
        return status, results

    def status(self, *operations):
        """The last status of a COMPOUND."""
        return self.compound(*operations)[0]

    # --- the client itself ---

    def reboot(self):
        """Comes back with another verifier, and knows nothing of its former self; the status of that."""
        self.verifier = os.urandom(8)
        return self.establish()

    def establish(self):
        """SETCLIENTID and its CONFIRM, or EXCHANGE_ID and CREATE_SESSION; the last status."""
        self.close()
        self.session, self.sequence = None, 0
        who = Packer().raw(self.verifier).opaque(self.name).bytes()
        if self.minor == 0:
            arguments = Packer().raw(who).uint(0x40000000)
            for word in self.callback:
                arguments.opaque(word)
            status, results = self.compound(
                Op(35, arguments.uint(1).bytes(), lambda answer: answer.fixed(16)))
            if status != "OK":
                return status
            self.clientid = int.from_bytes(results[0][:8], "big")
            return self.status(simple(36, arguments=results[0]))
        status, results = self.compound(
            Op(42, Packer().raw(who).uint(0, 0, 0).bytes(),
               lambda answer: (answer.hyper(), answer.uint())))
        if status != "OK":
            return status
        self.clientid, sequence = results[0]
        channel = Packer().uint(0, 1 << 20, 1 << 20, 8192, 16, 1, 0).bytes()
        arguments = Packer().hyper(self.clientid).uint(sequence, 0).raw(channel).raw(channel)
        status, results = self.compound(
            Op(43, arguments.uint(0x40000000, 1, 0).bytes(), lambda answer: answer.fixed(16)))
        if status == "OK":
            self.session = results[0]
        return status

    def reclaim_complete(self, fh=None):
        """RECLAIM_COMPLETE, of all file systems or of that of a handle; 4.0 has none."""
        if not self.minor:
            return "OK"
        if fh is None:
            return self.status(simple(58, arguments=bytes(4)))
        return self.status(putfh(fh), simple(58, arguments=Packer().uint(1).bytes()))

    def renew(self):
        """Renews the lease."""
        if self.minor:
            return self.status()
        return self.status(simple(30, arguments=Packer().hyper(self.clientid).bytes()))

    def destroy_session(self):
        """DESTROY_SESSION."""
        session, self.session = self.session, None
        return self.status(simple(44, arguments=session))

    def destroy_clientid(self):
        """DESTROY_CLIENTID, after the session."""
        return self.status(simple(57, arguments=Packer().hyper(self.clientid).bytes()))

    def path(self, path):
        """The handle of a path below the root."""
        names = [lookup(name) for name in path.split("/") if name]
        status, results = self.compound(PUTROOTFH, *names, GETFH)
        if status != "OK":
            raise FileNotFoundError(f"{path}: {status}")
        return results[-1]

    def _owner(self, owner):
        return Packer().hyper(self.clientid).opaque(owner).bytes()

    # --- OPEN ---

    def _do_open(self, fh, how, claim, access, deny):
        opened = Open(f"{self.name}-open-{next(self.owners)}")
        want = 0x400 if self.minor else 0  # no delegation
        arguments = Packer().uint(0, access | want, deny).raw(self._owner(opened.owner))
        operation = Op(18, arguments.raw(how).raw(claim).bytes(), _open)
        opened.status, results = self.compound(putfh(fh), operation, GETFH)
        opened.seqid = 1
        if opened.status == "OK":
            (opened.stateid, flags), opened.fh = results[1:]
            if not self.minor and flags & 2:
                arguments = opened.stateid + Packer().uint(opened.seqid).bytes()
                opened.status, results = self.compound(putfh(opened.fh),
                                                       Op(20, arguments, _stateid))
                opened.seqid += 1
                opened.stateid = results[-1] if opened.status == "OK" else None
        return opened

    def open(self, directory, name, create=True, access=BOTH, deny=0):
        """OPEN with CLAIM_NULL (UNCHECKED), and OPEN_CONFIRM if it is asked for."""
        how = Packer().uint(1, 0).uint(2, 0, 2).opaque(Packer().uint(0o666).bytes()).bytes()
        claim = Packer().uint(0).opaque(name).bytes()
        return self._do_open(directory, how if create else bytes(4), claim, access, deny)

    def open_reclaim(self, fh, access=BOTH, deny=0):
        """OPEN with CLAIM_PREVIOUS."""
        return self._do_open(fh, bytes(4), Packer().uint(1, 0).bytes(), access, deny)

    def open_fh(self, fh, access=BOTH, deny=0):
        """OPEN with CLAIM_FH, of 4.1 and later."""
        return self._do_open(fh, bytes(4), Packer().uint(4).bytes(), access, deny)

    def close_file(self, opened):
        """CLOSE."""
        arguments = Packer().uint(opened.seqid).raw(opened.stateid).bytes()
        opened.seqid += 1
        return self.status(putfh(opened.fh), Op(4, arguments, _stateid))

    # --- LOCK ---

    def lock(self, opened, offset=0, length=1, exclusive=True, reclaim=False):
        """LOCK of a new lock owner."""
        lock = Lock(opened)
        packer = Packer().uint(2 if exclusive else 1, reclaim).hyper(offset, length)
        packer.uint(1, opened.seqid).raw(opened.stateid).uint(0)
        packer.raw(self._owner(f"{self.name}-lock-{next(self.owners)}"))
        lock.status, results = self.compound(putfh(opened.fh), Op(12, packer.bytes(), _stateid))
        if lock.status not in NOT_COUNTED:
            opened.seqid += 1
        if lock.status == "OK":
            lock.stateid, lock.seqid = results[-1], 1
        return lock

    def lock_more(self, lock, offset=0, length=1, exclusive=True, reclaim=False):
        """LOCK of a lock owner that has a stateid; the status."""
        packer = Packer().uint(2 if exclusive else 1, reclaim).hyper(offset, length)
        packer.uint(0).raw(lock.stateid).uint(lock.seqid)
        return self._with_lock(lock, 12, packer.bytes())

    def unlock(self, lock, offset=0, length=1):
        """LOCKU."""
        packer = Packer().uint(2, lock.seqid).raw(lock.stateid).hyper(offset, length)
        return self._with_lock(lock, 14, packer.bytes())

    def _with_lock(self, lock, number, arguments):
        status, results = self.compound(putfh(lock.open.fh), Op(number, arguments, _stateid))
        if status not in NOT_COUNTED:
            lock.seqid += 1
        if status == "OK":
            lock.stateid = results[-1]
        return status

    def test_lock(self, fh, offset=0, length=1, exclusive=True):
        """LOCKT of a new lock owner."""
        packer = Packer().uint(2 if exclusive else 1).hyper(offset, length)
        packer.raw(self._owner(f"{self.name}-lock-{next(self.owners)}"))
        return self.status(putfh(fh), simple(13, arguments=packer.bytes()))

    # --- data and names ---

    def read(self, fh, stateid=ZEROS, offset=0, count=1):
        """READ."""
        arguments = Packer().raw(stateid).hyper(offset).uint(count).bytes()
        return self.status(putfh(fh), Op(25, arguments, _read))

    def write(self, fh, stateid=ZEROS, offset=0, data=b"x"):
        """WRITE, FILE_SYNC."""
        arguments = Packer().raw(stateid).hyper(offset).uint(2).opaque(data).bytes()
        return self.status(putfh(fh), Op(38, arguments, _write))

    def set_size(self, fh, size, stateid=ZEROS):
        """SETATTR of the size."""
        packer = Packer().raw(stateid).uint(1, 1 << 4).opaque(Packer().hyper(size).bytes())
        return self.status(putfh(fh), Op(34, packer.bytes(), _bitmap))

    def set_mode(self, fh, mode):
        """SETATTR of the mode, which needs no stateid."""
        packer = Packer().raw(ZEROS).uint(2, 0, 2).opaque(Packer().uint(mode).bytes())
        return self.status(putfh(fh), Op(34, packer.bytes(), _bitmap))

    def remove(self, directory, name):
        """REMOVE."""
        return self.status(putfh(directory), Op(28, Packer().opaque(name).bytes(), None))

    def rename(self, directory, old, new):
        """RENAME in one directory."""
        arguments = Packer().opaque(old).opaque(new).bytes()
        return self.status(putfh(directory), SAVEFH, simple(29, arguments=arguments))

    # --- layouts (block volumes), of 4.1 and later ---

    def layout_get(self, opened, length=4096, returns=True):
        """LAYOUTGET of what can be read, and LAYOUTRETURN; the status of the first that fails."""
        packer = Packer().uint(0, 3, 1).hyper(0, length, 1).raw(opened.stateid).uint(4096)
        status, results = self.compound(
            putfh(opened.fh),
            Op(50, packer.bytes(), lambda answer: (answer.uint(), answer.fixed(16))))
        if status != "OK" or not returns:
            return status
        packer = Packer().uint(0, 3, 1, 1).hyper(0, 2**64 - 1).raw(results[1][1]).opaque(b"")
        return self.status(putfh(opened.fh), simple(51, arguments=packer.bytes()))

    def layout_commit(self, opened, length=4096, reclaim=False):
        """LAYOUTCOMMIT of no extents, with the stateid of an open file, not of a layout."""
        packer = Packer().hyper(0, length).uint(reclaim).raw(opened.stateid).uint(0, 0)
        packer.uint(3).opaque(Packer().uint(0).bytes())
        return self.status(putfh(opened.fh), simple(49, arguments=packer.bytes()))

    def delegate(self, directory):
        """GET_DIR_DELEGATION, of 4.1 and later; the status, which for "there is none now" is UNAVAIL."""
        packer = Packer().uint(0, 0).hyper(0).uint(0).hyper(0).uint(0, 0, 0)
        status, results = self.compound(
            putfh(directory), Op(46, packer.bytes(), lambda answer: answer.uint()))
        return "UNAVAIL" if status == "OK" and results[1] else status

    def set_xattr(self, fh, name, value=b"v"):
        """SETXATTR, of 4.2."""
        arguments = Packer().uint(0).opaque(name).opaque(value).bytes()
        return self.status(putfh(fh), Op(73, arguments, None))

    def remove_xattr(self, fh, name):
        """REMOVEXATTR, of 4.2."""
        return self.status(putfh(fh), Op(75, Packer().opaque(name).bytes(), None))
