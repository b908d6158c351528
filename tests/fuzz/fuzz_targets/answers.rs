// SPDX-License-Identifier: GPL-2.0

//! What clients and the kernel answer the program for admins.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| nfsd_ha::laws::answers(data));
