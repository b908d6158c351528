// SPDX-License-Identifier: GPL-2.0
//! Memory for system calls: some that is there, with a page behind it that is not, and addresses
//! where none may be.

use crate::random::Random;
use crate::sys::Range;
use anyhow::{bail, Result};
use std::ptr;

/// How much is there.
const LEN: usize = 1 << 20;
/// How much behind it is not, so that a length may be off by much.
const GUARD: usize = 1 << 16;

/// Memory that nothing of Rust's is in.
pub struct Memory {
    start: *mut u8,
}

// SAFETY: The memory is this value's own.
unsafe impl Send for Memory {}

impl Memory {
    /// Some memory, of zeros.
    pub fn new() -> Result<Self> {
        // SAFETY: Memory where none was, of which the end is then made inaccessible.
        unsafe {
            let start = libc::mmap(
                ptr::null_mut(),
                LEN + GUARD,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            );
            if start == libc::MAP_FAILED
                || libc::mprotect(start.add(LEN), GUARD, libc::PROT_NONE) != 0
            {
                bail!("no memory");
            }
            Ok(Memory {
                start: start.cast(),
            })
        }
    }

    /// Puts data so that it ends `spare` bytes before the end of what is there.
    fn put(&mut self, data: &[u8], spare: usize) -> Range {
        let at = LEN - spare - data.len();
        // SAFETY: It fits, as data is no longer than a few pages.
        unsafe { ptr::copy_nonoverlapping(data.as_ptr(), self.start.add(at), data.len()) };
        (self.start as usize + at, data.len())
    }

    /// Puts data somewhere.
    pub fn hold(&mut self, data: &[u8]) -> Range {
        self.put(data, LEN / 2)
    }

    /// Puts data at the end, and more of it is asked for than is there.
    pub fn cut(&mut self, data: &[u8], random: &mut Random) -> Range {
        let (at, len) = self.put(data, 0);
        (at, len + random.below(GUARD / 2))
    }

    /// Memory to read into.
    pub fn room(&self, len: usize) -> Range {
        (self.start as usize, len.min(LEN))
    }

    /// What was read into the room.
    pub fn content(&self, len: usize) -> Vec<u8> {
        let mut content = vec![0; len.min(LEN)];
        // SAFETY: It is there, and nobody else writes to it.
        unsafe { ptr::copy_nonoverlapping(self.start, content.as_mut_ptr(), content.len()) };
        content
    }

    /// More than any message or command has.
    pub fn huge(&self, random: &mut Random) -> Range {
        let len = [
            1 << 13,
            1 << 16,
            LEN,
            LEN + 1,
            i32::MAX as usize,
            1 << 32,
            usize::MAX,
        ];
        (self.start as usize, *random.one_of(&len))
    }

    /// Memory that is not there, or not this process's.
    pub fn bad(&self, random: &mut Random) -> Range {
        let guard = self.start as usize + LEN;
        let at = [
            0,
            1,
            guard,
            guard + 1,
            1 << 47,
            0xffff_8880_0000_0000,
            usize::MAX - 100,
        ];
        (*random.one_of(&at), *random.one_of(&[1, 8, 9, 1067, 4096]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_where_it_is_put() {
        let mut memory = Memory::new().unwrap();
        let (at, len) = memory.hold(b"hello");
        // SAFETY: It was put there.
        assert_eq!(
            unsafe { std::slice::from_raw_parts(at as *const u8, len) },
            b"hello"
        );
        let (at, _) = memory.cut(b"hello", &mut Random::new(1));
        assert_eq!(at + 5, memory.start as usize + LEN);
    }
}
