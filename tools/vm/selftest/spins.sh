#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# vm: timeout=8 module=none
# want: time limit of 8 s reached
. /test/lib/lib.sh

ktap_plan 1
while :; do :; done
