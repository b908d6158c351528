// SPDX-License-Identifier: GPL-2.0
//! On which device, and with which prefix, an address is to be.
//!
//! What the admin leaves out is taken from the node's other addresses: a floating address nearly always
//! is in a network that the node already has an address in.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::spec::{bits, Spec};

/// An address on a device of this node, with what is needed to put it back as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    /// The address.
    pub address: IpAddr,
    /// Bits in the network's part of the address.
    pub prefix: u8,
    /// The device's name.
    pub device: String,
    /// IPv4: the label, if it is not just the device's name (`eth0:ha`).
    pub label: Option<String>,
    /// IPv4: the broadcast address that goes with it.
    pub broadcast: Option<Ipv4Addr>,
    /// IPv6: the node uses it for connections of its own, too. A floating address is not for that, as
    /// those connections would break when it moves.
    pub preferred: bool,
    /// No route to its network comes with it (`noprefixroute`).
    pub no_route: bool,
}

/// Why it is not clear where an address is to be.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum PlaceError {
    /// The address is on this node, but with another device or prefix, which comes second.
    #[error("{0} is on this node already, as {1}: give that, or delete it there")]
    Elsewhere(String, String),
    /// What is left out cannot be taken from another address.
    #[error(
        "{0}: no address of this node is in its network there; give the device and the prefix, \
         as ADDRESS/PREFIX@DEVICE"
    )]
    NoNetwork(String),
    /// Several devices have a network of the same size with it, and come second.
    #[error("{0} is in the networks of several devices, {1}: say which, as {0}@DEVICE")]
    Ambiguous(String, String),
}

impl Placed {
    /// As `ip addr add ADDRESS/PREFIX dev DEVICE` has it, but not for the node's own connections.
    pub fn new(address: IpAddr, prefix: u8, device: &str) -> Self {
        Self {
            address,
            prefix,
            device: device.into(),
            label: None,
            broadcast: None,
            preferred: false,
            no_route: false,
        }
    }

    /// Whether the other address is in this one's network.
    pub(super) fn network_has(&self, other: IpAddr) -> bool {
        match (self.address, other) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                (own.to_bits() ^ other.to_bits()).leading_zeros() >= self.prefix.into()
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                (own.to_bits() ^ other.to_bits()).leading_zeros() >= self.prefix.into()
            }
            _ => false,
        }
    }
}

impl fmt::Display for Placed {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}/{}@{}", self.address, self.prefix, self.device)
    }
}

/// Where an address is to be, on a node that has these addresses ([`super::address::all`]): where it is
/// already, or on the device that has an address in the smallest network around it.
///
/// # Errors
///
/// [`PlaceError`], if it is somewhere else than the admin says, or what the admin leaves out is not
/// clear from the node's addresses.
pub fn place(spec: &Spec, present: &[Placed]) -> Result<Placed, PlaceError> {
    let address = spec.address;
    let on_device = |placed: &&Placed| {
        spec.device
            .as_ref()
            .is_none_or(|name| *name == placed.device)
    };
    let there = |placed: &&Placed| placed.address == address;
    let as_given = |placed: &&Placed| spec.prefix.is_none_or(|prefix| prefix == placed.prefix);
    if let Some(there) = present
        .iter()
        .filter(there)
        .find(|placed| on_device(placed) && as_given(placed))
    {
        return Ok(there.clone());
    }
    if let Some(there) = present.iter().find(there) {
        return Err(PlaceError::Elsewhere(spec.to_string(), there.to_string()));
    }
    if let (Some(prefix), Some(device)) = (spec.prefix, &spec.device) {
        return Ok(Placed::new(address, prefix, device));
    }
    // An address that is a network of its own (/32, /128) says nothing of others.
    let around: Vec<_> = present
        .iter()
        .filter(on_device)
        .filter(|placed| placed.prefix < bits(address) && placed.network_has(address))
        .collect();
    let longest = around.iter().map(|placed| placed.prefix).max();
    let longest = longest.ok_or_else(|| PlaceError::NoNetwork(spec.to_string()))?;
    let mut devices: Vec<_> = around
        .iter()
        .filter(|placed| placed.prefix == longest)
        .map(|placed| placed.device.as_str())
        .collect();
    devices.sort();
    devices.dedup();
    match devices[..] {
        [device] => Ok(Placed::new(address, spec.prefix.unwrap_or(longest), device)),
        _ => Err(PlaceError::Ambiguous(spec.to_string(), devices.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(given: &str) -> Spec {
        given.parse().unwrap()
    }

    fn placed(given: &str) -> Placed {
        let spec = spec(given);
        Placed::new(spec.address, spec.prefix.unwrap(), &spec.device.unwrap())
    }

    /// A node with a network for clients, one for its peer, and IPv6.
    fn node() -> Vec<Placed> {
        [
            "192.0.2.1/24@eth0",
            "10.0.0.1/8@eth1",
            "10.0.0.9/32@eth2",
            "fd77::1/64@eth0",
            "fd77::9/128@eth1",
        ]
        .map(placed)
        .into()
    }

    #[track_caller]
    fn placed_as(given: &str) -> String {
        place(&spec(given), &node()).unwrap().to_string()
    }

    #[test]
    fn what_is_left_out_is_taken_from_the_network_around_it() {
        assert_eq!(placed_as("192.0.2.50"), "192.0.2.50/24@eth0");
        assert_eq!(placed_as("192.0.2.50/32"), "192.0.2.50/32@eth0");
        assert_eq!(placed_as("10.9.9.9@eth1"), "10.9.9.9/8@eth1");
        assert_eq!(placed_as("fd77::50"), "fd77::50/64@eth0");
        assert_eq!(placed_as("198.51.100.1/24@eth7"), "198.51.100.1/24@eth7");
    }

    #[test]
    fn the_smallest_network_wins_and_two_equal_ones_do_not() {
        let mut node = node();
        node.push(placed("10.1.0.1/16@eth3"));
        assert_eq!(
            place(&spec("10.1.0.50"), &node).unwrap(),
            placed("10.1.0.50/16@eth3")
        );
        node.push(placed("10.1.0.2/16@eth4"));
        assert_eq!(
            place(&spec("10.1.0.50"), &node),
            Err(PlaceError::Ambiguous(
                "10.1.0.50".into(),
                "eth3, eth4".into()
            ))
        );
        assert_eq!(
            place(&spec("10.1.0.50@eth4"), &node).unwrap(),
            placed("10.1.0.50/16@eth4")
        );
        // A second address of one device is no second device.
        node.push(placed("192.0.2.2/24@eth0"));
        assert_eq!(
            place(&spec("192.0.2.50"), &node).unwrap(),
            placed("192.0.2.50/24@eth0")
        );
    }

    #[test]
    fn no_network_is_an_error_that_says_what_to_give() {
        for given in [
            "198.51.100.1",
            "198.51.100.1/24",
            "198.51.100.1@eth0",
            "fd78::1",
            "192.0.2.50@eth1",
        ] {
            let error = place(&spec(given), &node()).unwrap_err();
            assert!(
                matches!(error, PlaceError::NoNetwork(_)),
                "{given}: {error}"
            );
            assert!(error.to_string().contains("give the device and the prefix"));
        }
    }

    #[test]
    fn an_address_that_is_there_stays_as_it_is() {
        let mut node = node();
        node.push(Placed {
            label: Some("eth0:ha".into()),
            ..placed("192.0.2.50/25@eth0")
        });
        for given in [
            "192.0.2.50",
            "192.0.2.50/25",
            "192.0.2.50@eth0",
            "192.0.2.50/25@eth0",
        ] {
            assert_eq!(
                place(&spec(given), &node).unwrap().label,
                Some("eth0:ha".into())
            );
        }
        for given in ["192.0.2.50/24", "192.0.2.50@eth1", "192.0.2.50/24@eth0"] {
            let error = place(&spec(given), &node).unwrap_err();
            assert!(
                error.to_string().contains("as 192.0.2.50/25@eth0"),
                "{error}"
            );
        }
    }
}
