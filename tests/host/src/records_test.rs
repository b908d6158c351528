// SPDX-License-Identifier: GPL-2.0

//! The table of records, against a map.

use crate::base::index::KeyedHash;
use crate::nfs4::identity::Since;
use crate::nfs4::record::Client;
use crate::nfs4::records::*;
use kernel::prelude::*;
use proptest::prelude::*;
use std::collections::HashMap;
use std::net::IpAddr;

/// FNV-1a: good enough to spread names, and the same on each run.
struct Fnv;

impl KeyedHash for Fnv {
    fn hash(&self, name: &[u8]) -> u64 {
        name.iter().fold(0xcbf2_9ce4_8422_2325, |h, b| {
            (h ^ u64::from(*b)).wrapping_mul(0x100_0000_01b3)
        })
    }
}

/// The worst hash: every name in one slot.
struct Same;

impl KeyedHash for Same {
    fn hash(&self, _: &[u8]) -> u64 {
        42
    }
}

fn client<'a>(name: &'a [u8], hash: &'a [u8]) -> Client<'a> {
    Client { name, hash }
}

#[test]
fn empty_table_knows_nobody() {
    let mut table = RecordTable::new(Fnv);
    assert!(!table.claim(b"a", None));
    assert!(!table.complete(b"a", None));
    assert_eq!(table.counts(), Counts::default());
}

#[test]
fn a_client_is_known_by_its_former_name() {
    let floats = IpAddr::from([192, 0, 2, 7]);
    let now = |address| (address == floats).then_some(Since::Unknown);
    let lately = |address| (address == floats).then_some(Since::LastRun);
    let never = |_| None;
    let former =
        |table: &RecordTable<Fnv>, name: &[u8], since: &dyn Fn(IpAddr) -> Option<Since>| {
            let name = table.former_name(name, since).unwrap();
            name.map(|name| String::from_utf8(name.to_vec()).unwrap())
        };
    let plain = Some("plain".to_string());
    // An address is floating that was not.
    let mut table = RecordTable::new(Fnv);
    table.insert(client(b"plain", b""), true).unwrap();
    table.insert(client(b"other@10.0.0.1", b""), true).unwrap();
    assert_eq!(former(&table, b"plain@192.0.2.7", &now), plain);
    assert_eq!(former(&table, b"plain@192.0.2.7", &never), None);
    assert_eq!(former(&table, b"nobody@192.0.2.7", &now), None);
    let no_address = former(&table, b"plain@192.0.2.07", &now);
    assert_eq!(no_address, None);
    assert_eq!(former(&table, b"plain", &now), None, "it is there");
    // One is floating no more, however many others there are.
    for i in 0..200 {
        let name = format!("other@192.0.2.{}", i + 10);
        table.insert(client(name.as_bytes(), b""), true).unwrap();
    }
    let but_one = |address| (address != IpAddr::from([10, 0, 0, 1])).then_some(Since::Unknown);
    let other = former(&table, b"other", &but_one);
    assert_eq!(other.as_deref(), Some("other@10.0.0.1"));
    let all = |_| Some(Since::Unknown);
    assert_eq!(former(&table, b"other", &all), None);
    assert_eq!(former(&table, b"nobody", &never), None);
    // Names on record have the address: then, who has not is somebody else, unless it became floating while the server ran.
    table.insert(client(b"third@192.0.2.7", b""), true).unwrap();
    assert_eq!(former(&table, b"plain@192.0.2.7", &now), None);
    assert_eq!(former(&table, b"plain@192.0.2.7", &lately), plain);
    table.clear();
    table.insert(client(b"plain", b""), true).unwrap();
    assert_eq!(former(&table, b"plain@192.0.2.7", &now), plain);
}

#[test]
fn a_name_counts_once() {
    let mut table = RecordTable::new(Fnv);
    for _ in 0..3 {
        table.insert(client(b"a", b""), true).unwrap();
    }
    assert!(table.claim(b"a", None) && table.claim(b"a", None));
    assert_eq!(
        table.counts(),
        Counts {
            known: 1,
            reclaimed: 1,
            complete: 0
        }
    );
}

#[test]
fn a_prefix_is_another_name() {
    let mut table = RecordTable::new(Fnv);
    table.insert(client(b"ab", b""), true).unwrap();
    assert!(!table.claim(b"a", None) && !table.claim(b"abc", None) && !table.claim(b"", None));
}

#[test]
fn the_principal_must_be_the_one_on_record() {
    let mut table = RecordTable::new(Fnv);
    table.insert(client(b"krb", &[7; 32]), true).unwrap();
    table.insert(client(b"sys", b""), true).unwrap();
    assert!(!table.claim(b"krb", None));
    assert!(!table.claim(b"krb", Some(&[8; 32])));
    assert_eq!(table.counts().reclaimed, 0);
    assert!(table.claim(b"krb", Some(&[7; 32])));
    assert!(table.claim(b"sys", Some(&[8; 32])) && table.claim(b"sys", None));
}

#[test]
fn a_hash_completes_a_record_but_does_not_replace_one() {
    let mut table = RecordTable::new(Fnv);
    table.insert(client(b"a", b""), true).unwrap();
    table.insert(client(b"a", &[1; 32]), true).unwrap();
    table.insert(client(b"a", &[2; 32]), true).unwrap();
    assert!(!table.claim(b"a", Some(&[2; 32])) && table.claim(b"a", Some(&[1; 32])));
}

#[test]
fn the_last_one_to_complete_is_told() {
    let mut table = RecordTable::new(Fnv);
    table.insert(client(b"a", b""), true).unwrap();
    table.insert(client(b"b", b""), true).unwrap();
    assert!(!table.complete(b"a", None));
    // A client that restarts sends RECLAIM_COMPLETE again; it does not stand for another one.
    assert!(!table.complete(b"a", None));
    assert!(!table.complete(b"stranger", None));
    assert!(table.complete(b"b", None));
    assert!(!table.complete(b"b", None));
}

#[test]
fn who_held_nothing_is_not_waited_for_if_that_is_known() {
    let mut table = RecordTable::new(Fnv);
    for (name, holds) in [(b"a", true), (b"b", false), (b"c", true), (b"d", false)] {
        table.insert(client(name, b""), holds).unwrap();
    }
    assert_eq!(table.awaited(), 4, "it is not known");
    table.know(false);
    assert_eq!(table.awaited(), 4);
    table.know(true);
    assert_eq!(table.awaited(), 2);
    assert!(!table.complete(b"a", None));
    assert!(!table.complete(b"b", None) && !table.complete(b"b", None));
    assert!(
        table.complete(b"c", None),
        "the last one that held something"
    );
    assert!(!table.complete(b"c", None) && !table.complete(b"d", None));
    let counts = Counts {
        known: 4,
        reclaimed: 0,
        complete: 4,
    };
    assert_eq!(table.counts(), counts);
    assert_eq!(table.awaited(), 2);
}

#[test]
fn nobody_is_waited_for_if_nobody_held_anything() {
    let mut table = RecordTable::new(Fnv);
    table.know(true);
    assert_eq!(table.awaited(), 0);
    table.insert(client(b"a", b""), false).unwrap();
    table.know(true);
    assert_eq!((table.awaited(), table.counts().known), (0, 1));
    // It may reclaim, though there is nothing.
    assert!(table.claim(b"a", None));
    assert!(!table.complete(b"a", None));
}

#[test]
fn what_is_known_late_counts_who_is_complete() {
    let mut table = RecordTable::new(Fnv);
    for (name, holds) in [(b"a", true), (b"b", true), (b"c", false)] {
        table.insert(client(name, b""), holds).unwrap();
    }
    assert!(!table.complete(b"a", None) && !table.complete(b"c", None));
    table.know(true);
    assert!(table.complete(b"b", None));
    // It is not known any more.
    table.insert(client(b"d", b""), false).unwrap();
    table.know(false);
    assert_eq!(table.awaited(), 4);
    assert!(table.complete(b"d", None));
    table.know(true);
    table.clear();
    assert_eq!(table.awaited(), 0);
    table.insert(client(b"e", b""), false).unwrap();
    assert_eq!(table.awaited(), 1, "a new table knows nothing");
}

#[test]
fn a_name_that_comes_twice_holds_something_if_one_does() {
    for all in [[true, false], [false, true], [true, true]] {
        let mut table = RecordTable::new(Fnv);
        for holds in all {
            table.insert(client(b"a", b""), holds).unwrap();
        }
        table.know(true);
        assert_eq!(table.awaited(), 1);
    }
}

#[test]
fn a_cleared_table_starts_again() {
    let mut table = RecordTable::new(Fnv);
    table.insert(client(b"a", b""), true).unwrap();
    table.complete(b"a", None);
    table.clear();
    assert!(!table.claim(b"a", None));
    assert_eq!(table.counts(), Counts::default());
    table.insert(client(b"a", b""), true).unwrap();
    assert!(table.complete(b"a", None));
}

#[test]
fn no_memory_changes_nothing() {
    for allowed in 0.. {
        let mut table = RecordTable::new(Fnv);
        let mut stored = 0u32;
        kernel::fail_after(allowed);
        let result = (0..200u32).try_for_each(|n| {
            table.insert(client(&n.to_ne_bytes(), b""), true)?;
            stored += 1;
            Ok::<(), Error>(())
        });
        kernel::never_fail();
        assert_eq!(table.counts().known, stored as usize);
        assert!((0..200).all(|n: u32| table.claim(&n.to_ne_bytes(), None) == (n < stored)));
        if result.is_ok() {
            break;
        }
        // It goes on where it failed.
        table
            .insert(client(&stored.to_ne_bytes(), b""), true)
            .unwrap();
        assert!(table.claim(&stored.to_ne_bytes(), None));
    }
}

fn like_a_map<H: KeyedHash>(hash: H, steps: Vec<(u8, u8)>) -> Result<(), TestCaseError> {
    let mut table = RecordTable::new(hash);
    let mut map: HashMap<u8, (bool, bool, bool)> = HashMap::new();
    let mut known = false;
    for (what, who) in steps {
        match what % 8 {
            0..=3 => {
                let holds = what & 8 != 0;
                table.insert(client(&[who], b""), holds).unwrap();
                map.entry(who).or_default().2 |= holds;
                // It is known when all are there.
                table.know(known);
            }
            4 | 5 => {
                let there = map.get_mut(&who).map(|r| r.0 = true).is_some();
                prop_assert_eq!(table.claim(&[who], None), there);
            }
            6 if what & 0x30 == 0 => {
                known = what & 8 != 0;
                table.know(known);
            }
            _ => {
                let first = map
                    .get_mut(&who)
                    .is_some_and(|r| !std::mem::replace(&mut r.1, true));
                let is_awaited = |r: &(bool, bool, bool)| r.2 || !known;
                let last =
                    first && is_awaited(&map[&who]) && map.values().all(|r| r.1 || !is_awaited(r));
                prop_assert_eq!(table.complete(&[who], None), last);
            }
        }
        let awaited = map.values().filter(|r| r.2 || !known).count();
        prop_assert_eq!(table.awaited(), awaited);
        let count = |f: fn(&(bool, bool, bool)) -> bool| map.values().filter(|r| f(r)).count();
        let counts = Counts {
            known: map.len(),
            reclaimed: count(|r| r.0),
            complete: count(|r| r.1),
        };
        prop_assert_eq!(table.counts(), counts);
    }
    Ok(())
}

proptest! {
    #[test]
    fn like_a_map_with_a_good_hash(steps in proptest::collection::vec(any::<(u8, u8)>(), 0..600)) {
        like_a_map(Fnv, steps)?;
    }

    #[test]
    fn like_a_map_with_the_worst_hash(steps in proptest::collection::vec(any::<(u8, u8)>(), 0..300)) {
        like_a_map(Same, steps)?;
    }
}
