// SPDX-License-Identifier: GPL-2.0

//! An admin who writes anything to the control files.
//!
//! An input is what is written, at once, to `nlm_unlock`, to `fsid_grace`, to `nlm_clients` and to `reclaim_clients`.

use crate::check_lists::check_lists;
use crate::nlm::seen::Recorded;
use crate::scopes::grace::GraceTable;
use crate::scopes::scope::{command, Fsid, Scope};
use crate::scopes::wish::{self, Wish, MAX_SECONDS};
use crate::Weak;
use kernel::prelude::*;
use std::net::IpAddr;

/// Is there something, and all of it as `is` wants? Parsers would take signs and spaces, too.
fn all(text: &str, is: impl Fn(u8) -> bool) -> bool {
    !text.is_empty() && text.bytes().all(is)
}

/// A number without a further 0 before it, up to `max`.
fn decimal(text: &str, max: u128) -> Option<u128> {
    let good = all(text, |c| c.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    let number = text.parse().ok().filter(|n| *n <= max);
    number.filter(|_| good)
}

/// How a scope is to be shown; `None` if it is none. The rules are those of docs/control.md.
pub(crate) fn shown(text: &str) -> Option<String> {
    if let Some(address) = text.strip_prefix("ip:") {
        let address: IpAddr = address.parse().ok()?;
        return Some(format!("ip:{}", address.to_canonical()));
    }
    if let Some(device) = text.strip_prefix("dev:") {
        let (major, minor) = device.split_once(':')?;
        let (major, minor) = (decimal(major, 0xfff)?, decimal(minor, 0xf_ffff)?);
        return Some(format!("dev:{major}:{minor}"));
    }
    if let Some(number) = decimal(text, u32::MAX.into()) {
        return Some(number.to_string());
    }
    if let Some(digits) = text
        .strip_prefix("0x")
        .filter(|d| all(d, |c| c.is_ascii_hexdigit()))
    {
        // A number may begin with any number of zeros here, if it is no longer than a UUID.
        let number = u32::from_str_radix(digits.trim_start_matches('0'), 16);
        let zero = digits.trim_start_matches('0').is_empty();
        let number = if zero { Some(0) } else { number.ok() };
        return number.filter(|_| text.len() < 32).map(|n| n.to_string());
    }
    let dashes = [8, 13, 18, 23];
    let dashed = text.len() == 36 && dashes.iter().all(|at| text.as_bytes()[*at] == b'-');
    let digits = if dashed {
        text.replace('-', "")
    } else {
        text.to_owned()
    };
    if digits.len() != 32 || !all(&digits, |c| c.is_ascii_hexdigit()) {
        return None;
    }
    let mut uuid = digits.to_ascii_lowercase();
    for at in dashes {
        uuid.insert(at, '-');
    }
    Some(uuid)
}

/// The one line of a write; `None` if there is none.
pub(crate) fn line(data: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(data).ok()?;
    let line = text.strip_suffix('\n').unwrap_or(text);
    all(line, |c| (b' '..=b'~').contains(&c)).then_some(line)
}

/// A scope that was taken.
fn check_scope(scope: Scope, text: &str) {
    let printed = scope.to_string();
    assert_eq!(Some(&printed), shown(text).as_ref());
    assert_eq!(Scope::parse(&printed), Ok(scope), "{printed}");
    let keys: Vec<_> = scope.keys().collect();
    for (n, key) in keys.iter().enumerate() {
        assert!(!keys[..n].contains(key), "{printed}");
    }
    match scope {
        Scope::Export(fsid) => assert!(scope.has(&fsid) && keys[0] == fsid.key()),
        Scope::Server(_) => assert_eq!(keys.len(), 1),
    }
}

/// A command of `fsid_grace` that was taken: printed it is the same, and it does what it says.
fn check_grace(scope: Scope, wish: Wish) {
    let printed = match wish {
        Wish::Grace { seconds, local } => {
            let seconds = seconds.map_or(String::new(), |seconds| format!(" {seconds}"));
            format!("{scope}{seconds}{}", if local { " local" } else { "" })
        }
        Wish::Listed => format!("{scope} listed"),
    };
    assert_eq!(wish::parse(&printed), Ok((scope, wish)));
    let Wish::Grace { seconds, local } = wish else {
        return;
    };
    assert!(!local || seconds != Some(0) && matches!(scope, Scope::Export(_)));
    assert!(seconds.is_none_or(|s| s <= MAX_SECONDS));
    let until = i64::from(seconds.unwrap_or(90));
    let mut table = GraceTable::with_room(Weak, 1).unwrap();
    assert_eq!(table.start(0, 1, &scope, until), Ok(false));
    let listed: Vec<_> = table.list(0, 1).map(|e| (e.scope, e.left(0))).collect();
    let wanted: Vec<_> = (until > 0).then_some((scope, until)).into_iter().collect();
    assert_eq!(listed, wanted);
    let device = Fsid::Dev { major: 8, minor: 1 };
    table.keep_out(1, &scope, Some(device).filter(|_| local));
    assert_eq!(table.keeps_out(0, &device), local);
    assert!(!table.keeps_out(until, &device));
    table.end(1, &scope);
    let deadlines = (table.deadline(), table.local_deadline());
    assert_eq!((deadlines, table.list(0, 1).count()), ((0, 0), 0));
}

/// An admin writes.
pub fn commands(data: &[u8]) {
    check_lists(data);
    let Some(line) = line(data) else {
        assert_eq!(command(data), Err(EINVAL));
        return;
    };
    assert_eq!(command(data), Ok(line));
    match Scope::parse(line) {
        Ok(scope) => check_scope(scope, line),
        Err(e) => assert_eq!((e, shown(line)), (EINVAL, None)),
    }
    let (rest, local) = match line.strip_suffix(" local") {
        Some(rest) => (rest, true),
        None => (line, false),
    };
    let (scope, seconds) = match rest.split_once(' ') {
        Some((scope, seconds)) => (scope, Some(seconds)),
        None => (rest, None),
    };
    // Seconds may begin with zeros, which nobody takes for octal.
    let number =
        seconds.map(|digits| all(digits, |c| c.is_ascii_digit()).then(|| digits.parse().ok()));
    let number = number.map(|n: Option<Option<u32>>| n.flatten().filter(|n| *n <= MAX_SECONDS));
    let wish = match (seconds, number) {
        (Some("listed"), _) => Some(Wish::Listed).filter(|_| !local),
        (_, Some(None)) => None,
        (_, Some(Some(0))) if local => None,
        _ if local && scope.starts_with("ip:") => None,
        (_, number) => Some(Wish::Grace {
            seconds: number.flatten(),
            local,
        }),
    };
    match wish::parse(line) {
        Ok((got, got_wish)) => {
            assert_eq!((Ok(got), Some(got_wish)), (Scope::parse(scope), wish));
            check_grace(got, got_wish);
        }
        Err(e) => assert!(e == EINVAL && (shown(scope).is_none() || wish.is_none())),
    }
    let (number, wish) = line.split_once(' ').unwrap_or((line, "news"));
    let number: Option<u64> = all(number, |c| c.is_ascii_digit())
        .then(|| number.parse().ok())
        .flatten();
    let is_good = wish == "news" || wish.starts_with("news except ");
    let got = Recorded::parse(line).ok().map(|said| said.sequence);
    assert_eq!(got, number.filter(|_| is_good));
}
