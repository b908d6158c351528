// SPDX-License-Identifier: GPL-2.0

//! The database of another server's nfsdcld.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| nfsd_ha::laws::databases(data));
