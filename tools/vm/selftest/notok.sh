#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# vm: timeout=20 module=none
# want: 1 results not ok
. /test/lib/lib.sh

ktap_plan 1
not_ok "one"
