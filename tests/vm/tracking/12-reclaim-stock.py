#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: once=yes timeout=180 module=none
"""The same as 10-reclaim with the module absent, so that it is known what the module changes.

The stock kernel drops the record of an NFSv4.0 client that reclaims: such a client need never
confirm an OPEN again, and that is when it would be recorded. After the next restart it could
not reclaim.
"""

import os

import reclaim
from ktap import check, done
from nfs import kernel_log

server, clients, holders = reclaim.locks_survive(
    ("4.0", "4.1", "4.2"), early=False, lost=["client-a"])
check("the module is not there", not os.path.exists("/sys/module/nfsd_ha"))
check("nor is its file", not os.path.exists("/proc/fs/nfsd/client_tracking"))
check("the stock operations did it",
      "NFSD: Using nfsdcld client tracking operations." in kernel_log())
reclaim.stop(server, clients, holders)
done()
