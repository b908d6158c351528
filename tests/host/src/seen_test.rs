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
fn a_recorder_says_a_number() {
    assert_eq!(recorded("0"), Ok(0));
    assert_eq!(recorded("0042"), Ok(42));
    assert_eq!(recorded("18446744073709551615"), Ok(u64::MAX));
    for line in ["", "+1", "-1", "1 ", "0x1", "18446744073709551616"] {
        assert_eq!(recorded(line), Err(EINVAL), "{line:?}");
    }
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
        assert_eq!(pairs.iter().count(), done);
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
            prop_assert_eq!(pairs.iter().count(), set.len());
            for (who, what) in &set {
                let pair = pairs.get(&peer(*who), &Fsid::Num(*what)).unwrap();
                prop_assert_eq!(&pair.name[..], &[*who][..]);
            }
        }
    }
}
