// SPDX-License-Identifier: GPL-2.0

//! What clients send: file handles, and their names.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::clients(data));
