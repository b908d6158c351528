// SPDX-License-Identifier: GPL-2.0

//! The lists of clients that may reclaim, and who a client is.

use crate::base::amount::Amount;
use crate::base::index::KeyedHash;
use crate::nfs4::identity;
use crate::nfs4::reclaim::*;
use crate::nfs4::reclaim_line::{parse, Line, NlmClient, Who};
use crate::nfs4::record::Client;
use crate::scopes::place::Place;
use crate::scopes::scope::{Fsid, Scope};
use crate::scopes::subject::Subject;
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

/// Lists with these lines.
fn listed(lines: &str) -> Lists<Same> {
    let mut lists = Lists::new();
    add(&mut lists, lines);
    lists
}

/// Adds lines.
fn add(lists: &mut Lists<Same>, lines: &str) {
    for line in &parse(lines.as_bytes()).unwrap() {
        lists.add(NET, line, Same).unwrap();
    }
}

/// Lists of the clients `a` and `b`, of scope 1.
fn lists() -> Lists<Same> {
    listed("1 a\n1 b")
}

/// Who is listed for scope 1, and how far: the lines as they are shown.
fn shown(lists: &Lists<Same>) -> Vec<String> {
    let mut all = Vec::new();
    let each = |_: &Scope, who: Listed<'_>, holds: Option<Amount>, progress| {
        let who = match who {
            Listed::Nfs4(client) => String::from_utf8(client.name.to_vec()).unwrap(),
            Listed::Nlm(client) => format!("nlm {}", client.client),
        };
        let holds = holds.map_or(String::new(), |holds| format!(" {holds}"));
        all.push(format!("{who}{holds} {progress:?}"));
        Ok::<_, ()>(())
    };
    lists.each(NET, each).unwrap();
    all
}

/// A client reclaims something in scope 1.
fn claim(lists: &mut Lists<Same>, name: &[u8]) -> Claim {
    lists.claim(NET, &about(1), |_| true, &[name], None)
}

/// A tick, with a look if it is time for one, that finds these. Returns who was looked for, and whether all is over.
fn tick(lists: &mut Lists<Same>, reclaims: u64, found: &[&str]) -> (Vec<String>, bool) {
    let (mut looked_for, mut over) = (Vec::new(), false);
    for mut wanted in lists.wanted(NET, |_| reclaims).unwrap() {
        for one in &mut wanted.nfs4 {
            let name = String::from_utf8(one.client.get().name.to_vec()).unwrap();
            one.found = found.contains(&&*name);
            looked_for.push(name);
        }
        for one in &mut wanted.nlm {
            let name = one.client.client.to_string();
            one.found = found.contains(&&*name);
            looked_for.push(name);
        }
        over |= lists.found(&wanted, true);
    }
    (looked_for, over)
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
    assert_eq!(shown(&lists), ["a Reclaimed", "b Waiting"]);
    lists
        .each(NET + 1, |_, _, _, _| Err("another namespace"))
        .unwrap();
}

#[test]
fn a_listed_principal_must_be_the_clients() {
    let mut lists = listed(&format!("1 a {}", "07".repeat(32)));
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
    add(&mut lists, "ip:192.0.2.1 a");
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
    add(&mut lists, "2 a");
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

/// The client of NFSv4 in a line.
fn client(line: &Line) -> Client<'_> {
    match &line.who {
        Who::Nfs4(name, hash) => Client { name, hash },
        Who::Nlm(_) => panic!("a client of NLM"),
    }
}

#[test]
fn who_cannot_say_so_has_finished_when_all_is_back() {
    let lines = "1 a holds=5\n1 nlm 192.0.2.1 192.0.2.7 4 holds=3\n1 b";
    let mut lists = listed(lines);
    assert!(!lists.waits(NET));
    assert_eq!(tick(&mut lists, 0, &["a"]), (vec![], false));
    lists.close(NET, &scope(1), Same).unwrap();
    assert!(lists.waits(NET) && !lists.waits(NET + 1));
    // Who has reclaimed nothing is not looked for, and NLM does not say who has.
    assert_eq!(tick(&mut lists, 0, &[]), (vec!["192.0.2.7".into()], false));
    assert_eq!(claim(&mut lists, b"a"), Claim::May);
    // Not as long as somebody reclaims.
    assert_eq!(tick(&mut lists, 1, &["a"]).0, Vec::<String>::new());
    assert_eq!(tick(&mut lists, 2, &["a"]).0, Vec::<String>::new());
    assert_eq!(
        tick(&mut lists, 2, &["a"]),
        (vec!["a".into(), "192.0.2.7".into()], false)
    );
    assert_eq!(
        shown(&lists),
        ["a 5 Complete", "b Waiting", "nlm 192.0.2.7 3 Waiting"]
    );
    // It may go on, which another server's records may want.
    assert_eq!(claim(&mut lists, b"a"), Claim::May);
    assert_eq!(shown(&lists)[0], "a 5 Complete");
    // More and more seldom.
    let looks: Vec<_> = (2..=64)
        .filter(|_| !tick(&mut lists, 2, &[]).0.is_empty())
        .collect();
    assert_eq!(looks, [2, 4, 8, 16, 32, 64]);
    assert_eq!(tick(&mut lists, 3, &[]).0.len(), 0);
    assert_eq!(
        tick(&mut lists, 3, &["192.0.2.7"]),
        (vec!["192.0.2.7".into()], false)
    );
    assert!(!lists.waits(NET));
    assert_eq!(ended(&mut lists, None, &[b"b"]), [scope(1)]);
}

#[test]
fn the_last_one_who_is_back_ends_it() {
    for last_by_count in [false, true] {
        let mut lists = listed("1 a holds=5\n1 b");
        lists.close(NET, &scope(1), Same).unwrap();
        claim(&mut lists, b"a");
        if last_by_count {
            assert_eq!(ended(&mut lists, None, &[b"b"]), []);
            assert_eq!(tick(&mut lists, 0, &["a"]), (vec!["a".into()], true));
        } else {
            assert_eq!(tick(&mut lists, 0, &["a"]), (vec!["a".into()], false));
            assert_eq!(ended(&mut lists, None, &[b"b"]), [scope(1)]);
        }
    }
    // In both ways, it is one client nevertheless.
    let mut lists = listed("1 a holds=5\n1 b");
    lists.close(NET, &scope(1), Same).unwrap();
    claim(&mut lists, b"a");
    assert!(!tick(&mut lists, 0, &["a"]).1);
    assert_eq!(ended(&mut lists, None, &[b"a", b"a"]), []);
    assert_eq!(ended(&mut lists, None, &[b"b"]), [scope(1)]);
}

#[test]
fn a_line_that_comes_again_may_say_more() {
    let nlm = "1 nlm 192.0.2.1 192.0.2.7 4";
    let mut lists = listed("1 a");
    add(&mut lists, nlm);
    lists.close(NET, &scope(1), Same).unwrap();
    assert!(!lists.waits(NET));
    for (more, wanted) in [
        ("holds=0", "0 Complete"),
        ("holds=7", "7 Waiting"),
        ("holds=2", "7 Waiting"),
    ] {
        add(&mut lists, &format!("1 a {more}\n{nlm} {more}"));
        assert_eq!(
            shown(&lists),
            [format!("a {wanted}"), format!("nlm 192.0.2.7 {wanted}")]
        );
    }
    add(&mut lists, "1 a");
    claim(&mut lists, b"a");
    let mut wanted = lists.wanted(NET, |_| 0).unwrap();
    // Meanwhile it is said that there was more.
    add(&mut lists, "1 a holds=8");
    (wanted[0].nfs4[0].found, wanted[0].nlm[0].found) = (true, true);
    assert!(!lists.found(&wanted[0], true));
    assert_eq!(shown(&lists), ["a 8 Reclaimed", "nlm 192.0.2.7 7 Complete"]);
    // The list is another one meanwhile.
    lists.retain(|_, _| false);
    add(&mut lists, "1 a holds=7");
    lists.close(NET, &scope(1), Same).unwrap();
    assert!(!lists.found(&wanted[0], true));
    assert_eq!(shown(&lists), ["a 7 Waiting"]);
    // All who held nothing have it.
    let mut nothing = listed(&format!("1 a holds=0\n{nlm} holds=0"));
    assert!(nothing.close(NET, &scope(1), Same).unwrap());
}

#[test]
fn amounts_are_what_is_covered() {
    let range = |first, last| Amount::of_range((first, last));
    let mut pieces = range(0, 9);
    pieces += range(10, 10);
    assert_eq!(pieces, range(5, 15));
    assert_eq!(range(0, i64::MAX).to_string(), "8000000000000000");
    let mut two = range(0, i64::MAX);
    two += range(0, i64::MAX);
    assert_eq!(two.to_string(), "10000000000000000");
    assert!(Amount::of_modes(1, 0) < Amount::of_modes(3, 0));
    assert_eq!(Amount::of_modes(3, 2).to_string(), "4");
    for good in ["0", "5f", "F", &"f".repeat(32)] {
        let shown = Amount::parse(good).unwrap().to_string();
        assert_eq!(shown, good.to_lowercase());
    }
    for bad in ["", "g", "+1", " 1", &"f".repeat(33)] {
        assert_eq!(Amount::parse(bad), None);
    }
}

#[test]
fn lines_of_nlm_are_read() {
    let text = "1 nlm 2001:db8::1 ::ffff:192.0.2.7 3 holds=1F\n1 nlm\n1 nlm holds=2\n1 holds=3";
    let lines = parse(text.as_bytes()).unwrap();
    let Who::Nlm(one) = lines[0].who else {
        panic!("none of NLM");
    };
    let wanted = NlmClient {
        server: "2001:db8::1".parse().unwrap(),
        client: "192.0.2.7".parse().unwrap(),
        version: 3,
    };
    assert_eq!((one, lines[0].holds), (wanted, Amount::parse("1f")));
    let rest: Vec<_> = lines[1..]
        .iter()
        .map(|line| (client(line).name, line.holds))
        .collect();
    assert_eq!(
        rest,
        [
            (&b"nlm"[..], None),
            (b"nlm", Amount::parse("2")),
            (b"holds=3", None)
        ]
    );
}

#[test]
fn lines_are_read() {
    let hash = "0123456789abcdefABCDEF".to_string() + &"0".repeat(42);
    let text = format!("1234 plain\n0x4d2 a\\040b\\134 {hash}\nip:192.0.2.1 \\x00fF\n");
    let lines = parse(text.as_bytes()).unwrap();
    let seen: Vec<_> = lines
        .iter()
        .map(|l| (l.scope.to_string(), client(l)))
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
        "1 m holds=",
        "1 m holds=1 ",
        "1 m holds=1 holds=1",
        "1 nlm 192.0.2.1 192.0.2.7",
        "1 nlm 192.0.2.1 192.0.2.7 2",
        "1 nlm 192.0.2.1 192.0.2.7 4 x",
        "1 nlm 192.0.2.1 192.0.2.300 4",
        "1 nlm  192.0.2.1 192.0.2.7 4",
        "1 mln 192.0.2.1 192.0.2.7 4",
        "1 nlm 192.0.2.1 192.0.2.7 4 holds=0x1",
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
            prop_assert_eq!(client(&lines[0]).name, &*name);
        }
    }
}
