// SPDX-License-Identifier: GPL-2.0

//! What moves with an export, or is kept of a move.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| nfsd_ha::laws::lists(data));
