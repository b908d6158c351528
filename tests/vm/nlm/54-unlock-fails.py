#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: once=yes timeout=180 module=none
"""Without the module: a release that fails in the middle leaves some locks and drops the others.

This is the stock kernel's unlock_filesystem; what nlm_unlock does is in 55-all-or-nothing. It also
shows that the failure is injected where it should be.
"""

import errno
import os

import v3
from inject import Inject
from ktap import check, done, equal

FILES = 10

(export,), grace_end = v3.start([("a", 1234)])
export.make_files(FILES)
client = v3.Client("c1", [export])
v3.sleep_until(grace_end)
holder = v3.Locker(client)
equal("a client takes its locks",
      holder.many([(f"/mnt/a/f{n}", "w", 0, 10) for n in range(FILES)]), {"ok"})
before = export.locks()
equal("the server has them", len(before), FILES)


def unlock_filesystem():
    """The error of a release with the stock kernel's file."""
    fd = os.open("/proc/fs/nfsd/unlock_filesystem", os.O_WRONLY)
    try:
        os.write(fd, f"{export.path}\n".encode())
        return 0
    except OSError as e:
        return e.errno
    finally:
        os.close(fd)


with Inject(unlocks=True) as inject:
    inject.arm(skip=5)
    equal("the release fails", unlock_filesystem(), errno.EIO)
    equal("one call was made to fail", inject.hits(), 1)
    after = export.locks()
    check("some locks are gone and some are not", 0 < len(after) < FILES, after)
    inject.disarm()
    equal("once more, it does not fail", unlock_filesystem(), 0)
equal("all are gone", export.locks(), [])
holder.stop()
done()
