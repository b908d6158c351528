// SPDX-License-Identifier: GPL-2.0

//! What the kernel asks of nfsd-had.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| nfsd_ha::laws::upcalls(data));
