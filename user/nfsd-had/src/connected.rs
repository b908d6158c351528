// SPDX-License-Identifier: GPL-2.0
//! Who is connected to the floating addresses of this node: after a crash, whoever has such an address then tells these
//! clients so (a tickle ACK), and they come at once.

use crate::trouble::Trouble;
use anyhow::Result;
use nfsd_ha::control::{self, Control};
use nfsd_ha::net::address;
use nfsd_ha::net::connections::Connection;
use nfsd_ha::net::sockets::{self, Ports};
use std::error::Error;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// How often it is looked for.
pub const LOOK: Duration = Duration::from_secs(5);

/// The addresses that are here, sorted, and who is connected to them.
pub type Seen = (Vec<IpAddr>, Vec<Connection>);

/// Who is connected, and what of that is stored.
pub struct Connected {
    /// When to look next.
    pub next: Instant,
    /// What was seen, if that is to be stored.
    new: Option<Seen>,
    stored: Seen,
    trouble: Trouble,
}

impl Connected {
    /// Nobody is, as far as is known. It is looked for at once.
    pub fn new() -> Self {
        Self {
            next: Instant::now(),
            new: None,
            stored: Seen::default(),
            trouble: Trouble::with("connections: ", "clients may come late after a crash"),
        }
    }

    /// Looks, if it is time to.
    pub fn look(&mut self) {
        if Instant::now() < self.next {
            return;
        }
        self.next = Instant::now() + LOOK;
        match seen() {
            Ok(seen) => self.saw(seen),
            Err(e) => self.trouble.is(e.as_ref()),
        }
    }

    fn saw(&mut self, seen: Option<Seen>) {
        self.new = seen.filter(|seen| *seen != self.stored);
        if self.new.is_none() {
            self.trouble.over();
        }
    }

    /// What is to be stored now. If that fails, it is again when somebody has looked again.
    pub fn take(&mut self) -> Option<Seen> {
        self.new.take()
    }

    /// What was taken is stored, or not.
    pub fn done(&mut self, seen: Seen, result: Result<(), &(dyn Error + 'static)>) {
        match result {
            Ok(()) => {
                self.stored = seen;
                self.trouble.over();
            }
            Err(e) => self.trouble.is(e),
        }
    }
}

/// Who is connected now. `None` without the module, as nobody knows which addresses move.
fn seen() -> Result<Option<Seen>> {
    let floating = match Control::open().and_then(|control| control.floating_addresses()) {
        Err(control::Error::Absent { .. }) => return Ok(None),
        floating => floating?,
    };
    // What is on record of others stays, as they have left, or this node has booted: see `Batch::store_connections()`.
    let all = match floating.is_empty() {
        true => Vec::new(),
        false => address::all()?,
    };
    let is_here = |address: &IpAddr| all.iter().any(|placed| placed.address == *address);
    let mut here: Vec<_> = floating.into_iter().filter(is_here).collect();
    here.sort();
    if here.is_empty() {
        return Ok(Some(Seen::default()));
    }
    let connections = sockets::established(&here, Ports::Any)?;
    Ok(Some((here, connections)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(connections: &[&str]) -> Option<Seen> {
        let connections = connections.iter().map(|line| line.parse().unwrap());
        Some((vec!["192.0.2.50".parse().unwrap()], connections.collect()))
    }

    const ONE: &str = "192.0.2.50:2049 192.0.2.17:878";

    #[test]
    fn what_has_changed_is_stored_once() {
        let mut connected = Connected::new();
        // The address is here, and what was on record of it is old.
        for seen in [some(&[]), some(&[ONE]), some(&[])] {
            connected.saw(seen.clone());
            assert_eq!(connected.take(), seen);
            assert_eq!(connected.take(), None);
            connected.done(seen.clone().unwrap(), Ok(()));
            connected.saw(seen);
            assert_eq!(connected.take(), None);
        }
        // The module has gone.
        connected.saw(None);
        assert_eq!(connected.take(), None);
    }

    #[test]
    fn what_could_not_be_stored_is_so_when_somebody_has_looked_again() {
        let mut connected = Connected::new();
        let error = std::io::Error::other("full");
        for _ in 0..2 {
            connected.saw(some(&[ONE]));
            let seen = connected.take().unwrap();
            connected.done(seen, Err(&error));
            assert_eq!(connected.take(), None);
        }
    }
}
