#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# vm: timeout=20 module=none
# want: kernel: Kernel panic - not syncing: sysrq triggered crash
. /test/lib/lib.sh

ktap_plan 1
ok "before the crash"
echo c >/proc/sysrq-trigger
