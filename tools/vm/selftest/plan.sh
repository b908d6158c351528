#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# vm: timeout=20 module=none
# want: planned 3 results, got 1
. /test/lib/lib.sh

ktap_plan 3
ok "one"
