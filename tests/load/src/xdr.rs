// SPDX-License-Identifier: GPL-2.0
//! XDR (RFC 4506): writing to a `Vec<u8>`, reading from a slice.

use crate::problem::Problem;

/// Writes XDR; every method returns the buffer.
pub trait Put {
    /// 32 bits.
    fn uint(&mut self, value: u32) -> &mut Self;
    /// 64 bits.
    fn hyper(&mut self, value: u64) -> &mut Self;
    /// Bytes of a length that both sides know, filled up to a multiple of 4.
    fn fixed(&mut self, data: &[u8]) -> &mut Self;
    /// Bytes with their length.
    fn opaque(&mut self, data: &[u8]) -> &mut Self;
}

impl Put for Vec<u8> {
    fn uint(&mut self, value: u32) -> &mut Self {
        self.extend_from_slice(&value.to_be_bytes());
        self
    }

    fn hyper(&mut self, value: u64) -> &mut Self {
        self.extend_from_slice(&value.to_be_bytes());
        self
    }

    fn fixed(&mut self, data: &[u8]) -> &mut Self {
        self.extend_from_slice(data);
        self.extend_from_slice(&[0; 3][..padding(data.len())]);
        self
    }

    fn opaque(&mut self, data: &[u8]) -> &mut Self {
        self.uint(data.len() as u32).fixed(data)
    }
}

fn padding(length: usize) -> usize {
    length.wrapping_neg() % 4
}

/// Reads XDR. What is too short is `Problem::GARBAGE`.
#[derive(Clone, Copy)]
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Problem> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Problem::GARBAGE)?;
        self.0 = rest;
        Ok(taken)
    }

    /// An array of a length that both sides know, a multiple of 4.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Problem> {
        let (array, rest) = self.0.split_first_chunk().ok_or(Problem::GARBAGE)?;
        self.0 = rest;
        Ok(*array)
    }

    /// 32 bits.
    pub fn uint(&mut self) -> Result<u32, Problem> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    /// 64 bits.
    pub fn hyper(&mut self) -> Result<u64, Problem> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    /// Bytes with their length.
    pub fn opaque(&mut self) -> Result<&'a [u8], Problem> {
        let length = self.uint()? as usize;
        let data = self.take(length)?;
        self.take(padding(length))?;
        Ok(data)
    }

    /// Passes over so many bytes, a multiple of 4.
    pub fn skip(&mut self, length: usize) -> Result<(), Problem> {
        self.take(length).map(|_| ())
    }

    /// Passes over an array of 32 bit words with its length, e.g. a bitmap.
    pub fn skip_words(&mut self) -> Result<(), Problem> {
        let words = self.uint()? as usize;
        self.skip(words.saturating_mul(4))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_and_reads() {
        let mut data = Vec::new();
        data.uint(7)
            .hyper(1 << 40)
            .opaque(b"abcde")
            .fixed(b"12345678");
        assert_eq!(data.len(), 4 + 8 + 4 + 8 + 8);
        assert_eq!(data[12..24], *b"\0\0\0\x05abcde\0\0\0");
        let mut reader = Reader(&data);
        assert_eq!(reader.uint(), Ok(7));
        assert_eq!(reader.hyper(), Ok(1 << 40));
        assert_eq!(reader.opaque(), Ok(&b"abcde"[..]));
        assert_eq!(reader.array(), Ok(*b"12345678"));
        assert!(reader.0.is_empty());
    }

    #[test]
    fn opaque_of_each_length() {
        for length in 0..9 {
            let mut data = Vec::new();
            data.opaque(&[b'x'; 9][..length]);
            assert_eq!(data.len() % 4, 0);
            let mut reader = Reader(&data);
            assert_eq!(reader.opaque().map(<[u8]>::len), Ok(length));
            assert!(reader.0.is_empty());
        }
    }

    #[test]
    fn too_short_is_an_error() {
        assert_eq!(Reader(b"\0\0\0").uint(), Err(Problem::GARBAGE));
        assert_eq!(Reader(b"\0\0\0\x05abcde").opaque(), Err(Problem::GARBAGE));
        assert_eq!(Reader(b"\xff\xff\xff\xff").opaque(), Err(Problem::GARBAGE));
        assert_eq!(
            Reader(b"\0\0\0\x02\0\0\0\0").skip_words(),
            Err(Problem::GARBAGE)
        );
    }
}
