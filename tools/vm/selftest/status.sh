#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# vm: timeout=20 module=none
# want: the test's exit status is 3
. /test/lib/lib.sh

ktap_plan 1
ok "one"
exit 3
