#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# vm: once=yes timeout=180 module=none
#
# Net namespaces are clients of their own, in all versions of NFS, and their locks conflict.
. /test/lib/lib.sh

ktap_plan 14
check "the server starts" start_server
check "an export" new_export data 1234
n=0
for vers in 3 4.0 4.1 4.2; do
	n=$((n + 1))
	check "client c$n" client_ns c$n
	check "c$n mounts vers=$vers" mount_in c$n $vers data /mnt
done
is "nfsd sees three NFSv4 clients" "$(find /proc/fs/nfsd/clients -mindepth 1 -maxdepth 1 | wc -l)" 3
check "c1 gets a lock when lockd's grace period is over" hold_lock one /mnt/f in_client c1
check_fails "c4 does not get it meanwhile" try_lock /mnt/f in_client c4
drop_lock one
check "c4 gets it afterwards" wait_for 10 try_lock /mnt/f in_client c4
