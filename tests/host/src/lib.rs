// SPDX-License-Identifier: GPL-2.0

//! The module's own files, as they are; the tests stand beside them.

// What the module uses from other files is not used here.
#![allow(dead_code)]

mod base;
mod drain;
mod nfs4;
mod nlm;
mod scopes;
mod tracking;

#[cfg(test)]
mod attributes_test;
#[cfg(test)]
mod changes_test;
#[cfg(test)]
mod cld_test;
#[cfg(test)]
mod grace_test;
#[cfg(test)]
mod holds_test;
#[cfg(test)]
mod order_test;
#[cfg(test)]
mod reclaim_test;
#[cfg(test)]
mod records_test;
#[cfg(test)]
mod roots_test;
#[cfg(test)]
mod scope_test;
#[cfg(test)]
mod seen_test;
#[cfg(test)]
mod was_held_test;
#[cfg(test)]
mod xid_test;
