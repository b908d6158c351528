#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# vm: timeout=20 module=none
# want: no KTAP result and no plan
. /test/lib/lib.sh

true
