// SPDX-License-Identifier: GPL-2.0
//! What a command is about: an export, a file system, or an address of the server.
//!
//! | written | means |
//! |---|---|
//! | `1234`, `0x4d2` | the export with `fsid=1234` in exports(5) |
//! | `0d7bb6e8-0c1e-4e6a-9d61-3f9a1f6c1b1d`, also without dashes | the one with this UUID |
//! | `dev:8:1` | the file system on a device: all its exports |
//! | `ip:192.0.2.1`, `ip:2001:db8::1` | all that comes to this address of the server |
//!
//! The module takes these in its normal form only (`rust/scopes/scope.rs`), and writes that itself.
//! People may write more: capital letters, dashes in some of a UUID's places, an address of IPv4
//! within IPv6. [`fmt::Display`] has the normal form, so that what was parsed here can be compared
//! with what the module says.

use crate::owner::{digits, hex};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use uuid::Uuid;

/// The greatest major number of a device (`MINORBITS` of `include/linux/kdev_t.h` leaves 12 bits).
const MAJOR_MAX: u32 = (1 << 12) - 1;
/// The greatest minor number of a device.
const MINOR_MAX: u32 = (1 << 20) - 1;

/// The identity of an export, as its file handles have it (`enum fsid_source` and `mk_fsid()` of
/// `fs/nfsd/nfsfh.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fsid {
    /// A number that the admin chose.
    Number(u32),
    /// A UUID.
    Uuid(Uuid),
    /// A UUID folded into 8 bytes, of which the module knows no more. It is shown, and never taken.
    Uuid8([u8; 8]),
    /// A UUID folded into 4 bytes.
    Uuid4([u8; 4]),
    /// A device: 0 to 4095, and 0 to 1048575.
    Device {
        /// Its driver.
        major: u32,
        /// Which of the driver's.
        minor: u32,
    },
}

/// What a command is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// One export, or all exports of one file system; never a folded UUID.
    Export(Fsid),
    /// All that comes to one address of the server.
    Address(IpAddr),
}

/// This is no scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no scope: write the number in fsid=, a UUID, dev:MAJOR:MINOR or ip:ADDRESS")]
pub struct NoScope(pub String);

impl Fsid {
    /// The file system on a device, if there can be such a device.
    pub(crate) fn device(major: u32, minor: u32) -> Option<Self> {
        let known = major <= MAJOR_MAX && minor <= MINOR_MAX;
        known.then_some(Self::Device { major, minor })
    }
}

impl Scope {
    /// The address, if it is one.
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Address(address) => Some(*address),
            Self::Export(_) => None,
        }
    }

    /// The export or the file system, unless it is an address.
    pub fn fsid(&self) -> Option<Fsid> {
        match self {
            Self::Export(fsid) => Some(*fsid),
            Self::Address(_) => None,
        }
    }
}

/// A scope as people write it.
impl FromStr for Scope {
    type Err = NoScope;

    fn from_str(text: &str) -> Result<Self, NoScope> {
        let parsed = match text.strip_prefix("ip:") {
            Some(address) => address
                .parse()
                .ok()
                .map(|address: IpAddr| Self::Address(address.to_canonical())),
            None => export(text).map(Self::Export),
        };
        parsed.ok_or_else(|| NoScope(text.to_owned()))
    }
}

/// An export as the module shows it: also one whose UUID is folded.
impl FromStr for Fsid {
    type Err = NoScope;

    fn from_str(text: &str) -> Result<Self, NoScope> {
        let parsed = if let Some(digits) = text.strip_prefix("uuid8:") {
            folded(digits).map(Self::Uuid8)
        } else if let Some(digits) = text.strip_prefix("uuid4:") {
            folded(digits).map(Self::Uuid4)
        } else {
            export(text)
        };
        parsed.ok_or_else(|| NoScope(text.to_owned()))
    }
}

fn export(text: &str) -> Option<Fsid> {
    if let Some(device) = text.strip_prefix("dev:") {
        let (major, minor) = device.split_once(':')?;
        return Fsid::device(decimal(major, MAJOR_MAX)?, decimal(minor, MINOR_MAX)?);
    }
    if text.len() >= 32 {
        return uuid(text).map(Fsid::Uuid);
    }
    let number = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        // The standard library takes a sign.
        Some(digits) if digits.starts_with('+') => return None,
        Some(digits) => u32::from_str_radix(digits, 16).ok()?,
        None => decimal(text, u32::MAX)?,
    };
    Some(Fsid::Number(number))
}

/// A number up to `max`. One that begins with a further 0 is refused: exports(5) takes it as octal,
/// other tools do not.
fn decimal(digits: &str, max: u32) -> Option<u32> {
    if digits.starts_with('+') || digits.len() > 1 && digits.starts_with('0') {
        return None;
    }
    digits.parse().ok().filter(|number| *number <= max)
}

/// A UUID: 32 hexadecimal digits, with or without a dash in each of the usual places.
fn uuid(text: &str) -> Option<Uuid> {
    let mut digits = String::with_capacity(32);
    for c in text.chars() {
        match c {
            '-' if matches!(digits.len(), 8 | 12 | 16 | 20) && !text.contains("--") => {}
            _ if c.is_ascii_hexdigit() => digits.push(c),
            _ => return None,
        }
    }
    Uuid::try_parse(&digits).ok().filter(|_| digits.len() == 32)
}

fn folded<const N: usize>(digits: &str) -> Option<[u8; N]> {
    hex(digits.as_bytes())?.try_into().ok()
}

/// As the module writes it.
impl fmt::Display for Fsid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Uuid(uuid) => write!(f, "{}", uuid.hyphenated()),
            Self::Uuid8(bytes) => write!(f, "uuid8:{}", digits(bytes)),
            Self::Uuid4(bytes) => write!(f, "uuid4:{}", digits(bytes)),
            Self::Device { major, minor } => write!(f, "dev:{major}:{minor}"),
        }
    }
}

/// As the module writes it.
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Export(fsid) => fsid.fmt(f),
            Self::Address(address) => write!(f, "ip:{address}"),
        }
    }
}

impl serde::Serialize for Fsid {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl serde::Serialize for Scope {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn normal(text: &str) -> Option<String> {
        text.parse().ok().map(|scope: Scope| scope.to_string())
    }

    #[test]
    fn people_write_scopes_in_several_ways() {
        let uuid = "0d7bb6e8-0c1e-4e6a-9d61-3f9a1f6c1b1d";
        for (written, form) in [
            ("1234", "1234"),
            ("0", "0"),
            ("0x4D2", "1234"),
            ("0X4d2", "1234"),
            ("4294967295", "4294967295"),
            ("dev:8:1", "dev:8:1"),
            ("dev:4095:1048575", "dev:4095:1048575"),
            (uuid, uuid),
            (&uuid.to_uppercase(), uuid),
            (&uuid.replace('-', ""), uuid),
            ("0d7bb6e80c1e-4e6a9d61-3f9a1f6c1b1d", uuid),
            ("ip:192.0.2.1", "ip:192.0.2.1"),
            ("ip:2001:DB8:0::1", "ip:2001:db8::1"),
            ("ip:::ffff:192.0.2.1", "ip:192.0.2.1"),
        ] {
            assert_eq!(normal(written).as_deref(), Some(form), "{written}");
        }
    }

    #[test]
    fn what_is_no_scope_is_refused() {
        for text in [
            "",
            "x",
            "0x",
            "0x+1",
            "+1",
            "-1",
            "01",
            "1 ",
            " 1",
            "1\n2",
            "4294967296",
            "dev:1",
            "dev:",
            "dev:4096:0",
            "dev:0:1048576",
            "dev:01:1",
            "dev:1:2:3",
            "ip:",
            "ip:192.0.2",
            "ip:192.0.2.1 ",
            "ip:fe80::1%eth0",
            "a-b-c-d-e",
            "uuid8:0011223344556677",
            "0d7bb6e8--0c1e4e6a9d613f9a1f6c1b1d",
            "-0d7bb6e80c1e4e6a9d613f9a1f6c1b1d",
            "0d7bb6e80c1e4e6a9d613f9a1f6c1b1d-",
            "0d7bb6e80c1e4e6a9d613f9a1f6c1b1dd",
            "0d7bb6e80c1e4e6a9d613f9a1f6c1bég",
        ] {
            assert_eq!(normal(text), None, "{text:?}");
        }
    }

    #[test]
    fn an_export_may_be_shown_with_a_folded_uuid() {
        for text in [
            "uuid8:0011223344556677",
            "uuid4:8899aabb",
            "1234",
            "dev:8:1",
        ] {
            assert_eq!(text.parse::<Fsid>().unwrap().to_string(), text);
        }
        for text in [
            "uuid8:00",
            "uuid4:8899aabbcc",
            "uuid4:é9aabb",
            "ip:192.0.2.1",
        ] {
            assert!(text.parse::<Fsid>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_taken_or_refused(text in ".*") {
            if let Ok(scope) = text.parse::<Scope>() {
                prop_assert_eq!(scope.to_string().parse::<Scope>(), Ok(scope));
            }
            let _ = text.parse::<Fsid>();
        }

        #[test]
        fn what_looks_like_a_scope_too(text in "(0x|dev:|ip:|uuid8:)?[0-9a-fA-F:.-]{0,40}") {
            if let Ok(scope) = text.parse::<Scope>() {
                prop_assert_eq!(scope.to_string().parse::<Scope>(), Ok(scope));
            }
            if let Ok(fsid) = text.parse::<Fsid>() {
                prop_assert_eq!(fsid.to_string().parse::<Fsid>(), Ok(fsid));
            }
        }
    }
}
