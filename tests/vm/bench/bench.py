# SPDX-License-Identifier: GPL-2.0
"""What the benchmarks have in common: the two sides, a server with cldstub, and what they report.

A benchmark measures the stock kernel and ours in the same VM, in turns, so that both see the same
noise. Each measurement is a line of output, "# bench {...}", which `make bench` collects.
"""

import json
import os
import subprocess
import sys
import time

from ktap import check
from nfs import Server, load, sh, unload

STOCK, OURS = "stock", "ours"
# As the Linux client names itself. The stock table looks at the first 8 bytes only.
PREFIX = "Linux NFSv4.2 host-"
# `--arg quick`: fewer repetitions and sizes, to see whether it works.
QUICK = "quick" in sys.argv[1:]


def report(row, side, value, **more):
    """One measurement of a row of the table, or a list of them."""
    values = value if isinstance(value, list) else [value]
    line = {"row": row, "side": side, "values": values, **more}
    print(f"# bench {json.dumps(line)}", flush=True)


def attach(side, parameters=""):
    """Loads the module, or takes it out; no server runs that uses it."""
    loaded = os.path.exists("/sys/module/nfsd_ha")
    if side == OURS and not loaded:
        load(parameters)
    if side == STOCK and loaded:
        unload(switching=60, removing=10)


def records_name(number):
    """The name of a client that cldstub has on record."""
    return f"{PREFIX}{number:07}"


class Stub:
    """A running cldstub, by default with our records' names."""

    def __init__(self, *options, records=0):
        command = ["/test/cldstub", "--stats", "--records", str(records), "--record-prefix", PREFIX]
        # pylint: disable-next=consider-using-with
        self.process = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True)

    def stop(self):
        """Stops it; what it has counted."""
        self.process.terminate()
        return json.loads(self.process.communicate(timeout=60)[0])


class BenchServer(Server):
    """An NFSv4 server that is started and stopped many times, with a long grace period."""

    def __init__(self, threads=8, lease=900):
        super().__init__(lease=lease)
        self.threads = threads
        self.stub = None

    def set_up(self):
        """Does what has to be done once."""
        super().set_up()
        # A client of these benchmarks is no host: any port may be its own.
        sh(f"echo {self.lease} > {self.control}/nfsv4leasetime; "
           f"echo {self.lease} > {self.control}/nfsv4gracetime; rpc.mountd -N 3; "
           f"exportfs -o rw,fsid=0,no_root_squash,no_subtree_check,insecure *:{self.directory}")

    def begin(self, side, *options, records=0, timeout=120):
        """Starts cldstub and the server; returns how many seconds the server's start took."""
        attach(side)
        self.stub = Stub(*options, records=records)
        time.sleep(0.1)
        return self.start_threads(timeout)

    def start_threads(self, timeout=120):
        """Starts the server alone; returns how many seconds that took."""
        began = time.monotonic()
        sh(f"rpc.nfsd -N 3 {self.threads}", timeout=timeout)
        return time.monotonic() - began

    def end(self):
        """Stops both; returns what cldstub has counted."""
        sh("rpc.nfsd 0")
        return self.stub.stop()


def checked(name, condition, detail=""):
    """A result, but only if it is bad: there are very many. done() needs one that is good."""
    if not condition:
        check(name, False, detail)
    return condition
