// SPDX-License-Identifier: GPL-2.0

//! The module's own files, as they are, and what must hold for them whatever the input is.
//!
//! Each function takes an input of a fuzz target, and panics if it finds a mistake.

// What the module uses from other files is not used here.
#![allow(dead_code)]

mod base;
mod nfs4;
mod nlm;
mod scopes;
mod tracking;

mod check_clients;
mod check_commands;
mod check_downcalls;
mod check_lists;
mod tables;

pub use check_clients::clients;
pub use check_commands::commands;
pub use check_downcalls::downcalls;
pub use tables::tables;

/// A hash with many collisions.
#[derive(Clone, Copy)]
struct Weak;

impl base::index::KeyedHash for Weak {
    fn hash(&self, key: &[u8]) -> u64 {
        key.iter().map(|b| u64::from(*b)).sum::<u64>() % 11
    }
}

/// Lets allocations fail after `n` of them, or none if that is 255, while `f` runs.
fn with_memory<R>(n: u8, f: impl FnOnce() -> R) -> R {
    if n < u8::MAX {
        kernel::fail_after(n.into());
    }
    let result = f();
    kernel::never_fail();
    result
}
