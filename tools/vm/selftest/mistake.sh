#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# vm: timeout=60 module=none
#
# mistake.sh WHAT: a kernel module makes a mistake (tests/vm/inject/mistakes.c). See mistakes.
. /test/lib/lib.sh

ktap_plan 1
insmod /test/mistakes.ko what="$1" 2>/run/error
check "mistakes.ko made its mistake" grep -q "Operation canceled" /run/error
