// SPDX-License-Identifier: GPL-2.0

//! What is mounted, exported and configured on a machine.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| nfsd_ha::laws::machines(data));
