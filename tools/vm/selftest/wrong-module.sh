#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# vm: timeout=20 module=load
# options: --module README.md
# want: module: could not be loaded: insmod:
. /test/lib/lib.sh

ktap_plan 1
ok "on the stock kernel"
