// SPDX-License-Identifier: GPL-2.0
//! What is written to a client tracking pipe (include/uapi/linux/nfsd/cld.h).

use crate::mutate::mutate;
use crate::random::Random;

const HEADER: usize = 8;
const NAME_MAX: usize = 1024;
const GRACE_START: u8 = 4;
const GET_VERSION: u8 = 5;
/// The status of a record, which leaves its upcall open.
const RECORD: i16 = -115;
/// What ends an upcall, and what is refused.
const STATUS: &[i16] = &[0, -1, -5, -28, -4095, -4096, 1, 115, i16::MIN];

/// The length of a message of a version.
pub fn message_len(version: u8) -> usize {
    let v1 = HEADER + 2 + NAME_MAX;
    if version < 2 {
        v1
    } else {
        v1 + 1 + 32
    }
}

/// An upcall that was read, with all its bytes.
pub struct Upcall(Vec<u8>);

impl Upcall {
    /// The upcall that a read has begun with `data`; the number of bytes that are missing is
    /// what the version says. `None` if there is no header.
    pub fn new(data: Vec<u8>) -> Option<Self> {
        (data.len() >= HEADER).then_some(Upcall(data))
    }

    /// Is it answered with records?
    pub fn wants_records(&self) -> bool {
        self.0[1] == GRACE_START
    }

    /// How many bytes are missing.
    pub fn missing(&self) -> usize {
        message_len(self.0[0]).saturating_sub(self.0.len())
    }

    /// Adds bytes that were missing.
    pub fn extend(&mut self, data: &[u8]) {
        self.0.extend(data);
    }

    fn with_status(&self, status: i16) -> Vec<u8> {
        let mut answer = self.0.clone();
        answer[2..4].copy_from_slice(&status.to_ne_bytes());
        answer
    }

    /// A record, or an answer in which something is wrong; now and then it ends the upcall.
    pub fn nearly(&self, random: &mut Random) -> Vec<u8> {
        let record = random.percent(97);
        let mut answer = self.with_status(if record {
            RECORD
        } else {
            *random.one_of(STATUS)
        });
        let most = *random.one_of(&[8, 64, 64, 64, NAME_MAX + 2]);
        let len = random.below(most);
        if record && HEADER + 2 + len <= answer.len() {
            answer[HEADER..HEADER + 2].copy_from_slice(&(len as u16).to_ne_bytes());
            answer[HEADER + 2..HEADER + 2 + len].copy_from_slice(&random.bytes(len));
        }
        if !record || random.percent(50) {
            mutate(&mut answer, random);
        }
        answer
    }

    /// The answer that ends it, which says that it was done, or now and then that it was not.
    pub fn right(&self, random: &mut Random) -> Vec<u8> {
        let can_fail = !matches!(self.0[1], GET_VERSION | GRACE_START);
        let mut answer = self.with_status(if can_fail && random.percent(10) {
            -5
        } else {
            0
        });
        if answer[1] == GET_VERSION {
            answer[HEADER] = *random.one_of(&[1, 2, 2, 2, 255]);
        }
        answer
    }
}

/// A message from nobody who has read an upcall.
pub fn invented(random: &mut Random) -> Vec<u8> {
    if random.percent(20) {
        let len = *random.one_of(&[1, 7, 8, 9, 10, 100, 1034, 1067, 4096]);
        return random.bytes(len);
    }
    let version = *random.one_of(&[1, 2, 2]);
    let mut message = vec![version, random.below(7) as u8];
    let status = if random.percent(30) {
        RECORD
    } else {
        *random.one_of(STATUS)
    };
    message.extend(status.to_ne_bytes());
    message.extend((random.word() as u32).to_ne_bytes());
    let name = random.below(64);
    message.extend((name as u16).to_ne_bytes());
    message.extend(random.bytes(name));
    message.resize(message_len(version), 0);
    if random.percent(50) {
        mutate(&mut message, random);
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upcall_is_read_in_pieces_and_answered() {
        let mut random = Random::new(3);
        assert!(Upcall::new(vec![2; 7]).is_none());
        let mut upcall = Upcall::new(vec![2, 0, 0, 0, 1, 2, 3, 4]).unwrap();
        assert_eq!(upcall.missing(), 1059);
        upcall.extend(&[0; 1059]);
        assert_eq!(upcall.missing(), 0);
        let right = upcall.right(&mut random);
        assert_eq!((right.len(), &right[4..8]), (1067, &[1, 2, 3, 4][..]));
        for _ in 0..10_000 {
            upcall.nearly(&mut random);
            invented(&mut random);
        }
    }
}
