# SPDX-License-Identifier: GPL-2.0
"""How long machines stand still, as their host is busy with something else.

A bound of how long an operation takes must allow for that. A ping needs no nfsd, no lockd and no process of the server's:
it takes long only if the server's machine, or this one, gets no CPU.
"""

import re
import subprocess
import time

INTERVAL = 0.1


# By server.
BEATS = {}


def start(*servers):
    """Has the servers pinged until end()."""
    for server in servers:
        BEATS[server] = Heartbeat(server)


def end():
    """Ends that."""
    for beat in BEATS.values():
        beat.end()


def stood_still(server, since):
    """See Heartbeat.stood_still()."""
    return BEATS[server].stood_still(since)


class Heartbeat:
    """Pings a server, ten times a second."""

    def __init__(self, server):
        self.log = f"/tmp/heartbeat-{server}.log"
        with open(self.log, "w", encoding="ascii") as f:
            # pylint: disable-next=consider-using-with
            self.process = subprocess.Popen(["stdbuf", "-oL", "ping", "-n", "-D", "-O", "-i", str(INTERVAL), server],
                                            stdout=f, stderr=subprocess.DEVNULL, process_group=0)

    def stood_still(self, since):
        """The longest that nothing went on after a time, in seconds: until an answer came, or until the next ping."""
        with open(self.log, encoding="ascii") as f:
            # Without an answer yet there is no time: a server that is off is another matter.
            beats = re.findall(r"^\[([\d.]+)\] .*?(?: time=([\d.]+) ms)?$", f.read(), re.M)
        shift = time.time() - time.monotonic()
        beats = [(float(at) - shift, float(ms or 0) / 1000) for at, ms in beats]
        beats = [(at, took) for at, took in beats if at > since]
        late = [after - before - INTERVAL for (before, _), (after, _) in zip(beats, beats[1:])]
        return max([0.0, *late, *(took for _, took in beats)])

    def end(self):
        """Ends it."""
        self.process.kill()
        self.process.wait()
