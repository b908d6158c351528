// SPDX-License-Identifier: GPL-2.0

//! Clients and exports.

use super::Step;
use crate::nlm::seen::{Pair, Pairs, Peer};
use crate::scopes::place::Place;
use crate::scopes::scope::Fsid;
use crate::{with_memory, Weak};
use kernel::prelude::*;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

fn peer(n: u8) -> Peer {
    Peer {
        net: u64::from(n & 1),
        server: Ipv4Addr::new(192, 0, 2, n >> 1 & 3).into(),
        client: Ipv4Addr::new(192, 0, 2, n >> 3).into(),
        version: 4,
        protocol: 6,
    }
}

/// The table, and what should be in it: a name and the number of the change, and the last number.
struct Walk {
    table: Pairs<Weak>,
    map: BTreeMap<(u8, u8), (u8, u64)>,
    sequence: u64,
}

impl Walk {
    /// A client locks: it is there from now on.
    fn add(&mut self, who: u8, export: u8, memory: u8) {
        let (peer, fsid) = (peer(who), Fsid::Num(export.into()));
        let known = self
            .table
            .get(&peer, &fsid)
            .map(|pair| (pair.name[0], pair.sequence));
        assert_eq!(known, self.map.get(&(who, export)).copied());
        if known.is_none() {
            match with_memory(memory, || {
                self.table.add(&peer, &fsid, &Place::default(), &[who])
            }) {
                Ok(sequence) => {
                    self.sequence += 1;
                    assert_eq!(sequence, self.sequence);
                    self.map.insert((who, export), (who, sequence));
                }
                Err(e) => assert_eq!(e, ENOMEM),
            }
        }
    }

    /// Some are forgotten.
    fn forget(&mut self, is: impl Fn(&Pair) -> bool, is_key: impl Fn(&(u8, u8)) -> bool) {
        let before = self.map.len();
        self.map.retain(|key, _| !is_key(key));
        let any = self.map.len() < before;
        assert_eq!(self.table.forget(is), any);
        self.sequence += u64::from(any);
    }
}

/// Clients come and go, and exports do.
pub fn walk(steps: impl Iterator<Item = Step>) {
    let mut walk = Walk {
        table: Pairs::new(Weak),
        map: BTreeMap::new(),
        sequence: 0,
    };
    for Step {
        what,
        who,
        number,
        memory,
    } in steps
    {
        let export = number % 8;
        match what % 8 {
            0..=5 => walk.add(who, export, memory),
            6 => walk.forget(|pair| pair.peer == peer(who), |key| key.0 == who),
            _ => {
                let fsid = Fsid::Num(export.into());
                walk.forget(|pair| pair.fsid == fsid, |key| key.1 == export);
            }
        }
        assert_eq!(walk.table.sequence(), walk.sequence);
        let mut there: Vec<_> = walk.table.since(0).map(|pair| pair.sequence).collect();
        // What is asked for since a change ends at it.
        assert!(there.windows(2).all(|two| two[0] > two[1]));
        let mut wanted: Vec<_> = walk.map.values().map(|(_, sequence)| *sequence).collect();
        there.sort();
        wanted.sort();
        assert_eq!(there, wanted);
    }
}
