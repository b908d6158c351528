// SPDX-License-Identifier: GPL-2.0

//! Steps on the tables.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::tables(data));
