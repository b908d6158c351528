// SPDX-License-Identifier: GPL-2.0

//! What the program for admins reads in /proc/fs/nfsd.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| nfsd_ha::laws::controls(data));
