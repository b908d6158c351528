// SPDX-License-Identifier: GPL-2.0

//! An admin who writes anything to `reclaim_clients`.

use crate::base::text::Text;
use crate::check_commands::{line, shown};
use crate::nfs4::reclaim;
use kernel::prelude::*;

/// The bytes that pairs of hexadecimal digits stand for.
fn hex(digits: &str) -> Option<Vec<u8>> {
    let good = !digits.is_empty() && digits.bytes().all(|c| c.is_ascii_hexdigit());
    if !good || digits.len() % 2 != 0 {
        return None;
    }
    let pairs = (0..digits.len()).step_by(2).map(|at| &digits[at..at + 2]);
    pairs
        .map(|pair| u8::from_str_radix(pair, 16).ok())
        .collect()
}

/// The name that a word stands for, as docs/moving.md says.
fn name(word: &str) -> Option<Vec<u8>> {
    if let Some(digits) = word.strip_prefix("\\x") {
        return hex(digits);
    }
    let mut parts = word.split('\\');
    let mut name = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let digits = part
            .get(..3)
            .filter(|d| d.bytes().all(|c| c.is_ascii_digit()))?;
        name.push(u8::from_str_radix(digits, 8).ok()?);
        name.extend_from_slice(&part.as_bytes()[3..]);
    }
    Some(name)
}

/// A line: the scope as it is to be shown, the client's name and its principal's hash.
fn wanted(data: &[u8]) -> Option<(String, Vec<u8>, Vec<u8>)> {
    // What ends a line has been taken away: another newline is none.
    let line = line(data).filter(|line| line.len() == data.len())?;
    let words: Vec<_> = line.split(' ').collect();
    let hash = match words[..] {
        [_, _] => Vec::new(),
        [_, _, digits] => hex(digits).filter(|hash| hash.len() == 32)?,
        _ => return None,
    };
    let name = name(words[1]).filter(|name| (1..=1024).contains(&name.len()))?;
    Some((shown(words[0])?, name, hash))
}

/// An admin writes: all lines are as they should be, or nothing is taken.
pub(crate) fn check_lists(data: &[u8]) {
    let lines = data
        .strip_suffix(b"\n")
        .unwrap_or(data)
        .split(|c| *c == b'\n');
    let wanted: Option<Vec<_>> = lines.map(wanted).collect();
    let got = reclaim::parse(data);
    let Ok(got) = got else {
        assert_eq!((got.err(), wanted), (Some(EINVAL), None));
        return;
    };
    let seen: Vec<_> = got
        .iter()
        .map(|line| {
            let client = line.client();
            (
                line.scope.to_string(),
                client.name.to_vec(),
                client.hash.to_vec(),
            )
        })
        .collect();
    assert_eq!(Some(&seen), wanted.as_ref());
    // What is shown can be written again.
    for (scope, name, _) in &seen {
        let mut text = Text::default();
        text.word(name).unwrap();
        let again = reclaim::parse(format!("{scope} {}\n", text.as_str()).as_bytes()).unwrap();
        assert_eq!(again[0].client().name, name);
    }
}
