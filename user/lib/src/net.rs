// SPDX-License-Identifier: GPL-2.0
//! What a floating address needs of the network: to be added and taken away, to be known to its
//! neighbours, and to have its clients come at once.
//!
//! ```text
//!          leave           addresses go, and their clients hear nothing of it
//!            │
//!    quiet, address, sockets   who is connected, and ends connections; adds and deletes addresses
//!            │          │
//!            │      connections, tickle    a list of them; has their clients come at once
//!            │
//!   announce │             tells the neighbours where an address is
//!        │   │
//!        place             on which device, and with which prefix, an address is to be
//!          │
//!         spec             an address as an admin gives it
//!
//!       netlink            the kernel's answers to `address`, `quiet` and `sockets`
//! ```
//!
//! An address leaves: [`sockets::established`], [`leave::leave`]. It comes: [`address::add`],
//! [`announce::Announcer::send`], [`tickle::Tickler::send`], and again the latter two.
//!
//! All of it needs `CAP_NET_ADMIN` and `CAP_NET_RAW`, and looks at the network namespace that the
//! calling thread is in. Nothing here starts another program.

pub mod address;
pub mod announce;
mod checksum;
pub mod connections;
#[cfg(any(test, fuzzing))]
pub mod laws;
pub mod leave;
mod netlink;
pub mod place;
pub mod quiet;
pub mod sockets;
pub mod spec;
pub mod tickle;
