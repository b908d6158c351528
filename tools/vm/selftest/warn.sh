#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# vm: timeout=20 module=none
# want: kernel: WARNING: fake
. /test/lib/lib.sh

ktap_plan 1
echo "WARNING: fake" >/dev/kmsg
ok "with a warning"
