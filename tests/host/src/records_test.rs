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
    table.insert(client(b"plain", b"")).unwrap();
    table.insert(client(b"other@10.0.0.1", b"")).unwrap();
    assert_eq!(former(&table, b"plain@192.0.2.7", &now), plain);
    assert_eq!(former(&table, b"plain@192.0.2.7", &never), None);
    assert_eq!(former(&table, b"nobody@192.0.2.7", &now), None);
    let no_address = former(&table, b"plain@192.0.2.07", &now);
    assert_eq!(no_address, None);
    assert_eq!(former(&table, b"plain", &now), None, "it is there");
    // One is floating no more, however many others there are.
    for i in 0..200 {
        let name = format!("other@192.0.2.{}", i + 10);
        table.insert(client(name.as_bytes(), b"")).unwrap();
    }
    let but_one = |address| (address != IpAddr::from([10, 0, 0, 1])).then_some(Since::Unknown);
    let other = former(&table, b"other", &but_one);
    assert_eq!(other.as_deref(), Some("other@10.0.0.1"));
    let all = |_| Some(Since::Unknown);
    assert_eq!(former(&table, b"other", &all), None);
    assert_eq!(former(&table, b"nobody", &never), None);
    // Names on record have the address: then, who has not is somebody else, unless it became floating while the server ran.
    table.insert(client(b"third@192.0.2.7", b"")).unwrap();
    assert_eq!(former(&table, b"plain@192.0.2.7", &now), None);
    assert_eq!(former(&table, b"plain@192.0.2.7", &lately), plain);
    table.clear();
    table.insert(client(b"plain", b"")).unwrap();
    assert_eq!(former(&table, b"plain@192.0.2.7", &now), plain);
}

#[test]
fn a_name_counts_once() {
    let mut table = RecordTable::new(Fnv);
    for _ in 0..3 {
        table.insert(client(b"a", b"")).unwrap();
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
    table.insert(client(b"ab", b"")).unwrap();
    assert!(!table.claim(b"a", None) && !table.claim(b"abc", None) && !table.claim(b"", None));
}

#[test]
fn the_principal_must_be_the_one_on_record() {
    let mut table = RecordTable::new(Fnv);
    table.insert(client(b"krb", &[7; 32])).unwrap();
    table.insert(client(b"sys", b"")).unwrap();
    assert!(!table.claim(b"krb", None));
    assert!(!table.claim(b"krb", Some(&[8; 32])));
    assert_eq!(table.counts().reclaimed, 0);
    assert!(table.claim(b"krb", Some(&[7; 32])));
    assert!(table.claim(b"sys", Some(&[8; 32])) && table.claim(b"sys", None));
}

#[test]
fn a_hash_completes_a_record_but_does_not_replace_one() {
    let mut table = RecordTable::new(Fnv);
    table.insert(client(b"a", b"")).unwrap();
    table.insert(client(b"a", &[1; 32])).unwrap();
    table.insert(client(b"a", &[2; 32])).unwrap();
    assert!(!table.claim(b"a", Some(&[2; 32])) && table.claim(b"a", Some(&[1; 32])));
}

#[test]
fn the_last_one_to_complete_is_told() {
    let mut table = RecordTable::new(Fnv);
    table.insert(client(b"a", b"")).unwrap();
    table.insert(client(b"b", b"")).unwrap();
    assert!(!table.complete(b"a", None));
    // A client that restarts sends RECLAIM_COMPLETE again; it does not stand for another one.
    assert!(!table.complete(b"a", None));
    assert!(!table.complete(b"stranger", None));
    assert!(table.complete(b"b", None));
    assert!(!table.complete(b"b", None));
}

#[test]
fn a_cleared_table_starts_again() {
    let mut table = RecordTable::new(Fnv);
    table.insert(client(b"a", b"")).unwrap();
    table.complete(b"a", None);
    table.clear();
    assert!(!table.claim(b"a", None));
    assert_eq!(table.counts(), Counts::default());
    table.insert(client(b"a", b"")).unwrap();
    assert!(table.complete(b"a", None));
}

#[test]
fn no_memory_changes_nothing() {
    for allowed in 0.. {
        let mut table = RecordTable::new(Fnv);
        let mut stored = 0u32;
        kernel::fail_after(allowed);
        let result = (0..200u32).try_for_each(|n| {
            table.insert(client(&n.to_ne_bytes(), b""))?;
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
        table.insert(client(&stored.to_ne_bytes(), b"")).unwrap();
        assert!(table.claim(&stored.to_ne_bytes(), None));
    }
}

fn like_a_map<H: KeyedHash>(hash: H, steps: Vec<(u8, u8)>) -> Result<(), TestCaseError> {
    let mut table = RecordTable::new(hash);
    let mut map: HashMap<u8, (bool, bool)> = HashMap::new();
    for (what, who) in steps {
        match what % 8 {
            0..=3 => {
                table.insert(client(&[who], b"")).unwrap();
                map.entry(who).or_default();
            }
            4 | 5 => {
                let there = map.get_mut(&who).map(|r| r.0 = true).is_some();
                prop_assert_eq!(table.claim(&[who], None), there);
            }
            _ => {
                let first = map
                    .get_mut(&who)
                    .is_some_and(|r| !std::mem::replace(&mut r.1, true));
                let last = first && map.values().all(|r| r.1);
                prop_assert_eq!(table.complete(&[who], None), last);
            }
        }
        let count = |f: fn(&(bool, bool)) -> bool| map.values().filter(|r| f(r)).count();
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
