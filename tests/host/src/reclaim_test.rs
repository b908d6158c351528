// SPDX-License-Identifier: GPL-2.0

//! The lists of clients that may reclaim, and who a client is.

use crate::base::index::KeyedHash;
use crate::nfs4::identity;
use crate::nfs4::reclaim::*;
use crate::nfs4::record::Client;
use crate::nfs4::records::Progress;
use crate::scopes::grace::Subject;
use crate::scopes::place::Place;
use crate::scopes::scope::{Fsid, Scope};
use kernel::code::EINVAL;
use proptest::prelude::*;
use std::net::IpAddr;

/// Every name in one slot.
#[derive(Clone, Copy)]
struct Same;

impl KeyedHash for Same {
    fn hash(&self, _: &[u8]) -> u64 {
        42
    }
}

const NET: u64 = 1;

fn scope(fsid: u32) -> Scope {
    Scope::Export(Fsid::Num(fsid))
}

fn about(fsid: u32) -> Subject {
    Subject {
        files: [Place::of_handle(Some(Fsid::Num(fsid))), Place::default()],
        ..Subject::default()
    }
}

/// Lists of the clients `a` and `b`, of scope 1.
fn lists() -> Lists<Same> {
    let mut lists = Lists::new();
    for name in [b"a", b"b"] {
        let client = Client { name, hash: b"" };
        lists.add(NET, &scope(1), client, Same).unwrap();
    }
    lists
}

/// The scopes that end when these clients finish, in this order.
fn ended(lists: &mut Lists<Same>, subject: Option<&Subject>, names: &[&[u8]]) -> Vec<Scope> {
    let mut ended = Vec::new();
    for name in names {
        lists.complete(NET, subject, &[*name], None, |scope| ended.push(*scope));
    }
    ended
}

#[test]
fn only_who_is_listed_may_reclaim_and_only_there() {
    let mut lists = lists();
    let mut may = |net, fsid, name: &[u8], in_grace| {
        lists.claim(net, &about(fsid), |_| in_grace, &[name], None) == Claim::May
    };
    assert!(may(NET, 1, b"a", true));
    assert!(!may(NET, 1, b"a", false));
    assert!(!may(NET, 1, b"c", true));
    assert!(!may(NET, 2, b"a", true));
    assert!(!may(NET + 1, 1, b"a", true));
    let progress: Vec<_> = lists
        .clients(NET)
        .map(|(_, client, p)| (client.name, p))
        .collect();
    assert_eq!(
        progress,
        [(&b"a"[..], Progress::Reclaimed), (b"b", Progress::Waiting)]
    );
    assert_eq!(lists.clients(NET + 1).count(), 0);
}

#[test]
fn a_listed_principal_must_be_the_clients() {
    let mut lists = Lists::new();
    let client = Client {
        name: b"a",
        hash: &[7; 32],
    };
    lists.add(NET, &scope(1), client, Same).unwrap();
    lists.close(NET, &scope(1), Same).unwrap();
    let mut claim = |principal| lists.claim(NET, &about(1), |_| true, &[b"a"], principal);
    assert_eq!(claim(None), Claim::Unlisted);
    assert_eq!(claim(Some(&[8; 32])), Claim::Unlisted);
    assert_eq!(claim(Some(&[7; 32])), Claim::May);
    // As for claiming, so for finishing.
    let mut ended = Vec::new();
    for principal in [None, Some(&[8; 32][..])] {
        let again = lists.complete(NET, None, &[b"a"], principal, |s| ended.push(*s));
        assert!(!again && ended.is_empty());
    }
    lists.complete(NET, None, &[b"a"], Some(&[7; 32]), |s| ended.push(*s));
    assert_eq!(ended, [scope(1)]);
}

#[test]
fn who_has_finished_a_file_system_is_told_so() {
    let mut lists = lists();
    let claim = |lists: &mut Lists<Same>| lists.claim(NET, &about(1), |_| true, &[b"a"], None);
    let complete = |lists: &mut Lists<Same>, fsid, name: &[u8]| {
        lists.complete(NET, Some(&about(fsid)), &[name], None, |_| ())
    };
    // What it has finished elsewhere is nothing here.
    assert!(!complete(&mut lists, 2, b"a"));
    assert!(!complete(&mut lists, 2, b"a"));
    assert_eq!(claim(&mut lists), Claim::May);
    assert!(!complete(&mut lists, 1, b"a"));
    assert_eq!(claim(&mut lists), Claim::Finished);
    assert!(complete(&mut lists, 1, b"a"));
    assert!(!complete(&mut lists, 1, b"b"));
    // Who is not listed has nothing to finish.
    assert!(!complete(&mut lists, 1, b"c"));
    assert!(!complete(&mut lists, 1, b"c"));
    // Another scope with the same file waits for it.
    let client = Client {
        name: b"a",
        hash: b"",
    };
    let address = Scope::Server(IpAddr::from([192, 0, 2, 1]));
    lists.add(NET, &address, client, Same).unwrap();
    let both = Subject {
        server: Some(IpAddr::from([192, 0, 2, 1])),
        ..about(1)
    };
    assert_eq!(lists.claim(NET, &both, |_| true, &[b"a"], None), Claim::May);
    assert!(!lists.complete(NET, Some(&both), &[b"a"], None, |_| ()));
    assert!(lists.complete(NET, Some(&both), &[b"a"], None, |_| ()));
}

#[test]
fn a_scope_ends_when_all_have_finished_and_nobody_else_is_expected() {
    assert_eq!(ended(&mut lists(), None, &[b"a", b"b"]), []);
    let mut closed = lists();
    assert!(!closed.close(NET, &scope(1), Same).unwrap());
    assert_eq!(ended(&mut closed, None, &[b"a", b"a", b"c"]), []);
    assert_eq!(ended(&mut closed, None, &[b"b", b"b", b"a"]), [scope(1)]);

    let mut late = lists();
    assert_eq!(ended(&mut late, None, &[b"a", b"b"]), []);
    assert!(late.close(NET, &scope(1), Same).unwrap());

    let mut nobody = Lists::new();
    assert!(nobody.close(NET, &scope(9), Same).unwrap());
}

#[test]
fn one_file_system_is_no_other() {
    let mut lists = lists();
    let client = Client {
        name: b"a",
        hash: b"",
    };
    lists.add(NET, &scope(2), client, Same).unwrap();
    for fsid in [1, 2] {
        lists.close(NET, &scope(fsid), Same).unwrap();
    }
    assert_eq!(
        ended(&mut lists, Some(&about(2)), &[b"b", b"a"]),
        [scope(2)]
    );
    assert_eq!(ended(&mut lists, Some(&about(1)), &[b"a"]), []);
    assert_eq!(ended(&mut lists, None, &[b"b"]), [scope(1)]);
}

#[test]
fn lists_are_forgotten() {
    let mut lists = lists();
    lists.retain(|net, one| (net, one) != (NET, &scope(1)));
    let claim = lists.claim(NET, &about(1), |_| true, &[b"a"], None);
    assert_eq!(claim, Claim::Unlisted);
}

#[test]
fn lines_are_read() {
    let hash = "0123456789abcdefABCDEF".to_string() + &"0".repeat(42);
    let text = format!("1234 plain\n0x4d2 a\\040b\\134 {hash}\nip:192.0.2.1 \\x00fF\n");
    let lines = parse(text.as_bytes()).unwrap();
    let seen: Vec<_> = lines
        .iter()
        .map(|l| (l.scope.to_string(), l.client()))
        .collect();
    let bytes = [
        0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0xab, 0xcd, 0xef,
    ];
    let bytes: Vec<u8> = bytes.into_iter().chain([0; 21]).collect();
    let none = b"";
    assert_eq!(
        seen[0],
        (
            "1234".into(),
            Client {
                name: b"plain",
                hash: none
            }
        )
    );
    assert_eq!(
        seen[1],
        (
            "1234".into(),
            Client {
                name: b"a b\\",
                hash: &bytes
            }
        )
    );
    assert_eq!(
        seen[2],
        (
            "ip:192.0.2.1".into(),
            Client {
                name: &[0, 0xff],
                hash: none
            }
        )
    );
    assert_eq!(seen.len(), 3);
}

#[test]
fn other_lines_are_refused() {
    let long = format!("1 {}", "m".repeat(1025));
    for text in [
        "",
        "\n",
        "1",
        "1 ",
        " 1 m",
        "1  m",
        "1 m ",
        "1 m x",
        "1 m 0",
        "x m",
        "1 m\\",
        "1 m\\x41",
        "1 m\\40",
        "1 m\\400",
        "1 m\\08",
        "1 \\x",
        "1 \\x4",
        "1 \\x4g",
        "1 \\x+4",
        "1 m\n\n",
        "1 m\n1",
        "1 m\n\n1 m",
        &long,
        &format!("1 m {}", "0".repeat(62)),
        &format!("1 m {} x", "0".repeat(64)),
    ] {
        assert_eq!(parse(text.as_bytes()).err(), Some(EINVAL), "{text:?}");
    }
}

#[test]
fn a_floating_address_is_part_of_the_name() {
    for (address, name) in [
        ("192.0.2.1", "o@192.0.2.1"),
        ("2001:db8::1", "o@2001:db8::1"),
        ("2001:db8:1:2:3:4:5:6", "o@2001:db8:1:2:3:4:5:6"),
    ] {
        let address: IpAddr = address.parse().unwrap();
        let at = identity::at(b"o", address).unwrap().unwrap();
        assert_eq!(&*at, name.as_bytes());
        assert_eq!(identity::owner(&at, address), Some(&b"o"[..]));
        assert_eq!(identity::owner(b"o", address), None);
    }
    let address = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff".parse().unwrap();
    assert_eq!(
        identity::at(b"o", address).unwrap().unwrap().len(),
        1 + 1 + 39
    );
    let at = |len| identity::at(&vec![b'o'; len], address).unwrap();
    assert!(at(1024 - 40).is_some());
    assert!(at(1024 - 39).is_none());
}

proptest! {
    /// A name as nfsd's caches write it, and as hexadecimal digits.
    #[test]
    fn names_are_read_back(name in prop::collection::vec(any::<u8>(), 1..1024)) {
        let octal: String = name.iter().map(|b| match b {
            b'!'..=b'[' | b']'..=b'~' => char::from(*b).to_string(),
            _ => format!("\\{b:03o}"),
        }).collect();
        let hex: String = name.iter().map(|b| format!("{b:02x}")).collect();
        for text in [format!("1 {octal}"), format!("1 \\x{hex}\n")] {
            let lines = parse(text.as_bytes()).unwrap();
            prop_assert_eq!(lines[0].client().name, &*name);
        }
    }
}
