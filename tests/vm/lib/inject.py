# SPDX-License-Identifier: GPL-2.0
"""Lets calls of a kernel function fail, see inject/fail_calls.c."""

import errno
import threading

from nfs import sh

PARAMETERS = "/sys/module/fail_calls/parameters"


class Inject:
    """The test's own module, loaded for as long as the `with` block lasts."""

    def __init__(self, function="vfs_lock_file", value=-errno.EIO, unlocks=False):
        self.options = f"function={function} value={value} unlocks={int(unlocks)}"

    def __enter__(self):
        sh(f"insmod /test/fail_calls.ko {self.options}")
        return self

    def __exit__(self, *_):
        sh("rmmod fail_calls")

    @staticmethod
    def _set(**values):
        for name, value in values.items():
            with open(f"{PARAMETERS}/{name}", "w", encoding="ascii") as f:
                f.write(str(value))

    @staticmethod
    def _get(name):
        with open(f"{PARAMETERS}/{name}", encoding="ascii") as f:
            return int(f.read())

    def arm(self, skip=0, times=1, pid=None):
        """Of the calls that this thread makes from now on, those after `skip` fail, `times` times.

        Or of those of another one, or with -1 of all.
        """
        self._set(pid=0, skip=skip, times=times, calls=0, hits=0)
        self._set(pid=pid or threading.get_native_id())

    def disarm(self):
        """No call fails any more; this thread's are still counted."""
        self._set(pid=0, skip=0, times=0, calls=0, hits=0)
        self._set(pid=threading.get_native_id())

    def hits(self):
        """How many calls have failed since arm()."""
        return self._get("hits")

    def calls(self):
        """How many calls this thread has made since arm() or disarm()."""
        return self._get("calls")
