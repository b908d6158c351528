#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# For init, on a guest that is to be a snapshot: lets go of all disks that a test may have, says that it is ready, and
# waits. Each VM that goes on from here is then told its VM_* variables, has its disks, the tests' files, the right time
# and random numbers of its own.
blk=/sys/bus/virtio/drivers/virtio_blk
net=/sys/bus/virtio/drivers/virtio_net

# In the order in which QEMU has them: the tests' files first.
spares=
for serial in /sys/block/vd*/serial; do
	read -r name <"$serial"
	case $name in
	payload | spare*)
		device=$(readlink -f "${serial%/serial}/device")
		echo "${device##*/}" >"$blk"/unbind
		spares="$spares ${device##*/}"
		;;
	esac
done
modprobe virtio_net
for card in "$net"/virtio*; do
	card=${card##*/}
	echo "$card" >"$net"/unbind
done
set -- /sys/bus/*/drivers/vmgenid/QEMUVGID:*
if ! [ -e "$1" ]; then
	echo "the kernel has no driver for vmgenid: all VMs would have the same random numbers" >&3
	sleep 1000
fi
# What most tests read is then in memory already.
python3 -c 'import collections, errno, fcntl, itertools, json, os, random, re, select, signal, socket, struct, subprocess
import sys, tempfile, threading, time'
find /usr/lib/modules /usr/sbin/nfsdcld /usr/sbin/rpc.* /usr/sbin/exportfs /usr/sbin/mount.nfs /usr/sbin/rpcbind \
	-type f -exec cat {} + >/dev/null
sync

echo @ready >&3
read -r words <&3

unset VM_SNAPSHOT
for word in $words; do
	export "${word?}"
done
for device in $spares; do
	echo "$device" >"$blk"/bind
	[ "$VM_DISKS" -gt 0 ] || break
	VM_DISKS=$((VM_DISKS - 1))
done
if [ -n "$VM_NAME" ]; then
	echo "$card" >"$net"/bind
fi
for payload in /sys/block/vd*/serial; do
	read -r name <"$payload"
	[ "$name" != payload ] || break
done
payload=${payload#/sys/block/}
mount -t ext4 -o ro "/dev/${payload%/serial}" /test
unset VM_DISKS
# At last, as it may take its time to get here.
echo @now >&3
read -r now <&3
date -s "@$now" >/dev/null
