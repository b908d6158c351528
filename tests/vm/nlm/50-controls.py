#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: once=yes timeout=180 module=load
"""What may be written to the control files, by whom, and what is answered."""

import errno
import os
import subprocess

from control import NOTHING, FILES, command, read
from ktap import check, done, equal
from nfs import kernel_log, sh, wait_until

UUID = "0d7bb6e8-0c1e-4e6a-9d61-3f9a1f6c1b1d"

# Neither file takes these.
BAD = [b"", b"\n", b" ", b"-1", b"+1", b"01234", b"0x", b"0x100000000", b"4294967296", b"1234x",
       b"1234\x00", b"\x001234", b"12\x0034", b"1234\n5678", b"1234\n\n", b"1234\r\n", b"\t1234",
       b" 1234", b"1234 ", b"fsid=1234", b"1" * 4096, b"1234" + b" " * 5000, b"\xff\xfe", "１２".encode(),
       UUID[:-1].encode(), UUID.encode() + b"0", UUID.replace("-", "_").encode(), b"g" + UUID[1:].encode(),
       b"dev:", b"dev:8", b"dev:8:1:1", b"dev:4096:1", b"dev:8:1048576", b"dev:-8:1", b"ip:", b"ip:1.2.3",
       b"ip:1.2.3.4.5", b"ip:300.1.1.1", b"ip:fe80::1%eth0", b"ip:g::1", b"ip:localhost", b"/srv/export"]
# These are commands of fsid_grace only, or of none.
BAD_UNLOCK = [b"1234 60", b"1234 0"]
BAD_GRACE = [b"1234 -1", b"1234 3601", b"1234 4294967296", b"1234 60 60", b"1234 x", b"1234  60", b"1234 6.5"]
GOOD = ["1234", "0x4d2", "0", "4294967295", UUID, UUID.replace("-", "").upper(), "dev:8:1",
        "ip:192.0.2.1", "ip:2001:db8::1", "ip:::ffff:192.0.2.1"]


def our_log():
    """The module's lines in the kernel's log."""
    return [line for line in kernel_log().splitlines() if "nfsd_ha:" in line]


sh(". /test/lib/lib.sh && start_server && new_export a 1234")
before = our_log()

for name, bad in (("nlm_unlock", BAD + BAD_UNLOCK), ("fsid_grace", BAD + BAD_GRACE),
                  ("nlm_set_ip_grace", BAD + BAD_GRACE),
                  ("nlm_clients", BAD + [b"1234", b"18446744073709551616"]), ("client_tracking", None)):
    if bad is not None:
        results = {data: command(name, data)[0] for data in bad}
        wrong = {data[:40]: result for data, result in results.items() if result != "EINVAL"}
        equal(f"{name} answers EINVAL to {len(bad)} bad commands", wrong, {})
equal("nothing is in grace", read("fsid_grace"), "")
equal("none of them is in the log", our_log(), before)

for scope in GOOD:
    released = command("nlm_unlock", scope)
    shown = released[1].splitlines()[0].removeprefix("scope ")
    equal(f"nlm_unlock takes {scope}, where there is nothing to release",
          released, ("ok", f"scope {shown}\n" + "".join(f"{key} 0\n" for key in NOTHING)))
    equal("once more", command("nlm_unlock", scope + "\n"), released)
    equal(f"fsid_grace takes it, though nobody exports it yet: {shown}",
          command("fsid_grace", f"{scope} 100\n"), ("ok", f"{shown} left 100 reclaims 0 refused 0\n"))
equal("a line for each scope, whatever way it was written", len(read("fsid_grace").splitlines()), 7)
equal("writing again does not shorten it", command("fsid_grace", "1234 5")[1],
      "1234 left 100 reclaims 0 refused 0\n")
check("it extends it", "1234 left 200 " in command("fsid_grace", "1234 200")[1])
equal("0 ends it", command("fsid_grace", "1234 0"), ("ok", "1234 ended\n"))
equal("and once more, as scripts repeat themselves", command("fsid_grace", "1234 0"), ("ok", "1234 ended\n"))
check("the others stay", len(read("fsid_grace").splitlines()) == 6 and "1234 " not in read("fsid_grace"))
for scope in GOOD:
    command("fsid_grace", f"{scope} 0")
equal("all are ended", read("fsid_grace"), "")

sh("echo 37 > /proc/sys/fs/nfs/nlm_grace_period")
equal("the default is the longer of lockd's, in steps of its timeout, and nfsd's",
      command("nlm_set_ip_grace", "1234")[1], "1234 left 40 reclaims 0 refused 0\n")
command("fsid_grace", "1234 0")
command("fsid_grace", "77 1")
check("a grace period ends by itself", wait_until(lambda: read("fsid_grace") == "", 5, patient=False))

for name in FILES:
    fd = os.open(f"/proc/fs/nfsd/{name}", os.O_RDONLY)
    try:
        os.write(fd, b"1234")
        result = "ok"
    except OSError as e:
        result = errno.errorcode[e.errno]
    equal(f"{name}, opened to read only, cannot be written to", result, "EBADF")
    os.close(fd)


def as_other(uid, drop, name):
    """Writes a command as another user, or as root without CAP_SYS_ADMIN."""
    script = ("import os,sys,errno\n"
              f"fd = os.open('/proc/fs/nfsd/{name}', os.O_RDWR)\n"
              "os.write(fd, b'1234')\n")
    args = ["setpriv", f"--reuid={uid}"] + (["--bounding-set=-sys_admin", "--inh-caps=-sys_admin"] if drop else [])
    result = subprocess.run([*args, "python3", "-c", script], capture_output=True, text=True, check=False)
    lines = result.stderr.strip().splitlines()
    return lines[-1] if lines else "ok"


for name in ("nlm_unlock", "fsid_grace", "nlm_set_ip_grace", "nlm_clients"):
    check(f"{name}: root without CAP_SYS_ADMIN may not", "Operation not permitted" in as_other(0, True, name),
          as_other(0, True, name))
    check(f"{name}: another user may not", "Permission denied" in as_other(1000, False, name))
equal("nothing was changed by them", read("fsid_grace"), "")
check("anybody may read who must be notified",
      "sequence" in sh("setpriv --reuid=1000 cat /proc/fs/nfsd/nlm_clients"))

fd = os.open("/proc/fs/nfsd/nlm_unlock", os.O_RDWR)
os.write(fd, b"1234")
equal("a read after a write gives its result in pieces, too",
      (os.read(fd, 6), os.read(fd, 5), os.pread(fd, 5, 0)), (b"scope ", b"1234\n", b"scope"))
os.write(fd, b"5678")
equal("the next write, its own", os.read(fd, 4096).split()[1], b"5678")
os.close(fd)

sh("ip netns add other; mkdir -p /run/other; nsenter --net=/run/netns/other mount -t nfsd nfsd /run/other")
command("fsid_grace", "1234 100")
check("another net namespace has its own scopes", sh("cat /run/other/fsid_grace") == "")
sh("echo 5 > /run/other/fsid_grace")
check("and its own grace periods", "5 left" in sh("cat /run/other/fsid_grace")
      and "5 left" not in read("fsid_grace"))
sh("umount /run/other; ip netns del other")
done()
