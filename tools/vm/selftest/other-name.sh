#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# vm: timeout=30 module=load
# options: --module @other-name.ko
# want: 
. /test/lib/lib.sh

ktap_plan 1
check "the module is there, whatever its file is called" test -d /sys/module/nfsd_ha
