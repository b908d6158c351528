#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: once=yes timeout=180 module=load
"""What may be written to the control files, by whom, and what is answered."""

import ctypes
import errno
import fcntl
import mmap
import os
import stat
import struct
import subprocess
import threading

from control import NOTHING, FILES, command, read
from ktap import check, done, equal
from nfs import SLOW, kernel_log, sh, succeeds, wait_until

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
          released, ("ok", f"scope {shown}\n" + "".join(f"{key} 0\n" for key in [*NOTHING, "holds"])))
    equal("once more", command("nlm_unlock", scope + "\n"), released)
    equal(f"fsid_grace takes it, though nobody exports it yet: {shown}",
          command("fsid_grace", f"{scope} 100\n"), ("ok", f"{shown} left 100 reclaims 0 refused 0\n"))
equal("a line for each scope, whatever way it was written", len(read("fsid_grace").splitlines()), 7)
# On a slow kernel some seconds have gone by.
check("writing again does not shorten it", command("fsid_grace", "1234 5")[1] in
      [f"1234 left {left} reclaims 0 refused 0\n" for left in range(101 - SLOW, 101)])
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


def may_read(directory="/proc/fs/nfsd", user="--reuid=1000 --clear-groups"):
    """Which of our files another user may read."""
    return [name for name in FILES if succeeds(f"setpriv {user} cat {directory}/{name}")]


def modes(directory="/proc/fs/nfsd"):
    """Mode and group of our files."""
    found = {name: os.stat(f"{directory}/{name}") for name in FILES}
    return {name: (oct(stat.S_IMODE(s.st_mode)), s.st_gid) for name, s in found.items()}


MEMBER = "--reuid=1000 --regid=1000 --groups=4242"
READ_ONLY = ("client_tracking", "nfs4_clients", "originals")
equal("the files are root's", modes(),
      {name: ("0o400" if name in READ_ONLY else "0o600", 0) for name in FILES})
equal("nobody else may read them", may_read(), [])
sh("chgrp 4242 /proc/fs/nfsd/nlm_clients; chmod 640 /proc/fs/nfsd/nlm_clients")
equal("but of a group to which the admin gives one", [may_read(user=MEMBER), may_read()], [["nlm_clients"], []])
check("who may only read it may not confirm anything",
      "Permission denied" in sh(f"setpriv {MEMBER} sh -c 'echo 0 >/proc/fs/nfsd/nlm_clients'", check=False))
sh("echo 4242 > /sys/module/nfsd_ha/parameters/readers_gid; ip netns add readers; mkdir -p /run/readers;"
   " nsenter --net=/run/netns/readers mount -t nfsd nfsd /run/readers")
equal("with readers_gid a mount has that group", modes("/run/readers"),
      {name: ("0o440" if name in READ_ONLY else "0o640", 4242) for name in FILES})
equal("whose members may read", [may_read("/run/readers", user=MEMBER), may_read("/run/readers")], [list(FILES), []])
check("no number, and a group that is none, are refused",
      not any(succeeds(f"echo {gid} > /sys/module/nfsd_ha/parameters/readers_gid") for gid in ("x", -1, 4294967295)))
sh("umount /run/readers; ip netns del readers; echo 0 > /sys/module/nfsd_ha/parameters/readers_gid")

# The callout, run by rpc.statd: it may if its group may.
sh("install -d -o 1000 /run/records")
callout = "NFSD_HA_DIR=/run/records setpriv {} /test/nfsd-ha callout add-client a b"
check("the callout records as a user of the group", succeeds(callout.format(MEMBER)))
check("and says why it cannot as another one",
      "readers_gid" in sh(callout.format("--reuid=1000 --clear-groups"), check=False))

# Memory, which is the reader's.
OPENED = 100
SCOPES = range(10_000, 11_000)
HOLD = f"""
import os, sys
with open("/sys/fs/cgroup/readers/cgroup.procs", "w") as f:
    f.write(str(os.getpid()))
used = lambda: int(open("/sys/fs/cgroup/readers/memory.current").read())
before, fds = used(), []
for n in range({OPENED}):
    fds.append(os.open("/proc/fs/nfsd/fsid_grace", os.O_RDONLY))
    os.read(fds[-1], 1)
print(used() - before)
"""
with open("/proc/fs/nfsd/fsid_grace", "r+b", buffering=0) as f:
    for fsid in SCOPES:
        f.write(f"{fsid} 100".encode())
size = len(read("fsid_grace"))
if os.uname().release.endswith("-debug"):
    print("# memory is not charged in this kernel")
else:
    sh("mkdir -p /sys/fs/cgroup; mountpoint -q /sys/fs/cgroup || mount -t cgroup2 cgroup2 /sys/fs/cgroup;"
       " echo +memory > /sys/fs/cgroup/cgroup.subtree_control; mkdir /sys/fs/cgroup/readers")
    charged = int(sh(f"python3 -c '{HOLD}'"))
    check(f"what {OPENED} open files hold of {size} bytes each is charged to their opener", charged >= OPENED * size,
          f"{charged} bytes")
    sh(f"echo {OPENED * size} > /sys/fs/cgroup/readers/memory.max")
    check("whose limit ends it", not succeeds(f"python3 -c '{HOLD}'"))
with open("/proc/fs/nfsd/fsid_grace", "r+b", buffering=0) as f:
    for fsid in SCOPES:
        f.write(f"{fsid} 0".encode())


def blocked_reader():
    """A reader whose memory is not there: somebody else is to bring it (userfaultfd), and does not."""
    libc = ctypes.CDLL(None, use_errno=True)
    memory = mmap.mmap(-1, mmap.PAGESIZE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    faults = libc.syscall(323, os.O_CLOEXEC)
    fcntl.ioctl(faults, 0xC018AA3F, struct.pack("QQQ", 0xAA, 0, 0))
    fcntl.ioctl(faults, 0xC020AA00, struct.pack("QQQQ", address, mmap.PAGESIZE, 1, 0))
    fd = os.open("/proc/fs/nfsd/nlm_clients", os.O_RDONLY)
    reader = threading.Thread(target=lambda: libc.read(fd, ctypes.c_void_p(address), 4096))
    reader.start()
    where = f"/proc/{os.getpid()}/task/{reader.native_id}/stack"
    check("a reader can be kept in its read", wait_until(lambda: "handle_userfault" in sh(f"cat {where}")))
    check("meanwhile others read", read("nlm_clients").startswith("sequence"))
    equal("commands are taken", command("nlm_unlock", "1234")[0], "ok")
    sh("rpc.nfsd 0")
    check("and nfsd and lockd end and begin", wait_until(lambda: not succeeds("pgrep -x 'lockd|nfsd'")))
    sh("rpc.nfsd 4")
    os.close(faults)
    reader.join()
    os.close(fd)


if os.uname().release.endswith("-debug"):
    print("# this kernel has no userfaultfd")
else:
    blocked_reader()

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
