#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The clients of 14-reset.scenario: NFSv4.0, 4.1 and 4.2."""

import harness
from ktap import done, equal
from nfs import Holder, sh
from reclaim import write_all

harness.get("up")
holders = []
for name, version in zip("abc", ("4.0", "4.1", "4.2")):
    sh(f"mkdir -p /mnt/{name}; unshare --uts sh -ec 'hostname client-{name}; "
       f"mount -t nfs -o vers={version},timeo=50 server:/ /mnt/{name}'")
    holders.append(Holder(f"/mnt/{name}/file-{name}"))
equal("three clients write under their locks", write_all(holders), ["ok"] * 3)
harness.put("locked")
harness.get("back")
results = write_all(holders)
equal("they write again after the server's reset", results, ["ok"] * 3)
harness.put("written", " ".join(results))
harness.get("done")
done()
