// SPDX-License-Identifier: GPL-2.0
//! What is written to the control files.

use crate::mutate::mutate;
use crate::random::Random;

/// Scopes of each kind, of which nobody serves one.
const SCOPES: &[&str] = &[
    "5",
    "0x4d3",
    "0",
    "4294967295",
    "0d7bb6e8-0c1e-4e6a-9d61-3f9a1f6c1b1d",
    "0D7BB6E80C1E4E6A9D613F9A1F6C1B1E",
    "dev:8:1",
    "dev:4095:1048575",
    "ip:192.0.2.1",
    "ip:2001:db8::1",
    "ip:::ffff:192.0.2.2",
];

/// An address for commands about one: nobody's, or one at which somebody is served who can be without.
fn address(random: &mut Random) -> String {
    match random.below(4) {
        0 => "127.0.0.2".to_owned(),
        _ => format!("192.0.2.{}", random.below(256)),
    }
}

/// A valid command of one of the files: `scopes` are those that somebody serves, `sequence` is
/// the last number of `nlm_clients`.
fn valid(random: &mut Random, scopes: &[String], sequence: u64) -> String {
    let scope = if random.percent(30) {
        random.one_of(scopes)
    } else {
        *random.one_of(SCOPES)
    };
    let newline = if random.percent(50) { "\n" } else { "" };
    match random.below(17) {
        0..=3 => format!("{scope}{newline}"),
        4 | 5 => format!("{scope} {}{newline}", 1 + random.below(3600)),
        6 | 7 => format!("{scope} 0{newline}"),
        8 => format!(
            "{}{newline}",
            sequence.saturating_sub(random.below(3) as u64)
        ),
        9 => format!("{sequence}{newline}"),
        10 => format!("{scope} listed{newline}"),
        11 | 12 => {
            let one = format!("{scope} client\\040{}", random.below(1000));
            format!(
                "{one}\n{scope} \\x{:04x} {}{newline}",
                random.below(65536),
                "5a".repeat(32)
            )
        }
        13 => format!("{scope} {} local{newline}", 1 + random.below(5)),
        14 => format!("{}{newline}", address(random)),
        15 => format!("{} {}{newline}", address(random), random.below(601)),
        _ => format!("-{}{newline}", address(random)),
    }
}

/// Any command: a valid one, one that nearly is, or anything.
pub fn any(random: &mut Random, scopes: &[String], sequence: u64) -> Vec<u8> {
    if random.percent(8) {
        let len = random.below(80);
        return random.bytes(len);
    }
    let mut command = valid(random, scopes, sequence).into_bytes();
    match random.below(100) {
        0..=29 => (),
        30..=96 => mutate(&mut command, random),
        // Over what a write may have.
        _ => {
            let len = *random.one_of(&[4095, 4096, 4097, 5000]);
            command.resize(len, *random.one_of(b"0 \n1"));
        }
    }
    command
}
