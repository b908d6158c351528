#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# vm: timeout=20 module=load
# options: --module build/nowhere.ko
# want: no module build/nowhere.ko to test on
. /test/lib/lib.sh

ktap_plan 1
ok "on the stock kernel"
