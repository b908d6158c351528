# SPDX-License-Identifier: GPL-2.0
"""File handles by MOUNT version 3 and NFSv3 (RFC 1813)."""

from rpc import MOUNT, NFS, Packer, Rpc

FILE_SYNC = 2


class Nfs3Error(Exception):
    """A call that was answered with an error; `status` is its number."""

    def __init__(self, what, status):
        super().__init__(f"{what}: {status}")
        self.status = status


def mount_handle(path, server, **where):
    """The file handle of an export."""
    mount = Rpc(MOUNT, 3, server, **where)
    answer = mount.call(1, Packer().opaque(path).bytes())
    mount.close()
    status = answer.uint()
    if status:
        raise Nfs3Error(f"mount {path}", status)
    return answer.opaque()


class Nfs3(Rpc):
    """An NFSv3 client; methods raise Nfs3Error."""

    def __init__(self, server, **where):
        super().__init__(NFS, 3, server, port=2049, **where)

    def ask(self, procedure, arguments):
        """Calls, and returns the results behind a good status."""
        answer = self.call(procedure, arguments.bytes())
        status = answer.uint()
        if status:
            raise Nfs3Error(f"procedure {procedure}", status)
        return answer

    def getattr(self, fh):
        """GETATTR: type, mode and size."""
        answer = self.ask(1, Packer().opaque(fh))
        kind, mode = answer.uint(), answer.uint()
        answer.fixed(12)
        return kind, mode, answer.hyper()

    def lookup(self, directory, name):
        """LOOKUP: the handle of a file."""
        return self.ask(3, Packer().opaque(directory).opaque(name)).opaque()

    def create(self, directory, name, mode=0o666):
        """CREATE, UNCHECKED: the handle of a file."""
        arguments = Packer().opaque(directory).opaque(name).uint(0).uint(1, mode)
        answer = self.ask(8, arguments.uint(0, 0, 0, 0, 0))
        if not answer.uint():
            return self.lookup(directory, name)
        return answer.opaque()

    def write(self, fh, data, offset=0):
        """WRITE, FILE_SYNC: the number of bytes."""
        arguments = Packer().opaque(fh).hyper(offset).uint(len(data), FILE_SYNC).opaque(data)
        answer = self.ask(7, arguments)
        if answer.uint():
            answer.fixed(24)
        if answer.uint():
            answer.fixed(84)
        return answer.uint()
