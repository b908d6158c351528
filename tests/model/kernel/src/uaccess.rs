// SPDX-License-Identifier: GPL-2.0

//! `kernel::uaccess`: what a process has written, read from its beginning.

use crate::prelude::*;
use crate::Flags;

pub struct UserSliceReader(std::vec::Vec<u8>);

impl UserSliceReader {
    pub fn new(data: &[u8]) -> Self {
        UserSliceReader(data.to_vec())
    }

    // As in the kernel, which has no such question either.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn read_slice(&mut self, out: &mut [u8]) -> Result {
        out.copy_from_slice(&self.0[..out.len()]);
        self.0.drain(..out.len());
        Ok(())
    }

    pub fn read_all(self, out: &mut KVec<u8>, flags: Flags) -> Result {
        Ok(out.extend_from_slice(&self.0, flags)?)
    }
}
