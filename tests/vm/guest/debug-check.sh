#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# At the end of every test, on a kernel that can tell (scripts/build/debug-kernel): is there memory that
# nobody has a pointer to, and was lockdep on until now? The harness fails a test on what the kernel
# says, so this says it there.
say() {
	echo "$*" >/dev/kmsg
}

# lockdep ends with its first report, or when a table of its own is full.
if [ -e /proc/lockdep_stats ] && ! grep -q 'debug_locks: *1$' /proc/lockdep_stats; then
	say "BUG: lockdep is off: what it did not see it cannot report"
fi

kmemleak=/sys/kernel/debug/kmemleak
if [ -e $kmemleak ]; then
	# Show what was allocated, and by whom; not only how much.
	echo Y >/sys/module/kmemleak/parameters/verbose
	# What is younger than five seconds is passed over, as its pointer may still be in a register.
	# The second time to be sure: pointers move while the first one looks.
	sleep 6
	for _ in 1 2; do
		echo scan >$kmemleak || say "BUG: kmemleak is off"
	done
fi
