#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# vm: timeout=20 module=none
# want: 
. /test/lib/lib.sh

skip_all "nothing to do"
