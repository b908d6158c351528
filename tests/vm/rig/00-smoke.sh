#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# vm: once=yes timeout=90 module=none
#
# The stock kernel's server and Debian's daemons work in the VM: the ground the other tests stand on.
. /test/lib/lib.sh

ktap_plan 10
check "the server starts" start_server
check "nfsdcld runs" pidof nfsdcld
check "nfsd speaks 4.2" grep -q '+4.2' /proc/fs/nfsd/versions
check "an export" new_export data 1234
for vers in 3 4.2; do
	check "mount vers=$vers" mount_client $vers data /mnt/$vers
	check "write and read a file over vers=$vers" sh -c "echo $vers >/mnt/$vers/f && grep -qx $vers /srv/root/data/f"
	umount /mnt/$vers
done
check "the server stops" stop_server
is "no thread is left" "$(cat /proc/fs/nfsd/threads)" 0
