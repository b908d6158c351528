// SPDX-License-Identifier: GPL-2.0

use crate::base::index::KeyedHash;
use crate::scopes::grace::*;
use crate::scopes::place::Place;
use crate::scopes::scope::{Fsid, Scope};
use crate::scopes::subject::Subject;
use kernel::code::ENOSPC;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use std::collections::HashMap;
use std::net::IpAddr;

#[derive(Clone, Copy)]
struct Fnv;

impl KeyedHash for Fnv {
    fn hash(&self, key: &[u8]) -> u64 {
        key.iter().fold(0xcbf2_9ce4_8422_2325, |h, b| {
            (h ^ u64::from(*b)).wrapping_mul(0x100_0000_01b3)
        })
    }
}

#[derive(Clone, Copy)]
struct Same;

impl KeyedHash for Same {
    fn hash(&self, _: &[u8]) -> u64 {
        3
    }
}

fn num(n: u32) -> Scope {
    Scope::Export(Fsid::Num(n))
}

fn about(n: u32) -> Subject {
    Subject {
        files: [Place::of_handle(Some(Fsid::Num(n))), Place::default()],
        ..Subject::default()
    }
}

fn table(n: usize) -> GraceTable<Fnv> {
    GraceTable::with_room(Fnv, n).unwrap()
}

/// Makes room as the module does.
fn with_room<H: KeyedHash + Copy>(table: &mut GraceTable<H>, hash: H, now: i64) {
    if let Some(n) = table.wanted(now) {
        let old = table.adopt(GraceTable::with_room(hash, n).unwrap(), now);
        drop(old);
        assert!(table.wanted(now).is_none());
    }
}

#[test]
fn in_grace_until_the_time_comes() {
    let mut t = table(4);
    assert!(!t.ask(5, 1, &about(7)));
    assert_eq!(t.start(10, 1, &num(7), 20), Ok(false));
    assert_eq!(t.deadline(), 20);
    assert!(t.ask(19, 1, &about(7)));
    assert!(!t.ask(20, 1, &about(7)));
    assert!(!t.ask(15, 2, &about(7)), "another namespace");
    assert!(!t.ask(15, 1, &about(8)), "another export");
}

#[test]
fn extended_never_shortened_and_ended() {
    let mut t = table(4);
    t.start(10, 1, &num(7), 30).unwrap();
    assert_eq!(t.start(12, 1, &num(7), 20), Ok(true));
    assert!(t.ask(29, 1, &about(7)));
    assert_eq!(t.start(25, 1, &num(7), 40), Ok(true));
    assert!(t.ask(39, 1, &about(7)));
    t.end(1, &num(7));
    assert_eq!(t.deadline(), 0);
    assert!(!t.ask(30, 1, &about(7)));
    t.end(1, &num(7));
    t.end(1, &num(99));
    assert_eq!(t.start(31, 1, &num(7), 50), Ok(false));
    assert!(t.ask(49, 1, &about(7)));
}

#[test]
fn counts_reclaims_and_refusals() {
    let mut t = table(4);
    t.start(0, 1, &num(7), 100).unwrap();
    let reclaim = |asks| Subject {
        reclaim_asks: Some(asks),
        ..about(7)
    };
    for _ in 0..2 {
        assert!(t.ask(1, 1, &reclaim(2)));
    }
    assert!(t.ask(1, 1, &reclaim(1)));
    for _ in 0..3 {
        assert!(t.ask(1, 1, &about(7)));
    }
    let entry = *t.list(1, 1).next().unwrap();
    assert_eq!((entry.reclaims(), entry.refused, entry.left(1)), (2, 3, 99));
    // Another grace period counts anew.
    t.start(200, 1, &num(7), 300).unwrap();
    let entry = *t.list(200, 1).next().unwrap();
    assert_eq!((entry.reclaims(), entry.refused), (0, 0));
}

#[test]
fn by_the_servers_address_and_by_either_file() {
    let mut t = table(4);
    let (own, other): (IpAddr, IpAddr) =
        ("192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap());
    t.start(0, 1, &Scope::Server(own), 100).unwrap();
    t.start(0, 1, &num(8), 100).unwrap();
    let came_to = |server| Subject {
        server: Some(server),
        ..about(7)
    };
    assert!(t.ask(1, 1, &came_to(own)));
    assert!(!t.ask(1, 1, &came_to(other)));
    let renames = Subject {
        files: [7, 8].map(|n| Place::of_handle(Some(Fsid::Num(n)))),
        ..Subject::default()
    };
    assert!(t.ask(1, 1, &renames));
    assert!(!t.ask(1, 1, &Subject::default()));
}

fn device(minor: u32) -> Fsid {
    Fsid::Dev { major: 8, minor }
}

#[test]
fn local_processes_are_kept_out_as_long_as_the_scope_is_in_grace() {
    let mut t = table(4);
    t.start(0, 1, &num(7), 100).unwrap();
    assert!(!t.keeps_out(1, &device(1)), "off by default");
    assert_eq!(t.local_deadline(), 0);
    t.keep_out(1, &num(7), Some(device(1)));
    assert_eq!(t.local_deadline(), 100);
    assert!(t.keeps_out(99, &device(1)) && !t.keeps_out(100, &device(1)));
    assert!(!t.keeps_out(1, &device(2)), "another device");
    // A reclaim goes on, and so does this.
    let reclaim = Subject {
        reclaim_asks: Some(2),
        ..about(7)
    };
    assert!(t.ask(99, 1, &reclaim));
    assert!(t.keeps_out(120, &device(1)) && t.local_deadline() > 120);
    // A namespace of its own, and the same device.
    t.start(0, 2, &num(7), 50).unwrap();
    t.keep_out(2, &num(7), Some(device(1)));
    t.end(1, &num(7));
    assert_eq!(t.local_deadline(), 50);
    assert!(t.keeps_out(49, &device(1)) && !t.keeps_out(50, &device(1)));
    t.end_all(1);
    assert!(t.keeps_out(49, &device(1)));
    t.end_all(2);
    assert!(!t.keeps_out(1, &device(1)));
    assert_eq!((t.deadline(), t.local_deadline()), (0, 0));
    // The next grace period is without.
    t.start(0, 2, &num(7), 50).unwrap();
    assert!(!t.keeps_out(1, &device(1)));
    // A hold is no grace period.
    t.keep_out(2, &num(7), Some(device(1)));
    t.hold(2, &num(7)).unwrap();
    assert!(!t.keeps_out(60, &device(1)));
    t.keep_out(9, &num(9), Some(device(3)));
    assert!(!t.keeps_out(1, &device(3)), "of no scope in the table");
}

#[test]
fn any_number_of_devices_one_after_the_other() {
    let mut t = table(4);
    for n in 0..10_000 {
        with_room(&mut t, Fnv, 1);
        t.start(1, 1, &num(n % 3), 100).unwrap();
        t.keep_out(1, &num(n % 3), Some(device(n)));
        let kept_out = (0..10_000).filter(|n| n % 1000 == 0 || n % 3 == 0);
        let kept_out = kept_out.filter(|other| other + 3 > n && other <= &n);
        assert!(
            kept_out.clone().all(|other| t.keeps_out(1, &device(other))),
            "{n}"
        );
        assert!(n < 3 || !t.keeps_out(1, &device(n - 3)));
    }
    t.keep_out(1, &num(0), None);
    assert!(!t.keeps_out(1, &device(9999)) && t.keeps_out(1, &device(9998)));
}

#[test]
fn held_as_long_as_somebody_holds() {
    let mut t = table(4);
    t.hold(1, &num(7)).unwrap();
    t.hold(1, &num(7)).unwrap();
    assert_eq!(t.deadline(), i64::MAX);
    assert!(t.ask(i64::MAX - 1, 1, &about(7)));
    assert_eq!(t.list(1, 1).count(), 0, "it is not in grace by command");
    let reclaim = Subject {
        reclaim_asks: Some(2),
        ..about(7)
    };
    assert!(!t.ask(5, 1, &reclaim), "nobody reclaims what is released");
    t.start(5, 1, &num(7), 10).unwrap();
    assert!(t.ask(6, 1, &reclaim), "unless it is in grace by command");
    assert!(!t.ask(10, 1, &reclaim));
    t.let_go(1, &num(7));
    assert!(t.ask(5, 1, &about(7)));
    t.start(5, 1, &num(7), 20).unwrap();
    t.end(1, &num(7));
    assert!(t.ask(6, 1, &about(7)), "a hold is not ended by command");
    t.let_go(1, &num(7));
    assert!(!t.ask(7, 1, &about(7)));
    assert_eq!(t.deadline(), 0);
}

#[test]
fn a_hold_of_either_scope_keeps_reclaims_out() {
    let address: IpAddr = "192.0.2.1".parse().unwrap();
    let reclaim = Subject {
        server: Some(address),
        reclaim_asks: Some(2),
        ..about(7)
    };
    let mut t = table(4);
    t.start(0, 1, &num(7), 100).unwrap();
    assert!(t.ask(1, 1, &reclaim));
    t.hold(1, &Scope::Server(address)).unwrap();
    assert!(!t.ask(1, 1, &reclaim));
    t.let_go(1, &Scope::Server(address));
    assert!(t.ask(1, 1, &reclaim));
}

#[test]
fn two_uuids_that_fold_alike() {
    let mut a = [0u8; 16];
    let mut b = [0u8; 16];
    a[0] = 1;
    b[4] = 1;
    let quarter = Subject {
        files: [
            Place::of_handle(Some(Fsid::Uuid4([1, 0, 0, 0]))),
            Place::default(),
        ],
        ..Subject::default()
    };
    let mut t = table(4);
    let scope = |uuid| Scope::Export(Fsid::Uuid(uuid));
    t.start(0, 1, &scope(a), 10).unwrap();
    t.start(0, 1, &scope(b), 20).unwrap();
    assert!(
        t.ask(15, 1, &quarter),
        "the first is over, the second is not"
    );
    t.end(1, &scope(b));
    assert!(!t.ask(15, 1, &quarter));
}

#[test]
fn goes_on_while_somebody_reclaims() {
    let reclaim = Subject {
        reclaim_asks: Some(2),
        ..about(7)
    };
    let mut t = table(4);
    t.start(0, 1, &num(7), 100).unwrap();
    // Early, that changes nothing; late, it goes on for a quarter.
    assert!(t.ask(10, 1, &reclaim));
    assert_eq!(t.deadline(), 100);
    assert!(t.ask(90, 1, &reclaim));
    assert_eq!(t.deadline(), 115);
    assert!(t.ask(114, 1, &about(7)));
    assert_eq!(
        t.deadline(),
        115,
        "who wants a new lock does not prolong it"
    );
    // It is over when nobody reclaims any more, and at last after twice the time.
    for now in (110..200).step_by(10) {
        assert!(t.ask(now, 1, &reclaim));
    }
    assert!(t.ask(199, 1, &reclaim));
    assert!(!t.ask(200, 1, &reclaim));
    assert_eq!(t.deadline(), 200);
    // Once more, from the beginning.
    t.start(1000, 1, &num(7), 1100).unwrap();
    assert!(t.ask(1099, 1, &reclaim));
    assert!(t.ask(1123, 1, &about(7)));
    assert!(!t.ask(1124, 1, &about(7)));
    // A long one goes on for 15 s.
    let second = 1_000_000_000;
    t.start(2000, 1, &num(8), 2000 + 100 * second).unwrap();
    let late = Subject {
        reclaim_asks: Some(2),
        ..about(8)
    };
    assert!(t.ask(1999 + 100 * second, 1, &late));
    assert_eq!(t.deadline(), 1999 + 115 * second);
    // One that was ended is over.
    t.end(1, &num(8));
    assert!(!t.ask(2000 + 100 * second, 1, &late));
}

#[test]
fn needs_room_and_says_so() {
    let mut t = GraceTable::new(Fnv);
    assert_eq!(t.start(0, 1, &num(0), 10), Err(ENOSPC));
    assert_eq!(t.hold(1, &num(0)), Err(ENOSPC));
    for n in 0..10_000 {
        with_room(&mut t, Fnv, 0);
        assert_eq!(t.start(0, 1, &num(n), 10), Ok(false));
    }
    assert!((0..10_000).all(|n| t.ask(5, 1, &about(n))));
    assert!(!t.ask(5, 1, &about(10_000)));
    // What is over leaves when room is needed.
    for n in 0..100_000 {
        with_room(&mut t, Fnv, i64::from(n) * 10 + 20);
        t.start(i64::from(n) * 10 + 20, 1, &num(n), i64::from(n) * 10 + 25)
            .unwrap();
    }
    assert!(t.wanted(2_000_000).is_none_or(|n| n <= 4));
}

#[test]
fn a_table_that_is_too_small_is_not_adopted() {
    let mut t = table(4);
    for n in 0..4 {
        t.start(0, 1, &num(n), 10).unwrap();
    }
    t.adopt(table(4), 0);
    t.adopt(table(1), 0);
    assert!((0..4).all(|n| t.ask(5, 1, &about(n))));
}

#[test]
fn an_allocation_that_fails_changes_nothing() {
    for n in 0..4 {
        kernel::fail_after(n);
        let failed = GraceTable::with_room(Fnv, 100).is_err();
        kernel::never_fail();
        assert_eq!(failed, n < 2);
    }
}

/// Compares with a map of (namespace, scope) to (until, holds).
fn like_a_map<H: KeyedHash + Copy>(hash: H, steps: Vec<(u8, u8, u8)>) -> Result<(), TestCaseError> {
    let mut t = GraceTable::new(hash);
    let mut map: HashMap<(u64, u32), (i64, u32)> = HashMap::new();
    let mut now = 1;
    for (what, who, time) in steps {
        let (net, n) = (u64::from(who % 2), u32::from(who / 2) % 24);
        let entry = map.entry((net, n)).or_default();
        let active = now < entry.0 || entry.1 > 0;
        match what % 8 {
            0..=2 => {
                with_room(&mut t, hash, now);
                let until = now + i64::from(time) + 1;
                prop_assert_eq!(t.start(now, net, &num(n), until), Ok(active));
                entry.0 = entry.0.max(until);
            }
            3 => {
                t.end(net, &num(n));
                entry.0 = 0;
            }
            4 => {
                with_room(&mut t, hash, now);
                t.hold(net, &num(n)).unwrap();
                entry.1 += 1;
            }
            5 if entry.1 > 0 => {
                t.let_go(net, &num(n));
                entry.1 -= 1;
            }
            _ => now += i64::from(time) / 4,
        }
        for net in 0..2 {
            for n in 0..24 {
                let (until, holds) = map.get(&(net, n)).copied().unwrap_or_default();
                let active = now < until || holds > 0;
                prop_assert_eq!(t.ask(now, net, &about(n)), active);
                prop_assert!(!active || now < t.deadline());
            }
            let listed = t.list(now, net).count();
            let wanted = map.iter().filter(|(k, v)| k.0 == net && now < v.0).count();
            prop_assert_eq!(listed, wanted);
        }
        if map.values().all(|v| *v == (0, 0)) {
            prop_assert_eq!(t.deadline(), 0);
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn like_a_map_with_a_good_hash(steps in proptest::collection::vec(any::<(u8, u8, u8)>(), 0..200)) {
        like_a_map(Fnv, steps)?;
    }

    #[test]
    fn like_a_map_with_the_worst_hash(steps in proptest::collection::vec(any::<(u8, u8, u8)>(), 0..60)) {
        like_a_map(Same, steps)?;
    }
}
