# SPDX-License-Identifier: GPL-2.0
"""Lets unlocking fail on the server, see inject/unlock_fails.c."""

import threading

from nfs import sh

PARAMETERS = "/sys/module/unlock_fails/parameters"


class Inject:
    """The test's own module, loaded for as long as the `with` block lasts."""

    def __enter__(self):
        sh("insmod /test/unlock_fails.ko")
        return self

    def __exit__(self, *_):
        sh("rmmod unlock_fails")

    @staticmethod
    def _set(**values):
        for name, value in values.items():
            with open(f"{PARAMETERS}/{name}", "w", encoding="ascii") as f:
                f.write(str(value))

    @staticmethod
    def _get(name):
        with open(f"{PARAMETERS}/{name}", encoding="ascii") as f:
            return int(f.read())

    def arm(self, skip=0, times=1):
        """Of the calls that this thread makes from now on, those after `skip` fail, `times` times."""
        self._set(pid=0, skip=skip, times=times, calls=0, hits=0)
        self._set(pid=threading.get_native_id())

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
