// SPDX-License-Identifier: GPL-2.0

//! Steps on the tables, each beside a map that does the same.
//!
//! An input says which table, then four bytes a step: what, for whom, a number, and how many
//! allocations succeed (255: all).

mod changes;
mod grace;
mod pairs;
mod xids;

/// A step.
#[derive(Clone, Copy)]
struct Step {
    what: u8,
    who: u8,
    number: u8,
    memory: u8,
}

/// Goes some steps on a table.
pub fn tables(data: &[u8]) {
    let Some((table, rest)) = data.split_first() else {
        return;
    };
    let steps = rest.chunks_exact(4).map(|bytes| Step {
        what: bytes[0],
        who: bytes[1],
        number: bytes[2],
        memory: bytes[3],
    });
    match table % 4 {
        0 => changes::walk(steps),
        1 => grace::walk(steps),
        2 => pairs::walk(steps),
        _ => xids::walk(steps),
    }
}
