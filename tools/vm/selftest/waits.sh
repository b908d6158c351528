#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The VM of stuck.scenario.
. /test/lib/lib.sh

ktap_plan 1
get never
