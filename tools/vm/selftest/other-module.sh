#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# vm: timeout=20 module=load
# options: --module @ran.ko
# want: module: could not be loaded: it is no livepatch nfsd_ha
. /test/lib/lib.sh

ktap_plan 1
ok "on the stock kernel"
