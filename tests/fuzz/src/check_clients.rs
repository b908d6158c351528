// SPDX-License-Identifier: GPL-2.0

//! Clients that send anything as a file handle, and as their name.
//!
//! An input is the handle, and also the name.

use crate::base::text::Text;
use crate::scopes::scope::{Fsid, Scope};

/// What `nlm_clients` shows for a name, read back.
fn unescaped(shown: &str) -> Vec<u8> {
    let mut name = Vec::new();
    let mut rest = shown;
    while let Some(c) = rest.chars().next() {
        let taken = if let Some(hex) = rest.strip_prefix("\\x") {
            name.push(u8::from_str_radix(&hex[..2], 16).unwrap());
            4
        } else {
            assert!(c.is_ascii_graphic() && c != '\\', "{shown}");
            name.push(c as u8);
            1
        };
        rest = &rest[taken..];
    }
    name
}

/// The fsid of a handle: the bytes of the handle that it must come from, by `fs/nfsd/nfsfh.h`.
fn check_fsid(fsid: Fsid, handle: &[u8]) {
    assert_eq!(handle[0], 1, "the version");
    let len = [8, 4, 12, 8, 8, 8, 16, 24][usize::from(handle[2])];
    let rest = &handle[4..];
    match fsid {
        Fsid::Num(n) => assert_eq!(n.to_ne_bytes(), rest[..4]),
        Fsid::Uuid(uuid) => assert_eq!(uuid, rest[len - 16..len]),
        Fsid::Uuid8(half) => assert_eq!(half, rest[..8]),
        Fsid::Uuid4(quarter) => assert_eq!(quarter, rest[4..8]),
        Fsid::Dev { major, minor } => match handle[2] {
            0 => assert!(major < 1 << 16 && minor < 1 << 16),
            3 => assert!(major < 1 << 12 && minor < 1 << 20),
            kind => assert_eq!(kind, 2),
        },
    }
    // What comes behind the fsid makes no difference.
    let mut other = handle.to_vec();
    other.truncate(4 + len);
    other.push(!handle.last().copied().unwrap_or(0));
    assert_eq!(Fsid::of_handle(&other), Some(fsid));
}

/// A client sends a handle and a name.
pub fn clients(data: &[u8]) {
    if let Some(fsid) = Fsid::of_handle(data) {
        check_fsid(fsid, data);
        let shown = fsid.to_string();
        assert!(shown.bytes().all(|c| c.is_ascii_graphic()));
        // No device has a number that is too big for one.
        let is_big =
            matches!(fsid, Fsid::Dev { major, minor } if major > 0xfff || minor > 0xf_ffff);
        assert_eq!(Fsid::parse(&shown), Some(fsid).filter(|_| !is_big));
        // An admin can copy it, unless it is a form that file handles have only.
        if let Ok(scope) = Scope::parse(&shown) {
            assert!(scope == Scope::Export(fsid) && scope.has(&fsid));
        } else {
            let only = matches!(fsid, Fsid::Uuid8(_) | Fsid::Uuid4(_));
            assert!(only || is_big, "{shown}");
        }
    }
    let mut text = Text::default();
    text.name(data).unwrap();
    assert_eq!(unescaped(text.as_str()), data);
}
