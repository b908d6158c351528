// SPDX-License-Identifier: GPL-2.0
//! What must hold of exports, whatever is written: see [`crate::laws`].

use super::*;

/// What was read is written so that it is read as the same, by us and by exportfs.
fn is_read_back(export: &Export) {
    assert!(export.path.is_absolute());
    assert_eq!(from_word(&word(export)).as_ref(), Ok(export));
    let spec = export.spec();
    assert!(!spec.as_bytes().starts_with(b"-"));
    if let Some(spec) = spec.to_str() {
        let text = format!("{spec}({})", export.options);
        assert_eq!(text.parse().as_ref(), Ok(export));
    }
    if let Some(fsid) = export.fsid() {
        assert_eq!(fsid.to_string().parse(), Ok(fsid));
    }
}

/// Lines of rpc.mountd's table.
pub fn etab(bytes: &[u8]) {
    let lines = bytes.split(|byte| *byte == b'\n');
    lines
        .filter_map(Export::parse)
        .for_each(|export| is_read_back(&export));
}

/// A word of a list.
pub fn word_of_list(text: &str) {
    if let Ok(export) = from_word(text) {
        is_read_back(&export);
    }
}

/// What an admin writes.
pub fn spec(text: &str) {
    if let Ok(export) = text.parse() {
        is_read_back(&export);
    }
}

/// The kernel's caches, by the first byte.
pub fn caches(bytes: &[u8]) {
    let [which, lines @ ..] = bytes else { return };
    let cache = caches::NAMES[usize::from(which % 2)];
    for known in lines
        .split(|byte| *byte == b'\n')
        .filter_map(|line| caches::parse(cache, line))
    {
        assert!(known.path.is_absolute());
        if let Some(fsid) = known.fsid {
            assert_eq!(fsid.to_string().parse(), Ok(fsid));
        }
    }
}
