#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# vm: timeout=20 module=none
# want: the VM ended before its test did
. /test/lib/lib.sh

ktap_plan 1
ok "one"
poweroff -f
