// SPDX-License-Identifier: GPL-2.0
//! The name of an NFSv4 client (RFC 8881, 2.4: `co_ownerid`; RFC 7530, 9.1.1: `nfs_client_id4.id`).
//!
//! It is any bytes, chosen by the client. nfsd's caches write them as one word of visible ASCII
//! (`qword_add()`, `qword_get()` and `qword_addhex()` in `net/sunrpc/cache.c`): `\ooo` is a byte in
//! octal, and after a leading `\x` all is hexadecimal. So a name can be shown on a terminal as it is
//! written there.
//!
//! To the name of a client that came to a floating address, the module adds `@` and the address
//! (`rust/nfs4/identity.rs`).

use std::fmt::{self, Write};
use std::net::IpAddr;
use std::str::FromStr;

/// The longest name, in bytes (`NFS4_OPAQUE_LIMIT`).
pub const MAX: usize = 1024;
/// The longest word that is written with `\ooo`; a longer one is written in hexadecimal digits, so that
/// no line is longer than a page.
const WORD_MAX: usize = 1024;

/// A client's name: 1 to 1024 bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Owner(Vec<u8>);

/// This is no name of a client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this is no client's name: it has no or more than {MAX} bytes, or is not as nfsd's caches write it")]
pub struct NoOwner;

impl Owner {
    /// A name of these bytes.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, NoOwner> {
        let bytes = bytes.into();
        if (1..=MAX).contains(&bytes.len()) {
            Ok(Self(bytes))
        } else {
            Err(NoOwner)
        }
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The name that the client itself gave, and the floating address that was added to it, if one was.
    pub fn split(&self) -> Option<(&[u8], IpAddr)> {
        let at = self.0.iter().rposition(|byte| *byte == b'@')?;
        let text = std::str::from_utf8(&self.0[at + 1..]).ok()?;
        let address: IpAddr = text.parse().ok()?;
        // Only as the module writes it.
        (address.to_string() == text).then(|| (&self.0[..at], address))
    }
}

/// The bytes that pairs of hexadecimal digits stand for; there may be none.
pub(crate) fn hex(digits: &[u8]) -> Option<Vec<u8>> {
    let digit = |c: u8| char::from(c).to_digit(16).map(|digit| digit as u8);
    if digits.len() % 2 != 0 {
        return None;
    }
    digits
        .chunks_exact(2)
        .map(|pair| Some((digit(pair[0])? << 4) | digit(pair[1])?))
        .collect()
}

/// The hexadecimal digits of some bytes.
pub(crate) fn digits(bytes: &[u8]) -> String {
    bytes.iter().fold(
        String::with_capacity(2 * bytes.len()),
        |mut digits, byte| {
            // A string takes all.
            let _ = write!(digits, "{byte:02x}");
            digits
        },
    )
}

/// Reads a word of nfsd's caches.
impl FromStr for Owner {
    type Err = NoOwner;

    fn from_str(word: &str) -> Result<Self, NoOwner> {
        if let Some(digits) = word.strip_prefix("\\x") {
            return Self::new(hex(digits.as_bytes()).ok_or(NoOwner)?);
        }
        let mut bytes = Vec::with_capacity(word.len());
        let mut rest = word.as_bytes();
        while let [first, tail @ ..] = rest {
            let (byte, tail) = match (first, tail) {
                (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..]) => {
                    (((a - b'0') << 6) | ((b - b'0') << 3) | (c - b'0'), tail)
                }
                (b'\\', _) => return Err(NoOwner),
                (c, tail) if c.is_ascii_graphic() => (*c, tail),
                _ => return Err(NoOwner),
            };
            bytes.push(byte);
            rest = tail;
        }
        Self::new(bytes)
    }
}

/// As a word of nfsd's caches: visible ASCII only.
impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |byte: &u8| byte.is_ascii_graphic() && *byte != b'\\';
        let length: usize = self
            .0
            .iter()
            .map(|byte| if plain(byte) { 1 } else { 4 })
            .sum();
        if length > WORD_MAX {
            f.write_str("\\x")?;
            return self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"));
        }
        self.0.iter().try_for_each(|byte| {
            if plain(byte) {
                f.write_char(char::from(*byte))
            } else {
                write!(f, "\\{byte:03o}")
            }
        })
    }
}

impl serde::Serialize for Owner {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn owner(bytes: &[u8]) -> Owner {
        Owner::new(bytes).unwrap()
    }

    #[test]
    fn is_one_visible_word() {
        assert_eq!(
            owner(b"o\"d\\d two\n\x1b[2J").to_string(),
            r#"o"d\134d\040two\012\033[2J"#
        );
        assert_eq!(r"\x6f6E65".parse(), Ok(owner(b"one")));
        assert_eq!(
            owner(&[0xff; 257]).to_string(),
            format!("\\x{}", "ff".repeat(257))
        );
        assert_eq!(owner(b"\\x41").to_string(), r"\134x41");
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for word in [
            "",
            r"\x",
            r"\x4",
            r"\xgg",
            r"\8",
            r"\40",
            r"\400",
            r"\",
            "two words",
            "é",
            "a\n",
        ] {
            assert_eq!(word.parse::<Owner>(), Err(NoOwner), "{word:?}");
        }
        assert_eq!("x".repeat(1025).parse::<Owner>(), Err(NoOwner));
        assert!("x".repeat(1024).parse::<Owner>().is_ok());
    }

    #[test]
    fn a_floating_address_is_found_at_its_end() {
        let split = |name: &str| {
            let name = owner(name.as_bytes());
            name.split()
                .map(|(own, at)| (String::from_utf8(own.into()).unwrap(), at.to_string()))
        };
        let found = |own: &str, at: &str| Some((own.to_owned(), at.to_owned()));
        assert_eq!(split("one@192.0.2.50"), found("one", "192.0.2.50"));
        assert_eq!(split("a@b@2001:db8::1"), found("a@b", "2001:db8::1"));
        for name in [
            "one",
            "one@",
            "one@host",
            "one@2001:DB8::1",
            "one@192.0.2.50 ",
        ] {
            assert_eq!(split(name), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn is_read_as_it_is_written(bytes in prop::collection::vec(any::<u8>(), 1..=MAX)) {
            let written = owner(&bytes).to_string();
            prop_assert!(written.bytes().all(|byte| byte.is_ascii_graphic()));
            prop_assert_eq!(written.parse(), Ok(owner(&bytes)));
            let _ = owner(&bytes).split();
        }

        #[test]
        fn any_word_is_taken_or_refused(word in r"(\\x)?[\\x0-9a-f@. ]*|.*") {
            let _ = word.parse::<Owner>();
        }
    }
}
