// SPDX-License-Identifier: GPL-2.0
//! An address as an admin gives it: `ADDRESS[/PREFIX][@DEVICE]`.
//!
//! `192.0.2.50`, `192.0.2.50/24`, `192.0.2.50/24@eth0`, `fd77::50/64@eth0`. An IPv6 address may be in
//! brackets, as it is beside a port: `[fd77::50]/64`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use thiserror::Error;

/// Bytes in the longest name of a device (`IFNAMSIZ` without its final zero, include/uapi/linux/if.h).
const DEVICE_MOST: usize = 15;

/// A floating address, and where an admin wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// A unicast address that clients can reach: no loopback and no link-local IPv6 address, and never
    /// an IPv4 address in IPv6 form.
    pub address: IpAddr,
    /// Bits in the network's part of the address: 1 to 32, or to 128 for IPv6.
    pub prefix: Option<u8>,
    /// The device's name, as the kernel would allow it.
    pub device: Option<String>,
}

/// Why what was given is no [`Spec`].
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SpecError {
    /// It has no address at its beginning, or another syntax.
    #[error("{0:?} is no address: write ADDRESS[/PREFIX][@DEVICE], such as 192.0.2.50/24@eth0")]
    Address(String),
    /// The address is for something else.
    #[error("{0} cannot be a floating address: {1}")]
    Unfit(IpAddr, &'static str),
    /// The prefix's length is none for this address.
    #[error("{1:?} is no prefix length for {0}: give 1 to {max}", max = bits(*.0))]
    Prefix(IpAddr, String),
    /// The kernel would not have a device of this name.
    #[error("{0:?} is no name of a network device")]
    Device(String),
}

/// Bits in an address of this family: the longest prefix.
pub(super) fn bits(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// Why clients cannot be served at this address, if so.
pub(super) fn unfit(address: IpAddr) -> Option<&'static str> {
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    if address.is_unspecified() || address.is_multicast() || broadcast {
        return Some("it is not the address of one node");
    }
    if address.is_loopback() {
        return Some("it does not leave this node");
    }
    match address {
        IpAddr::V6(v6) if v6.is_unicast_link_local() => {
            Some("it is good on one link only, and clients would have to name that link")
        }
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => Some("write it as an IPv4 address"),
        _ => None,
    }
}

/// The kernel's rule for the names of devices (`dev_valid_name`, net/core/dev.c).
fn is_device(name: &str) -> bool {
    let forbidden = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
    (1..=DEVICE_MOST).contains(&name.len())
        && name != "."
        && name != ".."
        && !name.contains(forbidden)
}

impl FromStr for Spec {
    type Err = SpecError;

    fn from_str(given: &str) -> Result<Self, SpecError> {
        let (place, device) = match given.split_once('@') {
            Some((place, device)) => (place, Some(device)),
            None => (given, None),
        };
        let (host, prefix) = match place.split_once('/') {
            Some((host, prefix)) => (host, Some(prefix)),
            None => (place, None),
        };
        let bracketed = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        let address = match bracketed {
            Some(inner) => inner.parse().map(IpAddr::V6),
            None => host.parse(),
        };
        let address = address.map_err(|_| SpecError::Address(given.into()))?;
        if let Some(why) = unfit(address) {
            return Err(SpecError::Unfit(address, why));
        }
        let prefix = prefix
            .map(|digits| parse_prefix(address, digits))
            .transpose()?;
        let device = match device {
            Some(name) if !is_device(name) => return Err(SpecError::Device(name.into())),
            device => device.map(String::from),
        };
        Ok(Self {
            address,
            prefix,
            device,
        })
    }
}

/// A prefix length for this address, in plain digits.
fn parse_prefix(address: IpAddr, digits: &str) -> Result<u8, SpecError> {
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    match digits.parse() {
        Ok(prefix) if plain && (1..=bits(address)).contains(&prefix) => Ok(prefix),
        _ => Err(SpecError::Prefix(address, digits.into())),
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}", self.address)?;
        if let Some(prefix) = self.prefix {
            write!(f, "/{prefix}")?;
        }
        if let Some(device) = &self.device {
            write!(f, "@{device}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn read(given: &str) -> (String, Option<u8>, Option<String>) {
        let spec: Spec = given.parse().unwrap();
        (spec.address.to_string(), spec.prefix, spec.device)
    }

    #[test]
    fn reads_every_form() {
        assert_eq!(read("192.0.2.50"), ("192.0.2.50".into(), None, None));
        assert_eq!(read("192.0.2.50/24"), ("192.0.2.50".into(), Some(24), None));
        let bond = Some("bond0.77".into());
        assert_eq!(
            read("192.0.2.50/24@bond0.77"),
            ("192.0.2.50".into(), Some(24), bond)
        );
        assert_eq!(
            read("fd77::50@eth0"),
            ("fd77::50".into(), None, Some("eth0".into()))
        );
        assert_eq!(read("[fd77::50]/64"), ("fd77::50".into(), Some(64), None));
        assert_eq!(
            read("fd77:0::0050/128"),
            ("fd77::50".into(), Some(128), None)
        );
    }

    #[test]
    fn refuses_what_is_no_floating_address() {
        for given in [
            "",
            "server",
            "192.0.2",
            "192.0.2.050",
            "[192.0.2.50]",
            "[fd77::50",
            "fd77::50]",
            "/24",
            "@eth0",
            "192.0.2.50 /24",
            "192.0.2.50:2049",
            "fe80::1%eth0",
            "[fe80::1%eth0]",
        ] {
            assert_eq!(given.parse::<Spec>(), Err(SpecError::Address(given.into())));
        }
        for given in [
            "0.0.0.0",
            "127.0.0.1",
            "::1",
            "::",
            "224.0.0.1",
            "ff02::1",
            "255.255.255.255",
            "fe80::1",
            "::ffff:192.0.2.50",
        ] {
            assert!(
                matches!(given.parse::<Spec>(), Err(SpecError::Unfit(..))),
                "{given}"
            );
        }
    }

    #[test]
    fn refuses_what_is_no_prefix_or_device() {
        for given in [
            "192.0.2.50/",
            "192.0.2.50/0",
            "192.0.2.50/33",
            "192.0.2.50/+8",
            "fd77::50/129",
            "fd77::50/256",
        ] {
            assert!(
                matches!(given.parse::<Spec>(), Err(SpecError::Prefix(..))),
                "{given}"
            );
        }
        for device in [
            "",
            ".",
            "..",
            "../x",
            "a b",
            "eth0:1",
            "sixteen-letters-",
            "eth0\n",
        ] {
            let given = format!("192.0.2.50/24@{device}");
            assert_eq!(given.parse::<Spec>(), Err(SpecError::Device(device.into())));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(given in "\\PC*") {
            let _ = given.parse::<Spec>();
        }

        #[test]
        fn what_is_written_is_read_back(
            v6: bool, bits: u128, prefix in proptest::option::of(1..=32u8), device in proptest::option::of("[a-z0-9.-]{3,15}"),
        ) {
            let address = if v6 { IpAddr::V6(bits.into()) } else { IpAddr::V4((bits as u32).into()) };
            prop_assume!(unfit(address).is_none());
            let spec = Spec { address, prefix, device };
            prop_assert_eq!(spec.to_string().parse(), Ok(spec));
        }
    }
}
