#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# A node of 03-pair.scenario.
. /test/lib/lib.sh

other=b
[ "$VM_NAME" = a ] || other=a
if [ "$VM_STAGE" = revived ]; then
	ok "b boots again after its power was cut"
	put revived yes
	exit
fi
if [ "$VM_NAME" = a ]; then ktap_plan 5; else ktap_plan 4; fi
barrier up
check "$other answers on the network" ping -c 1 -W 5 $other
put "from-$VM_NAME" hello from "$VM_NAME"
is "a value from $other" "$(get from-$other)" "hello from $other"
mkdir /mnt/shared
if [ "$VM_NAME" = a ]; then
	mount /dev/disk/shared /mnt/shared && echo written by a >/mnt/shared/f && umount /mnt/shared
	barrier written
	barrier read
	check_fails "the network has the two VMs only" ping -c 1 -W 1 10.77.0.3
	kill_vm b revived
	is "a sees b come back" "$(get revived)" yes
	ok "a goes on"
else
	barrier written
	mount -o ro /dev/disk/shared /mnt/shared
	is "b reads what a wrote on the shared disk" "$(cat /mnt/shared/f)" "written by a"
	barrier read
	sleep 60
fi
