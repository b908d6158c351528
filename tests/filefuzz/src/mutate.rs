// SPDX-License-Identifier: GPL-2.0
//! Changes to a message or a command that make it nearly right.

use crate::random::Random;

/// Bytes at which something ends, or begins to mean something else.
const BYTES: &[u8] = b"\0\x01\x02\x03\x04\x05\x06\x20\x21\x7f\x80\xff\n\r\t 09:-xafip.\\+";

/// Changes some of the bytes.
pub fn mutate(data: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(3) {
        once(data, random);
    }
}

fn once(data: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(data.len() + 1);
    match random.below(9) {
        0 => data.truncate(at),
        1 => data.insert(at, *random.one_of(BYTES)),
        2 => {
            let tail: Vec<u8> = data[at..].iter().copied().take(40).collect();
            data.splice(at..at, tail);
        }
        3 => {
            let more = random.below(64);
            data.extend(random.bytes(more));
        }
        4 if at < data.len() => drop(data.remove(at)),
        5 if at < data.len() => data[at] ^= 1 << random.below(8),
        6 if at + 2 <= data.len() => data[at..at + 2].copy_from_slice(&random.bytes(2)),
        7 if at + 2 <= data.len() => {
            let number = *random.one_of(&[0u16, 1, 1023, 1024, 1025, 0x7fff, 0x8000, 0xffff]);
            data[at..at + 2].copy_from_slice(&number.to_ne_bytes());
        }
        _ if at < data.len() => data[at] = *random.one_of(BYTES),
        _ => data.push(*random.one_of(BYTES)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_can_be_changed() {
        let mut random = Random::new(1);
        for len in 0..20 {
            for _ in 0..1000 {
                let mut data = vec![b'a'; len];
                mutate(&mut data, &mut random);
                assert!(data.len() < len + 300);
            }
        }
    }
}
