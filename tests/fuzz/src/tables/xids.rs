// SPDX-License-Identifier: GPL-2.0

//! Upcalls in flight.

use super::Step;
use crate::tracking::xid::XidTable;
use crate::with_memory;
use kernel::prelude::*;
use std::collections::BTreeMap;

/// Upcalls are sent and answered.
pub fn walk(steps: impl Iterator<Item = Step>) {
    // The numbers go over the end of their range.
    let mut table = XidTable::new(u32::MAX - 20);
    let mut map = BTreeMap::new();
    for (n, step) in steps.enumerate() {
        let chosen = map.keys().nth(usize::from(step.who)).copied();
        match step.what % 4 {
            0 | 1 => match with_memory(step.memory, || table.reserve()) {
                Ok(xid) => {
                    table.insert(xid, n);
                    assert_eq!(map.insert(xid, n), None, "a xid that is in use");
                }
                Err(e) => assert_eq!(e, ENOMEM),
            },
            2 => {
                let xid = chosen.unwrap_or(u32::from(step.number));
                assert_eq!(table.remove(xid), map.remove(&xid));
            }
            _ if step.number == 0 => {
                let taken = table.take();
                assert_eq!(taken.len(), map.len());
                map.clear();
            }
            _ => {
                let xid = chosen.unwrap_or(0).wrapping_add(step.number.into());
                assert_eq!(table.get(xid), map.get(&xid));
            }
        }
        assert_eq!(table.len(), map.len());
        let mut values: Vec<_> = table.values().collect();
        values.sort();
        assert!(values
            .into_iter()
            .eq(map.values().collect::<std::collections::BTreeSet<_>>()));
    }
}
