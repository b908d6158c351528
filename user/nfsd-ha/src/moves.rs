// SPDX-License-Identifier: GPL-2.0
//! How a file system moves with its exports and addresses: docs/moving.md has the steps.
//!
//! ```text
//!   away, here      the steps A-1 to A-4 away from this node, and B-1 to B-5 to it, also for who turns back
//!     │     │
//!     │  clients      the last ones of them: clients are told
//!     │     │
//!     │  carried      what a list carries to the other node besides
//!     │
//!   plan            what moves, and what is in the way, before anything is changed
//!     │
//!   target, steps   which file system is meant; steps with their times
//! ```

pub mod away;
pub mod carried;
mod clients;
pub mod here;
pub mod plan;
pub mod steps;
pub mod target;
