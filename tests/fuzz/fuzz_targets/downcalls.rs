// SPDX-License-Identifier: GPL-2.0

//! What a daemon writes to the pipe.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::downcalls(data));
