// SPDX-License-Identifier: GPL-2.0

//! The xid table, against a map.

use crate::tracking::xid::*;
use kernel::prelude::*;
use proptest::prelude::*;
use std::collections::HashMap;

fn insert<T>(table: &mut XidTable<T>, value: T) -> u32 {
    let xid = table.reserve().unwrap();
    table.insert(xid, value);
    xid
}

#[test]
fn empty_table_has_nothing() {
    let mut table: XidTable<u8> = XidTable::new(5);
    assert_eq!(table.len(), 0);
    assert!(table.get(0).is_none() && table.get(5).is_none());
    assert!(table.remove(5).is_none());
}

#[test]
fn xids_count_up_and_are_not_reused() {
    let mut table = XidTable::new(u32::MAX - 1);
    for expected in [u32::MAX - 1, u32::MAX, 0, 1] {
        assert_eq!(insert(&mut table, ()), expected);
        assert!(table.remove(expected).is_some());
        assert!(table.remove(expected).is_none());
    }
}

#[test]
fn an_old_upcall_keeps_its_xid_while_others_come_and_go() {
    let mut table = XidTable::new(0);
    let old = insert(&mut table, 1_000_000);
    for n in 0..100_000 {
        let xid = insert(&mut table, n);
        assert_ne!(xid, old);
        assert_eq!(table.remove(xid), Some(n));
    }
    assert_eq!(table.get(old), Some(&1_000_000));
}

#[test]
fn the_limit_is_an_error_and_passes() {
    let mut table = XidTable::new(0);
    for n in 0..MAX_ENTRIES {
        insert(&mut table, n);
    }
    assert_eq!(table.reserve(), Err(EBUSY));
    assert_eq!(table.remove(17), Some(17));
    insert(&mut table, 0);
    assert_eq!(table.reserve(), Err(EBUSY));
}

#[test]
fn what_is_taken_leaves_a_table_that_goes_on() {
    let mut table = XidTable::new(3);
    insert(&mut table, 'a');
    let taken = table.take();
    assert_eq!((taken.len(), table.len()), (1, 0));
    assert_eq!(taken.get(3), Some(&'a'));
    assert_eq!(insert(&mut table, 'b'), 4);
}

#[test]
fn no_memory_changes_nothing() {
    let mut table = XidTable::new(0);
    for n in 0..8 {
        insert(&mut table, n);
    }
    kernel::fail_after(0);
    assert_eq!(table.reserve(), Err(ENOMEM));
    kernel::never_fail();
    assert_eq!(table.len(), 8);
    assert!((0..8).all(|n| table.get(n) == Some(&n)));
    assert_eq!(insert(&mut table, 8), 8);
}

proptest! {
    #[test]
    fn like_a_map(first: u32, steps in proptest::collection::vec(any::<(u8, u8)>(), 0..500)) {
        let mut table = XidTable::new(first);
        let mut map = HashMap::new();
        let mut xids = Vec::new();
        for (n, (step, pick)) in steps.into_iter().enumerate() {
            match step {
                // All of them go, and the xids go on.
                0..8 => {
                    let taken = table.take();
                    prop_assert_eq!(taken.len(), map.len());
                    prop_assert!(map.iter().all(|(x, value)| taken.get(*x) == Some(value)));
                    map.clear();
                }
                // Remove one that was given out, there or not.
                8..120 if !xids.is_empty() => {
                    let xid = xids[pick as usize % xids.len()];
                    prop_assert_eq!(table.remove(xid), map.remove(&xid));
                }
                _ => {
                    let xid = insert(&mut table, n);
                    prop_assert!(!xids.contains(&xid));
                    prop_assert!(map.insert(xid, n).is_none());
                    xids.push(xid);
                }
            }
            prop_assert_eq!(table.len(), map.len());
            prop_assert!(xids.iter().all(|x| table.get(*x) == map.get(x)));
            prop_assert_eq!(table.values().count(), map.len());
        }
    }
}
