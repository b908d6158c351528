#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# vm: timeout=20 module=none
# want: 
. /test/lib/lib.sh

ktap_plan 1
allow_report fake
echo "WARNING: fake" >/dev/kmsg
ok "with a warning that it expects"
