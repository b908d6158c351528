// SPDX-License-Identifier: GPL-2.0

//! What an admin writes to the control files.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::commands(data));
