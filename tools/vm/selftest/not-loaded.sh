#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# vm: timeout=20 module=ship
# options: --module README.md
# want: module: was never loaded: this was the stock kernel
. /test/lib/lib.sh

ktap_plan 1
ok "on the stock kernel"
