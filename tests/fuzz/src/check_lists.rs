// SPDX-License-Identifier: GPL-2.0

//! An admin who writes anything to `reclaim_clients`.

use crate::base::text::Text;
use crate::check_commands::{line, shown};
use crate::nfs4::reclaim_line::{self, NlmClient, Who};
use core::fmt::Write;
use kernel::prelude::*;
use std::net::IpAddr;

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

/// What a line says: who is listed for which scope, as it is to be shown, and how much it held.
#[derive(Debug, PartialEq)]
struct Said {
    scope: String,
    nfs4: Option<(Vec<u8>, Vec<u8>)>,
    nlm: Option<NlmClient>,
    holds: Option<u128>,
}

/// A number of hexadecimal digits.
fn amount(digits: &str) -> Option<u128> {
    let good = !digits.is_empty() && digits.bytes().all(|c| c.is_ascii_hexdigit());
    (good && digits.len() <= 32).then(|| u128::from_str_radix(digits, 16).unwrap())
}

/// An address, one of IPv4 in IPv6 as one of IPv4.
fn address(word: &str) -> Option<IpAddr> {
    word.parse()
        .ok()
        .map(|address: IpAddr| address.to_canonical())
}

/// What a line says, as docs/moving.md has it.
fn wanted(data: &[u8]) -> Option<Said> {
    // What ends a line has been taken away: another newline is none.
    let line = line(data).filter(|line| line.len() == data.len())?;
    let mut words: Vec<_> = line.split(' ').collect();
    let mut holds = None;
    if let [_, _, .., last] = words[..] {
        if let Some(digits) = last.strip_prefix("holds=") {
            holds = Some(amount(digits)?);
            words.pop();
        }
    }
    let (mut nfs4, mut nlm) = (None, None);
    match words[..] {
        [_, id] => nfs4 = Some((name(id)?, Vec::new())),
        [_, id, digits] => {
            nfs4 = Some((name(id)?, hex(digits).filter(|hash| hash.len() == 32)?));
        }
        [_, "nlm", server, client, version] => {
            nlm = Some(NlmClient {
                server: address(server)?,
                client: address(client)?,
                version: ["1", "3", "4"]
                    .contains(&version)
                    .then(|| version.parse().unwrap())?,
            });
        }
        _ => return None,
    }
    if nfs4
        .as_ref()
        .is_some_and(|(name, _)| !(1..=1024).contains(&name.len()))
    {
        return None;
    }
    Some(Said {
        scope: shown(words[0])?,
        nfs4,
        nlm,
        holds,
    })
}

/// What was read of a command.
fn read(data: &[u8]) -> Result<Vec<Said>> {
    let said = |line: &reclaim_line::Line| {
        let (nfs4, nlm) = match &line.who {
            Who::Nfs4(name, hash) => (Some((name.to_vec(), hash.to_vec())), None),
            Who::Nlm(client) => (None, Some(*client)),
        };
        Said {
            scope: line.scope.to_string(),
            nfs4,
            nlm,
            holds: line
                .holds
                .map(|holds| u128::from_str_radix(&holds.to_string(), 16).unwrap()),
        }
    };
    Ok(reclaim_line::parse(data)?.iter().map(said).collect())
}

/// An admin writes: all lines are as they should be, or nothing is taken.
pub(crate) fn check_lists(data: &[u8]) {
    let lines = data
        .strip_suffix(b"\n")
        .unwrap_or(data)
        .split(|c| *c == b'\n');
    let wanted: Option<Vec<_>> = lines.map(wanted).collect();
    let seen = match read(data) {
        Err(e) => {
            assert_eq!((e, wanted), (EINVAL, None));
            return;
        }
        Ok(seen) => seen,
    };
    assert_eq!(Some(&seen), wanted.as_ref());
    // What is shown can be written again.
    for one in &seen {
        let mut text = Text::default();
        match (&one.nfs4, &one.nlm) {
            (Some((name, hash)), _) => {
                text.word(name).unwrap();
                if !hash.is_empty() {
                    text.write_str(" ").unwrap();
                    text.hex(hash).unwrap();
                }
            }
            (_, Some(nlm)) => {
                write!(text, "nlm {} {} {}", nlm.server, nlm.client, nlm.version).unwrap();
            }
            _ => unreachable!(),
        }
        if let Some(holds) = one.holds {
            write!(text, " holds={holds:x}").unwrap();
        }
        let again = format!("{} {}\n", one.scope, text.as_str());
        assert_eq!(&read(again.as_bytes()).unwrap()[0], one);
    }
}
