#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# vm: once=yes timeout=60 disk=data:64M module=none
#
# A reset loses what was not written to a disk, and nothing else.
. /test/lib/lib.sh

ktap_plan 4
mkdir /mnt/data
mount /dev/disk/data /mnt/data
case $VM_STAGE in
"")
	echo kept >/mnt/data/synced
	sync
	echo lost >/mnt/data/not-synced
	check "a file is there before the reset" test -s /mnt/data/not-synced
	reset_vm again
	;;
again)
	is "the test goes on in the next stage" "$VM_STAGE" again
	is "what was synced is there" "$(cat /mnt/data/synced)" kept
	check_fails "what was not synced is lost" test -s /mnt/data/not-synced
	;;
esac
