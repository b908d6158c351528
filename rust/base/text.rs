// SPDX-License-Identifier: GPL-2.0

//! What a file shows: a long text, whose growth can fail. It is charged to the cgroup of who lets it grow.

use core::fmt::{self, Write};
use kernel::prelude::*;

/// The longest text, in bytes: a bound on what one open file holds. It has some 800,000 lines of `nlm_clients`.
const MAX: usize = 64 << 20;

/// A text that is being written.
#[derive(Default)]
pub(crate) struct Text {
    bytes: KVVec<u8>,
    error: Option<Error>,
}

impl Text {
    /// The text so far.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The text so far.
    pub(crate) fn as_str(&self) -> &str {
        // Only strings are added.
        core::str::from_utf8(&self.bytes).unwrap_or("")
    }

    /// Why something is missing, if it is: `ENOMEM`, or `EFBIG` if it would be too long.
    pub(crate) fn error(&self) -> Option<Error> {
        self.error
    }

    /// Makes room for so many bytes, which can be added then without fail. Fails with `ENOMEM` or `EFBIG`. May sleep.
    pub(crate) fn make_room(&mut self, count: usize) -> Result {
        if count > MAX - self.bytes.len() {
            return Err(EFBIG);
        }
        if self.bytes.capacity() - self.bytes.len() < count {
            let more = self.bytes.len().max(count).max(256);
            self.bytes.reserve(more, GFP_KERNEL_ACCOUNT)?;
        }
        Ok(())
    }

    fn extend(&mut self, bytes: &[u8]) -> Result {
        self.make_room(bytes.len())?;
        Ok(self.bytes.extend_from_slice(bytes, GFP_KERNEL_ACCOUNT)?)
    }

    /// Adds a word as nfsd's caches show it (`qword_add()` in `net/sunrpc/cache.c`): visible ASCII as
    /// it is, everything else and the backslash as `\ooo`.
    pub(crate) fn word(&mut self, word: &[u8]) -> fmt::Result {
        self.escaped(word, |text, byte| write!(text, "\\{byte:03o}"))
    }

    /// Adds a name that somebody chose: visible ASCII as it is, everything else and the backslash as `\xHH`.
    pub(crate) fn name(&mut self, name: &[u8]) -> fmt::Result {
        self.escaped(name, |text, byte| write!(text, "\\x{byte:02x}"))
    }

    /// Adds visible ASCII as it is, and everything else and the backslash by `escape`.
    fn escaped(
        &mut self,
        bytes: &[u8],
        escape: impl Fn(&mut Self, u8) -> fmt::Result,
    ) -> fmt::Result {
        for &byte in bytes {
            if byte.is_ascii_graphic() && byte != b'\\' {
                self.write_char(char::from(byte))?;
            } else {
                escape(self, byte)?;
            }
        }
        Ok(())
    }

    /// Adds the hexadecimal digits of some bytes.
    pub(crate) fn hex(&mut self, bytes: &[u8]) -> fmt::Result {
        bytes.iter().try_for_each(|byte| write!(self, "{byte:02x}"))
    }
}

/// Fails if there is no memory, or the text too long. May sleep.
impl fmt::Write for Text {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        self.extend(s.as_bytes()).map_err(|e| {
            self.error = Some(e);
            fmt::Error
        })
    }
}
