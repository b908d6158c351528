// SPDX-License-Identifier: GPL-2.0

//! Scopes in grace.

use super::Step;
use crate::scopes::grace::GraceTable;
use crate::scopes::place::Place;
use crate::scopes::scope::{Fsid, Scope, KEY_LEN};
use crate::scopes::subject::Subject;
use crate::{with_memory, Weak};
use kernel::prelude::*;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// Numbers, UUIDs of which two fold alike, and addresses; in two namespaces.
fn scope(who: u8) -> (u64, Scope) {
    let n = who >> 1 & 15;
    let mut uuid = [0; 16];
    uuid[usize::from(n % 4) * 4] = 1;
    let scope = match who >> 5 {
        0..=3 => Scope::Export(Fsid::Num(n.into())),
        4 | 5 => Scope::Export(Fsid::Uuid(uuid)),
        _ => Scope::Server(Ipv4Addr::new(192, 0, 2, n).into()),
    };
    (u64::from(who & 1), scope)
}

/// A request that is about a scope and nothing else.
fn about(scope: &Scope) -> Subject {
    match scope {
        Scope::Export(fsid) => Subject {
            files: [Place::default(), Place::of_handle(Some(*fsid))],
            ..Subject::default()
        },
        Scope::Server(address) => Subject {
            server: Some(*address),
            ..Subject::default()
        },
    }
}

/// Makes room as `change()` in `rust/scopes/in_grace.rs` does; returns whether there is memory for it.
fn make_room(table: &mut GraceTable<Weak>, now: i64, memory: u8) -> bool {
    let Some(wanted) = table.wanted(now) else {
        return true;
    };
    match with_memory(memory, || GraceTable::with_room(Weak, wanted)) {
        Ok(bigger) => {
            drop(table.adopt(bigger, now));
            assert_eq!(table.wanted(now), None);
            true
        }
        Err(e) => {
            assert_eq!(e, ENOMEM);
            false
        }
    }
}

/// Grace periods begin and end, and scopes are held.
pub fn walk(steps: impl Iterator<Item = Step>) {
    let mut table = GraceTable::new(Weak);
    // By namespace and key: until when it is in grace, and how often it is held.
    let mut map: BTreeMap<(u64, [u8; KEY_LEN]), (i64, u32)> = BTreeMap::new();
    let key = |scope: &Scope| scope.keys().next().unwrap();
    let mut now = 1;
    for step in steps {
        let (net, scope) = scope(step.who);
        let entry = map.entry((net, key(&scope))).or_default();
        let active = now < entry.0 || entry.1 > 0;
        match step.what % 8 {
            0..=2 if make_room(&mut table, now, step.memory) => {
                let until = now + i64::from(step.number) + 1;
                assert_eq!(table.start(now, net, &scope, until), Ok(active));
                entry.0 = entry.0.max(until);
            }
            3 if make_room(&mut table, now, step.memory) => {
                table.end(net, &scope);
                entry.0 = 0;
            }
            4 if make_room(&mut table, now, step.memory) => {
                table.hold(net, &scope).unwrap();
                entry.1 += 1;
            }
            5 if entry.1 > 0 => {
                table.let_go(net, &scope);
                entry.1 -= 1;
            }
            _ => now += i64::from(step.number) / 4,
        }
        let asked = map[&(net, key(&scope))];
        let active = now < asked.0 || asked.1 > 0;
        assert_eq!(table.covers(now, net, &about(&scope)), active);
        let last = map
            .values()
            .map(|(until, holds)| if *holds > 0 { i64::MAX } else { *until })
            .max();
        assert!(last.is_none_or(|last| last <= now || last <= table.deadline()));
        for net in 0..2 {
            let listed = table.list(now, net);
            let mut there: Vec<_> = listed.map(|e| (key(&e.scope), e.left(now))).collect();
            there.sort();
            let listed = map.iter().filter(|(k, entry)| k.0 == net && now < entry.0);
            let wanted: Vec<_> = listed.map(|(k, entry)| (k.1, entry.0 - now)).collect();
            assert_eq!(there, wanted);
        }
        if map.values().all(|entry| *entry == (0, 0)) {
            assert_eq!(table.deadline(), 0);
        }
    }
}
