// SPDX-License-Identifier: GPL-2.0

use crate::base::index::KeyedHash;
use crate::nlm::seen::*;
use crate::scopes::place::Place;
use crate::scopes::scope::Fsid;
use kernel::code::EINVAL;
use proptest::prelude::*;
use std::collections::HashSet;
use std::net::Ipv4Addr;

struct Sum;

impl KeyedHash for Sum {
    fn hash(&self, key: &[u8]) -> u64 {
        key.iter().map(|b| u64::from(*b)).sum()
    }
}

fn peer(n: u8) -> Peer {
    Peer {
        net: 1,
        server: Ipv4Addr::new(192, 0, 2, 1).into(),
        client: Ipv4Addr::new(192, 0, 2, n).into(),
        version: 4,
        protocol: 6,
    }
}

#[test]
fn a_client_that_differs_in_anything_is_another() {
    let mut pairs = Pairs::new(Sum);
    assert_eq!(
        pairs.add(&peer(2), &Fsid::Num(7), &Place::default(), b"two"),
        Ok(1)
    );
    let pair = pairs.get(&peer(2), &Fsid::Num(7)).unwrap();
    assert_eq!((&pair.name[..], pair.sequence), (&b"two"[..], 1));
    assert!(pairs.get(&peer(2), &Fsid::Num(8)).is_none());
    for other in [
        Peer { net: 2, ..peer(2) },
        Peer {
            server: peer(2).client,
            ..peer(2)
        },
        peer(3),
        Peer {
            version: 3,
            ..peer(2)
        },
        Peer {
            protocol: 17,
            ..peer(2)
        },
    ] {
        assert!(pairs.get(&other, &Fsid::Num(7)).is_none(), "{other:?}");
    }
}

#[test]
fn a_recorder_says_a_number_and_may_want_news() {
    let said = |sequence, except, news| {
        Ok(Recorded {
            sequence,
            except,
            news,
        })
    };
    assert_eq!(Recorded::parse("0"), said(0, "", false));
    assert_eq!(Recorded::parse("0042"), said(42, "", false));
    let last = "18446744073709551615";
    assert_eq!(Recorded::parse(last), said(u64::MAX, "", false));
    assert_eq!(Recorded::parse("7 news"), said(7, "", true));
    assert_eq!(
        Recorded::parse("7 news except 12 dev:0:1"),
        said(7, "12 dev:0:1", true)
    );
    for line in [
        "",
        "+1",
        "-1",
        "1 ",
        "0x1",
        "18446744073709551616",
        " news",
        "1 old",
        "1 news ",
        "1 news except",
        "x news",
    ] {
        assert_eq!(Recorded::parse(line), Err(EINVAL), "{line:?}");
    }
}

/// What came after a change, each by its client and export.
fn since(pairs: &Pairs<Sum>, change: u64) -> Vec<(u8, Fsid)> {
    let all = pairs.since(change).map(|pair| match pair.peer.client {
        std::net::IpAddr::V4(address) => (address.octets()[3], pair.fsid),
        std::net::IpAddr::V6(_) => unreachable!(),
    });
    all.collect()
}

#[test]
fn the_news_are_what_came_since() {
    let mut pairs = Pairs::new(Sum);
    for n in 1..=5 {
        let fsid = Fsid::Num(u32::from(n));
        pairs.add(&peer(n), &fsid, &Place::default(), b"").unwrap();
    }
    assert_eq!(since(&pairs, 3), [(5, Fsid::Num(5)), (4, Fsid::Num(4))]);
    assert_eq!(since(&pairs, 0).len(), 5);
    assert_eq!(since(&pairs, 5), []);
    assert!(pairs.forget(|pair| pair.peer == peer(4)));
    assert_eq!(since(&pairs, 3), [(5, Fsid::Num(5))]);
    // It comes back: that is new.
    let again = pairs.add(&peer(4), &Fsid::Num(4), &Place::default(), b"");
    assert_eq!((again, pairs.sequence()), (Ok(7), 7));
    assert_eq!(since(&pairs, 5), [(4, Fsid::Num(4))]);
}

#[test]
fn what_was_not_stored_is_so_until_it_is() {
    let mut pairs = Pairs::new(Sum);
    let exports = [Fsid::Num(1), Fsid::Num(12), Fsid::Uuid8([0xab; 8])];
    let add = |pairs: &mut Pairs<Sum>, n, export: usize| {
        let added = pairs.add(&peer(n), &exports[export], &Place::default(), b"");
        added.unwrap()
    };
    let unstored = |pairs: &mut Pairs<Sum>| {
        let mut seen = Vec::new();
        for n in 1..=9 {
            for fsid in &exports {
                let pair = pairs.get(&peer(n), fsid);
                if pair.is_some_and(|pair| pair.unstored) {
                    seen.push((n, *fsid));
                }
            }
        }
        seen
    };
    let first = add(&mut pairs, 1, 0);
    pairs.recorded(1, 0, &Recorded::parse(&format!("{first} news")).unwrap());
    assert_eq!(unstored(&mut pairs), []);

    add(&mut pairs, 2, 0);
    add(&mut pairs, 3, 1);
    let third = add(&mut pairs, 4, 2);
    let later = add(&mut pairs, 5, 0);
    let said = format!("{third} news except 1 uuid8:abababababababab");
    let said = Recorded::parse(&said).unwrap();
    pairs.recorded(2, 0, &said);
    assert_eq!(unstored(&mut pairs), [], "another namespace's");
    pairs.recorded(1, first, &said);
    // What was stored before stays so, and fsid 12 is not 1; what came later is not spoken of.
    assert_eq!(unstored(&mut pairs), [(2, exports[0]), (4, exports[2])]);

    let said = format!("{later} news except 1");
    pairs.recorded(1, third, &Recorded::parse(&said).unwrap());
    assert_eq!(unstored(&mut pairs), [(2, exports[0]), (5, exports[0])]);
    pairs.recorded(1, later, &Recorded::parse(&later.to_string()).unwrap());
    assert_eq!(unstored(&mut pairs), []);
}

#[test]
fn an_allocation_that_fails_changes_nothing() {
    for n in 0..20 {
        let mut pairs = Pairs::new(Sum);
        kernel::fail_after(n);
        let done = (0..100)
            .take_while(|i| {
                pairs
                    .add(&peer(*i), &Fsid::Num(7), &Place::default(), b"x")
                    .is_ok()
            })
            .count();
        kernel::never_fail();
        assert_eq!(pairs.since(0).count(), done);
        assert_eq!(pairs.sequence(), done as u64);
        assert!((0..done).all(|i| pairs.get(&peer(i as u8), &Fsid::Num(7)).is_some()));
        pairs
            .add(&peer(200), &Fsid::Num(7), &Place::default(), b"x")
            .unwrap();
    }
}

proptest! {
    #[test]
    fn like_a_set(steps in proptest::collection::vec(any::<(bool, u8, u8)>(), 0..400)) {
        let mut pairs = Pairs::new(Sum);
        let mut set = HashSet::new();
        for (forget, who, what) in steps {
            let (who, what) = (who % 16, u32::from(what % 8));
            let before = pairs.sequence();
            if forget && what == 0 {
                let any = set.iter().any(|(w, _)| *w == who);
                prop_assert_eq!(pairs.forget(|pair| pair.peer == peer(who)), any);
                set.retain(|(w, _)| *w != who);
                prop_assert_eq!(pairs.sequence(), before + u64::from(any));
            } else if pairs.get(&peer(who), &Fsid::Num(what)).is_none() {
                prop_assert!(set.insert((who, what)));
                prop_assert_eq!(pairs.add(&peer(who), &Fsid::Num(what), &Place::default(), &[who]), Ok(before + 1));
            }
            prop_assert_eq!(pairs.since(0).count(), set.len());
            for (who, what) in &set {
                let pair = pairs.get(&peer(*who), &Fsid::Num(*what)).unwrap();
                prop_assert_eq!(&pair.name[..], &[*who][..]);
            }
        }
    }
}
