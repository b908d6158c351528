// SPDX-License-Identifier: GPL-2.0

//! The table of holds, against a map.

use crate::base::index::KeyedHash;
use crate::scopes::place::ExportId;
use crate::scopes::scope::Fsid;
use crate::tracking::holds::*;
use kernel::prelude::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// A hash with many collisions.
struct Weak;

impl KeyedHash for Weak {
    fn hash(&self, key: &[u8]) -> u64 {
        key.iter().map(|b| u64::from(*b)).sum::<u64>() % 7
    }
}

type Table = Holds<Weak, u32>;

/// The client that has what is of no particular one.
const ONE: Option<u32> = Some(1);

fn export(n: u8) -> ExportId {
    ExportId {
        fsid: Fsid::Num(u32::from(n)),
        file_system: [n; 16],
    }
}

/// Does anybody hold something on an export?
fn is_held(table: &Table, export: &ExportId) -> bool {
    table.held().any(|held| held == export)
}

/// What may become of the holds of a client that is idle, or is not.
fn leave(is_idle: bool) -> Leave {
    match is_idle {
        true => Leave::End,
        false => Leave::Begin,
    }
}

/// A client is looked at, which has something on `there`. Returns of which exports it has no hold any more.
fn look(table: &mut Table, name: &[u8], is_idle: bool, there: &[u8]) -> Vec<ExportId> {
    let mut left = Vec::new();
    let finds = |export: &ExportId| there.iter().any(|n| *export == self::export(*n));
    let result = table.look(name, leave(is_idle), finds, |export| {
        left.push(*export);
        Ok(())
    });
    assert_eq!(result, Ok(()));
    left
}

#[test]
fn there_is_none_in_the_beginning() {
    let mut table = Table::new(Weak);
    assert_eq!(
        (table.count(), table.held().count(), table.leaving()),
        (0, 0, 0)
    );
    assert!(!is_held(&table, &export(1)) && !table.keep(b"a", &export(1), ONE));
    assert_eq!(look(&mut table, b"a", true, &[1]), []);
    assert_eq!(table.forget(b"a", |_, _| panic!("of nothing")), Ok(()));
}

#[test]
fn one_that_is_stored_is_there() {
    let mut table = Table::new(Weak);
    table.add(b"a", &export(1), ONE).unwrap();
    table.add(b"a", &export(1), ONE).unwrap();
    assert_eq!((table.count(), table.held().count()), (1, 1));
    assert!(is_held(&table, &export(1)) && table.keep(b"a", &export(1), ONE));
    // Another client, another export, and clients of NLM.
    assert!(!table.keep(b"b", &export(1), ONE) && !table.keep(b"a", &export(2), ONE));
    assert!(!table.keep(b"", &export(1), ONE) && !is_held(&table, &export(2)));
    table.add(b"", &export(1), ONE).unwrap();
    assert!(table.keep(b"", &export(1), ONE));
    assert_eq!((table.count(), table.held().count()), (2, 1));
}

#[test]
fn exports_are_told_apart_by_fsid_and_file_system() {
    let mut table = Table::new(Weak);
    table.add(b"a", &export(1), ONE).unwrap();
    for other in [
        ExportId {
            fsid: Fsid::Num(2),
            ..export(1)
        },
        ExportId {
            file_system: [2; 16],
            ..export(1)
        },
    ] {
        assert!(!table.keep(b"a", &other, ONE) && !is_held(&table, &other));
        table.add(b"a", &other, ONE).unwrap();
    }
    assert_eq!((table.count(), table.held().count()), (3, 3));
}

#[test]
fn one_goes_with_the_second_look_that_finds_nothing() {
    let mut table = Table::new(Weak);
    table.add(b"a", &export(1), ONE).unwrap();
    table.add(b"a", &export(2), ONE).unwrap();
    assert_eq!(look(&mut table, b"a", true, &[1, 2]), []);
    assert_eq!(table.leaving(), 0);
    assert_eq!(look(&mut table, b"a", true, &[2]), []);
    assert_eq!(table.leaving(), 1, "it begins to leave");
    assert!(is_held(&table, &export(1)), "it is still there");
    assert_eq!(look(&mut table, b"a", true, &[2]), [export(1)]);
    assert_eq!(table.leaving(), 1);
    assert!(!is_held(&table, &export(1)) && !table.keep(b"a", &export(1), ONE));
    assert!(table.keep(b"a", &export(2), ONE));
    assert_eq!((table.count(), table.held().count()), (1, 1));
}

#[test]
fn one_does_not_go_while_a_request_is_in_progress() {
    let mut table = Table::new(Weak);
    table.add(b"a", &export(1), ONE).unwrap();
    // It may begin to leave then.
    assert_eq!(look(&mut table, b"a", false, &[]), []);
    assert_eq!(table.leaving(), 1);
    for _ in 0..3 {
        assert_eq!(look(&mut table, b"a", false, &[]), []);
    }
    assert_eq!(table.leaving(), 1);
    assert_eq!(look(&mut table, b"a", true, &[]), [export(1)]);
}

#[test]
fn who_asks_for_one_that_leaves_keeps_it() {
    type Keep = fn(&mut Table);
    let ways: [Keep; 3] = [
        |table| assert!(table.keep(b"a", &export(1), ONE)),
        |table| table.add(b"a", &export(1), ONE).unwrap(),
        |table| assert_eq!(look(table, b"a", true, &[1]), []),
    ];
    for keep in ways {
        let mut table = Table::new(Weak);
        table.add(b"a", &export(1), ONE).unwrap();
        assert_eq!(look(&mut table, b"a", true, &[]), []);
        keep(&mut table);
        assert_eq!(table.count(), 1);
        assert_eq!(look(&mut table, b"a", true, &[]), [], "it begins anew");
        assert_eq!(table.leaving(), 2);
        assert_eq!(look(&mut table, b"a", true, &[]), [export(1)]);
        assert_eq!(table.count(), 0);
    }
}

#[test]
fn an_export_is_held_until_the_last_one_goes() {
    let mut table = Table::new(Weak);
    for name in [&b"a"[..], b"b", b""] {
        table.add(name, &export(1), ONE).unwrap();
    }
    for name in [&b"b"[..], b"", b"a"] {
        assert!(is_held(&table, &export(1)));
        assert_eq!(look(&mut table, name, true, &[]), []);
        assert_eq!(look(&mut table, name, true, &[]), [export(1)]);
    }
    assert!(!is_held(&table, &export(1)));
    assert_eq!((table.count(), table.held().count()), (0, 0));
}

#[test]
fn what_may_not_leave_stays_as_it_is() {
    let mut table = Table::new(Weak);
    table.add(b"a", &export(1), ONE).unwrap();
    for begun in [false, true] {
        let seen = table.leaving();
        for _ in 0..3 {
            let result = table.look(b"a", Leave::No, |_| false, |_| panic!("it left"));
            assert_eq!((result, table.leaving()), (Ok(()), seen));
        }
        assert_eq!(table.count(), 1);
        // The first look of others is the one that begins; the second one ends it.
        let left = look(&mut table, b"a", true, &[]);
        assert_eq!(left.len(), usize::from(begun));
    }
    assert_eq!(table.count(), 0);
}

#[test]
fn an_export_is_known_before_it_is_held() {
    let mut table = Table::new(Weak);
    assert_eq!(
        (table.note(&export(2)), table.note(&export(2))),
        (Ok(0), Ok(0))
    );
    assert_eq!(table.known().collect::<Vec<_>>(), [&export(2)]);
    assert!(!is_held(&table, &export(2)) && !table.keep(b"a", &export(2), ONE));
    assert_eq!(table.held().count(), 0);
}

#[test]
fn what_could_not_be_taken_out_is_taken_out_by_the_next_look() {
    let mut table = Table::new(Weak);
    for n in 1..4 {
        table.add(b"a", &export(n), ONE).unwrap();
    }
    assert_eq!(look(&mut table, b"a", true, &[]), []);
    let mut calls = 0;
    let result = table.look(
        b"a",
        Leave::End,
        |_| false,
        |_| {
            calls += 1;
            if calls == 2 {
                Err(ENOMEM)
            } else {
                Ok(())
            }
        },
    );
    assert_eq!((result, calls, table.count()), (Err(ENOMEM), 2, 2));
    assert_eq!(table.held().count(), 2);
    let left = look(&mut table, b"a", true, &[]);
    assert_eq!(left.len(), 2);
    assert_eq!(table.count(), 0);
}

#[test]
fn who_is_gone_holds_nothing() {
    let mut table = Table::new(Weak);
    for n in 1..4 {
        table.add(b"a", &export(n), ONE).unwrap();
    }
    table.add(b"b", &export(1), ONE).unwrap();
    let mut left = Vec::new();
    let result = table.forget(b"a", |export, owner| {
        assert_eq!(owner, ONE);
        left.push(*export);
        Ok(true)
    });
    assert_eq!(result, Ok(()));
    left.sort();
    assert_eq!(left, [1, 2, 3].map(export));
    assert_eq!((table.count(), table.held().count()), (1, 1));
    assert!(!table.keep(b"a", &export(1), ONE) && table.keep(b"b", &export(1), ONE));
}

#[test]
fn who_comes_back_by_the_same_name_keeps_what_is_its_own() {
    let mut table = Table::new(Weak);
    for n in 1..5 {
        table.add(b"a", &export(n), Some(1)).unwrap();
    }
    // It asks for one, its Hold of another is stored again, and a look finds a third: they are the second one's.
    assert!(table.keep(b"a", &export(1), Some(2)));
    table.add(b"a", &export(2), Some(2)).unwrap();
    assert!(table.keep(b"a", &export(3), Some(2)));
    assert_eq!((table.count(), table.held().count()), (4, 4));
    let is_holder = |table: &Table, name, owner| table.is_holder(name, owner);
    assert!([1, 2].map(|owner| is_holder(&table, b"a", owner)) == [true; 2]);
    assert!(!is_holder(&table, b"a", 3) && !is_holder(&table, b"b", 1));
    let mut seen = Vec::new();
    let result = table.forget(b"a", |export, owner| {
        seen.push((*export, owner));
        Ok(owner == Some(1))
    });
    assert_eq!(result, Ok(()));
    seen.sort();
    let all = [(1, 2), (2, 2), (3, 2), (4, 1)];
    assert_eq!(seen, all.map(|(n, owner)| (export(n), Some(owner))));
    assert_eq!((table.count(), table.held().count()), (3, 3));
    for n in 1..5 {
        assert_eq!(table.keep(b"a", &export(n), Some(2)), n < 4);
    }
    assert!(!table.is_holder(b"a", 1));
}

#[test]
fn those_of_nlm_are_of_no_client() {
    let mut table = Table::new(Weak);
    table.add(b"", &export(1), None).unwrap();
    let mut owners = Vec::new();
    let result = table.forget(b"", |_, owner| {
        owners.push(owner);
        Ok(false)
    });
    assert_eq!((result, &owners[..]), (Ok(()), &[None][..]));
    assert!(table.keep(b"", &export(1), None));
}

#[test]
fn who_could_not_be_forgotten_holds_the_rest() {
    let mut table = Table::new(Weak);
    for n in 1..5 {
        table.add(b"a", &export(n), ONE).unwrap();
    }
    let mut left = Vec::new();
    let result = table.forget(b"a", |export, _| {
        if left.len() == 2 {
            return Err(ENOMEM);
        }
        left.push(*export);
        Ok(true)
    });
    assert_eq!(result, Err(ENOMEM));
    assert_eq!((table.count(), table.held().count()), (2, 2));
    for n in 1..5 {
        let is_there = !left.contains(&export(n));
        assert_eq!(table.keep(b"a", &export(n), ONE), is_there);
        assert_eq!(is_held(&table, &export(n)), is_there);
    }
    let mut rest = Vec::new();
    let result = table.forget(b"a", |export, _| {
        rest.push(*export);
        Ok(true)
    });
    assert_eq!((result, rest.len(), table.count()), (Ok(()), 2, 0));
    assert!(rest.iter().all(|export| !left.contains(export)));
}

#[test]
fn all_is_forgotten_at_once() {
    let mut table = Table::new(Weak);
    for n in 0..100u8 {
        table.add(&[n], &export(n % 5), ONE).unwrap();
    }
    assert_eq!((table.count(), table.held().count()), (100, 5));
    table.clear();
    assert_eq!((table.count(), table.held().count()), (0, 0));
    assert!(!is_held(&table, &export(1)) && !table.keep(&[1], &export(1), ONE));
    assert_eq!(table.known().count(), 5, "a hold may be on its way");
    table.add(&[1], &export(1), ONE).unwrap();
    assert!(table.keep(&[1], &export(1), ONE));
}

#[test]
fn no_memory_changes_nothing() {
    for allowed in 0.. {
        let mut table = Table::new(Weak);
        let mut stored = 0u8;
        kernel::fail_after(allowed);
        let result = (0..200u8).try_for_each(|n| {
            table.add(&[n / 2], &export(n % 2), ONE)?;
            stored += 1;
            Ok::<(), Error>(())
        });
        kernel::never_fail();
        assert_eq!(table.count(), usize::from(stored));
        assert!((0..200).all(|n| table.keep(&[n / 2], &export(n % 2), ONE) == (n < stored)));
        if result.is_ok() {
            break;
        }
        assert_eq!(result, Err(ENOMEM));
        // It goes on where it failed.
        table.add(&[stored / 2], &export(stored % 2), ONE).unwrap();
        assert_eq!(table.count(), usize::from(stored) + 1);
    }
}

/// A step of the random walk; names, exports and clients are small numbers.
#[derive(Clone, Debug)]
enum Step {
    Add(u8, u8, u32),
    Keep(u8, u8, u32),
    /// A look: whether the client is idle, what it has, and how many of its holds can be taken out.
    Look(u8, bool, Vec<u8>, usize),
    /// One is gone, and so many of its holds can be taken out.
    Forget(u8, u32, usize),
    Clear,
}

fn step() -> impl Strategy<Value = Step> {
    let name = || 0..12u8;
    let export = || 0..5u8;
    let owner = || 0..2u32;
    let memory = || prop_oneof![3 => Just(usize::MAX), 1 => 0..3usize];
    let there = proptest::collection::vec(0..5u8, 0..4);
    prop_oneof![
        8 => (name(), export(), owner()).prop_map(|(name, at, owner)| Step::Add(name, at, owner)),
        4 => (name(), export(), owner()).prop_map(|(name, at, owner)| Step::Keep(name, at, owner)),
        8 => (name(), any::<bool>(), there, memory())
            .prop_map(|(name, idle, there, memory)| Step::Look(name, idle, there, memory)),
        4 => (name(), owner(), memory())
            .prop_map(|(name, owner, memory)| Step::Forget(name, owner, memory)),
        1 => Just(Step::Clear),
    ]
}

/// Whose a hold is, and whether it leaves.
type Held = (u32, bool);

/// Takes a hold out of the map, as long as there is memory for it.
fn take(
    map: &mut BTreeMap<(u8, ExportId), Held>,
    memory: &mut usize,
    name: u8,
    export: &ExportId,
) -> Result {
    if *memory == 0 {
        return Err(ENOMEM);
    }
    *memory -= 1;
    assert!(map.remove(&(name, *export)).is_some(), "it left twice");
    Ok(())
}

/// Is there enough memory to take so many out?
fn outcome(count: usize, memory: usize) -> Result {
    if count <= memory {
        Ok(())
    } else {
        Err(ENOMEM)
    }
}

proptest! {
    /// Which client has what, and whether it leaves.
    #[test]
    fn like_a_map(steps in proptest::collection::vec(step(), 0..300)) {
        let mut table = Table::new(Weak);
        let mut map: BTreeMap<(u8, ExportId), Held> = BTreeMap::new();
        let mut leaving = 0;
        for step in steps {
            match step {
                Step::Add(name, at, owner) => {
                    table.add(&[name], &export(at), Some(owner)).unwrap();
                    map.insert((name, export(at)), (owner, false));
                }
                Step::Keep(name, at, owner) => {
                    let held = map.get_mut(&(name, export(at)));
                    let is = held.map(|held| *held = (owner, false)).is_some();
                    prop_assert_eq!(table.keep(&[name], &export(at), Some(owner)), is);
                }
                Step::Look(name, idle, there, mut memory) => {
                    let there: Vec<_> = there.into_iter().map(export).collect();
                    let goes = |(row, held): &(&(u8, ExportId), &Held)| {
                        row.0 == name && held.1 && idle && !there.contains(&row.1)
                    };
                    let expected = outcome(map.iter().filter(goes).count(), memory);
                    let finds = |at: &ExportId| there.contains(at);
                    let result = table.look(&[name], leave(idle), finds, |at| {
                        let held = map.get(&(name, *at)).expect("a hold");
                        assert!(held.1 && idle && !there.contains(at));
                        take(&mut map, &mut memory, name, at)
                    });
                    prop_assert_eq!(result, expected);
                    let own = map.iter_mut().filter(|(row, _)| row.0 == name);
                    if result.is_err() {
                        // How far it came is not said: all begin to leave.
                        look(&mut table, &[name], false, &[]);
                        own.for_each(|(_, held)| held.1 = true);
                        leaving = table.leaving();
                    } else {
                        for (row, held) in own {
                            let is_there = there.contains(&row.1);
                            leaving += usize::from(!is_there && !held.1);
                            held.1 = !is_there;
                        }
                    }
                }
                Step::Forget(name, owner, mut memory) => {
                    let goes = |(row, held): &(&(u8, ExportId), &Held)| row.0 == name && held.0 == owner;
                    let expected = outcome(map.iter().filter(goes).count(), memory);
                    let result = table.forget(&[name], |at, who| {
                        assert_eq!(who, Some(map[&(name, *at)].0));
                        if who != Some(owner) {
                            return Ok(false);
                        }
                        take(&mut map, &mut memory, name, at)?;
                        Ok(true)
                    });
                    prop_assert_eq!(result, expected);
                }
                Step::Clear => {
                    table.clear();
                    map.clear();
                }
            }
            prop_assert_eq!(table.count(), map.len());
            prop_assert_eq!(table.leaving(), leaving);
            let exports: BTreeSet<_> = map.keys().map(|row| row.1).collect();
            prop_assert_eq!(table.held().count(), exports.len());
            prop_assert!((0..5).all(|at| is_held(&table, &export(at)) == exports.contains(&export(at))));
        }
        for name in 0..12 {
            for at in 0..5 {
                let is = map.contains_key(&(name, export(at)));
                prop_assert_eq!(table.keep(&[name], &export(at), ONE), is);
            }
        }
    }
}
