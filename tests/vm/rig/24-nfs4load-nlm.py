#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: once=yes timeout=120 module=load
"""nfs4load takes and drops locks over NLM."""

import json
import subprocess

from fullserver import FullServer
from ktap import done, equal
from nfs import patience

server = FullServer()
server.set_up()
server.export("a", "fsid=1")
server.start()
server.end_grace()
command = ["/test/nfs4load", "--steps", "nlm-loop", "--export", "/srv/root/a", "--clients", "10",
           "--seconds", "3", "--json", "--quiet"]
for address in "127.0.0.1", "::1":
    result = subprocess.run([*command, "--server", address], check=False, text=True,
                            stdout=subprocess.PIPE, timeout=patience(60))
    print(f"# {result.stdout.strip()}")
    steps = {step["step"]: step for step in json.loads(result.stdout)["steps"]}
    equal(f"locks over NLM at {address}",
          (result.returncode, steps["v3-create"]["count"], steps["nlm-loop"]["count"] > 20),
          (0, 10, True))
server.stop()
server.stop_daemon()
done()
