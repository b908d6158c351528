// SPDX-License-Identifier: GPL-2.0
//! The node's addresses: what they are, and how to add and delete one.
//!
//! Everything here may be repeated: what is there is not added again, and what is gone is not missed.

use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, CacheInfo};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use rustix::io::Errno;
use rustix::net::netdevice::{index_to_name, name_to_index};
use thiserror::Error;

use super::netlink::{Line, Listed};
use super::place::Placed;
use super::quiet;

/// How often the addresses are listed anew when they change meanwhile.
const TRIES: usize = 20;

/// How long to wait before looking again whether an address is usable.
const LOOK: Duration = Duration::from_millis(20);

/// A lifetime without end (RFC 4862, 5.5.3; include/net/addrconf.h).
const FOREVER: u32 = u32::MAX;

/// What can go wrong with the node's addresses. An address is named as [`Placed`] is written.
#[derive(Debug, Error)]
pub enum AddressError {
    /// The kernel does not list them.
    #[error("cannot list the addresses of this node: {0}")]
    List(#[source] io::Error),
    /// The device does not exist.
    #[error("cannot add {0}: there is no such device; `ip link` lists them")]
    NoDevice(String),
    /// IPv6 is switched off on the device.
    #[error("cannot add {0}: IPv6 is off there; `sysctl net.ipv6.conf.{1}.disable_ipv6=0`")]
    NoIpv6(String, String),
    /// The address is on this node, but with another device or prefix, which comes second.
    #[error("cannot add {0}: this node has it already, as {1}; delete that first")]
    Elsewhere(String, String),
    /// The kernel refuses to add it.
    #[error("cannot add {0}: {1}")]
    Add(String, #[source] io::Error),
    /// The address was kept quiet, and still is.
    #[error(transparent)]
    Quiet(#[from] quiet::QuietError),
    /// The kernel refuses to delete it.
    #[error("cannot delete {0}: {1}")]
    Delete(String, #[source] io::Error),
    /// The kernel would delete others with it.
    #[error(
        "{placed} is not deleted, as the kernel would delete {others}, too: \
         `sysctl net.ipv4.conf.{device}.promote_secondaries=1`, then repeat"
    )]
    TakesOthers {
        /// The address.
        placed: String,
        /// What would go with it.
        others: String,
        /// The device that all of them are on.
        device: String,
    },
    /// The address is on no device.
    #[error("{0} is on no device of this node")]
    Absent(IpAddr),
    /// Another node has the address (RFC 4862, 5.4).
    #[error("another node has {0}, too: take it away there, delete it here, and repeat")]
    Duplicate(String),
    /// The address did not become usable in time.
    #[error("{0} is not usable after {1:?}: the kernel still asks whether another node has it")]
    Tentative(String, Duration),
}

/// An address with the kernel's flags, which change.
struct Seen {
    placed: Placed,
    flags: AddressFlags,
}

/// All addresses of this node, IPv4 and IPv6.
///
/// # Errors
///
/// [`AddressError::List`].
pub fn all() -> Result<Vec<Placed>, AddressError> {
    let seen = look().map_err(AddressError::List)?;
    Ok(seen.into_iter().map(|seen| seen.placed).collect())
}

/// Where on this node an address is. It may be on several devices, and on none.
///
/// # Errors
///
/// [`AddressError::List`].
pub fn find(address: IpAddr) -> Result<Vec<Placed>, AddressError> {
    let mut placed = all()?;
    placed.retain(|placed| placed.address == address);
    Ok(placed)
}

/// Adds an address, and says whether that was to be done. An IPv6 address is usable at once: the kernel
/// does not first look for another node that has it (`nodad`), as the cluster knows that there is none.
///
/// # Errors
///
/// [`AddressError`], if the address is on this node, but not there, or the kernel refuses.
pub fn add(placed: &Placed) -> Result<bool, AddressError> {
    if let IpAddr::V6(address) = placed.address {
        quiet::speak(address)?;
    }
    let at_place = |there: &Placed| there.device == placed.device && there.prefix == placed.prefix;
    let found = find(placed.address)?;
    if found.iter().any(at_place) {
        return Ok(false);
    }
    let name = placed.to_string();
    if let Some(there) = found.first() {
        return Err(AddressError::Elsewhere(name, there.to_string()));
    }
    let Ok(index) = device_index(&placed.device) else {
        return Err(AddressError::NoDevice(name));
    };
    let request = RouteNetlinkMessage::NewAddress(message(placed, index));
    let told = line().and_then(|mut line| line.tell(request, NLM_F_CREATE | NLM_F_EXCL));
    told.map(|()| true)
        .or_else(|source| match Errno::from_io_error(&source) {
            Some(Errno::EXIST) => Ok(false),
            Some(Errno::ACCESS) if placed.address.is_ipv6() => {
                Err(AddressError::NoIpv6(name, placed.device.clone()))
            }
            _ => Err(AddressError::Add(name, source)),
        })
}

/// Deletes an address, and says whether that was to be done.
///
/// # Errors
///
/// [`AddressError`], if the kernel refuses, or would delete other addresses with it.
pub fn delete(placed: &Placed) -> Result<bool, AddressError> {
    let seen = look().map_err(AddressError::List)?;
    let Some(found) = seen
        .iter()
        .find(|seen| seen.placed.to_string() == placed.to_string())
    else {
        return Ok(false);
    };
    let others = goes_with(found, &seen);
    if !others.is_empty() && !promotes(&placed.device) {
        return Err(AddressError::TakesOthers {
            placed: placed.to_string(),
            others: others.join(", "),
            device: placed.device.clone(),
        });
    }
    let Ok(index) = device_index(&placed.device) else {
        return Ok(false);
    };
    let request = RouteNetlinkMessage::DelAddress(message(placed, index));
    let told = line().and_then(|mut line| line.tell(request, 0));
    told.map(|()| true)
        .or_else(|source| match Errno::from_io_error(&source) {
            Some(Errno::ADDRNOTAVAIL | Errno::NODEV) => Ok(false),
            _ => Err(AddressError::Delete(placed.to_string(), source)),
        })
}

/// Waits until an address can be used: it is there, and the kernel does not look for another node that
/// has it any more. That is at once for what [`add`] has added.
///
/// # Errors
///
/// [`AddressError`], if it is not there, another node has it, or the time is over.
pub fn wait_usable(address: IpAddr, most: Duration) -> Result<(), AddressError> {
    let start = Instant::now();
    loop {
        let seen = look().map_err(AddressError::List)?;
        let mut found = seen
            .into_iter()
            .filter(|seen| seen.placed.address == address)
            .peekable();
        if found.peek().is_none() {
            return Err(AddressError::Absent(address));
        }
        let Some(Seen { placed, flags }) = found.find(|seen| !is_usable(seen.flags)) else {
            return Ok(());
        };
        if flags.contains(AddressFlags::Dadfailed) {
            return Err(AddressError::Duplicate(placed.to_string()));
        }
        let waited = start.elapsed();
        if waited >= most {
            return Err(AddressError::Tentative(placed.to_string(), waited));
        }
        std::thread::sleep(LOOK);
    }
}

/// A line to the kernel's routing.
fn line() -> io::Result<Line> {
    Line::new(NETLINK_ROUTE)
}

/// A device's number. Without one, it does not exist.
fn device_index(name: &str) -> rustix::io::Result<u32> {
    // Any socket will do (netdevice(7)).
    let socket = rustix::net::socket(
        rustix::net::AddressFamily::UNIX,
        rustix::net::SocketType::DGRAM,
        None,
    )?;
    name_to_index(socket, name)
}

/// Lists the addresses, again if they changed while the kernel listed them.
fn look() -> io::Result<Vec<Seen>> {
    let socket = rustix::net::socket(
        rustix::net::AddressFamily::UNIX,
        rustix::net::SocketType::DGRAM,
        None,
    )?;
    let mut line = line()?;
    for _ in 0..TRIES {
        let mut answers = Vec::new();
        let question = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        let listed = line.ask(question, NLM_F_DUMP, |answer| {
            if let RouteNetlinkMessage::NewAddress(message) = answer {
                answers.push(message);
            }
        })?;
        if listed == Listed::Whole {
            // A device that has gone meanwhile has no addresses.
            let name = |index| index_to_name(&socket, index).ok();
            return Ok(answers
                .iter()
                .filter_map(|answer| seen(answer, name))
                .collect());
        }
    }
    Err(io::Error::other("they change all the time"))
}

/// What a message says of an address.
fn seen(message: &AddressMessage, name: impl Fn(u32) -> Option<String>) -> Option<Seen> {
    let device = name(message.header.index)?;
    let (mut address, mut local, mut label, mut broadcast) = (None, None, None, None);
    let mut flags = AddressFlags::from_bits_retain(message.header.flags.bits().into());
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Address(given) => address = Some(*given),
            AddressAttribute::Local(given) => local = Some(*given),
            AddressAttribute::Label(given) if *given != device => label = Some(given.clone()),
            AddressAttribute::Broadcast(given) => broadcast = Some(*given),
            AddressAttribute::Flags(given) => flags = *given,
            _ => (),
        }
    }
    // On a link to one peer, `address` is the peer's.
    let address = local.or(address)?;
    let placed = Placed {
        address,
        prefix: message.header.prefix_len,
        device,
        label,
        broadcast,
        preferred: address.is_ipv6() && !flags.contains(AddressFlags::Deprecated),
        no_route: flags.contains(AddressFlags::Noprefixroute),
    };
    Some(Seen { placed, flags })
}

/// What adds or deletes an address.
fn message(placed: &Placed, index: u32) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.prefix_len = placed.prefix;
    message.header.index = index;
    let mut flags = AddressFlags::empty();
    flags.set(AddressFlags::Noprefixroute, placed.no_route);
    message.attributes = vec![
        AddressAttribute::Local(placed.address),
        AddressAttribute::Address(placed.address),
    ];
    match placed.address {
        IpAddr::V4(_) => {
            message.header.family = AddressFamily::Inet;
            let label = placed.label.clone().map(AddressAttribute::Label);
            let broadcast = placed.broadcast.map(AddressAttribute::Broadcast);
            message
                .attributes
                .extend(label.into_iter().chain(broadcast));
        }
        IpAddr::V6(_) => {
            message.header.family = AddressFamily::Inet6;
            flags |= AddressFlags::Nodad;
            let mut lifetimes = CacheInfo::default();
            lifetimes.ifa_valid = FOREVER;
            lifetimes.ifa_preferred = if placed.preferred { FOREVER } else { 0 };
            message
                .attributes
                .push(AddressAttribute::CacheInfo(lifetimes));
        }
    }
    message.attributes.push(AddressAttribute::Flags(flags));
    message
}

/// Whether connections to an address with these flags get through.
fn is_usable(flags: AddressFlags) -> bool {
    let optimistic = flags.contains(AddressFlags::Optimistic);
    !flags.contains(AddressFlags::Dadfailed)
        && (optimistic || !flags.contains(AddressFlags::Tentative))
}

/// The addresses that the kernel deletes with this one, unless it promotes one of them: those that came
/// later to the same network of the device (`__inet_del_ifa`, net/ipv4/devinet.c).
fn goes_with(gone: &Seen, all: &[Seen]) -> Vec<String> {
    if gone.placed.address.is_ipv6() || gone.flags.contains(AddressFlags::Secondary) {
        return Vec::new();
    }
    all.iter()
        .filter(|other| other.flags.contains(AddressFlags::Secondary))
        .map(|other| &other.placed)
        .filter(|other| other.device == gone.placed.device && other.prefix == gone.placed.prefix)
        .filter(|other| gone.placed.network_has(other.address))
        .map(Placed::to_string)
        .collect()
}

/// Whether the kernel keeps the other IPv4 addresses of a network when the first one goes
/// (`IN_DEV_PROMOTE_SECONDARIES`: the device's switch or that of all).
fn promotes(device: &str) -> bool {
    ["all", device].iter().any(|device| {
        let switch = format!("/proc/sys/net/ipv4/conf/{device}/promote_secondaries");
        std::fs::read_to_string(switch).is_ok_and(|value| value.trim() != "0")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::spec::Spec;

    fn placed(given: &str) -> Placed {
        let spec: Spec = given.parse().unwrap();
        Placed::new(spec.address, spec.prefix.unwrap(), &spec.device.unwrap())
    }

    fn with_flags(given: &str, flags: AddressFlags) -> Seen {
        Seen {
            placed: placed(given),
            flags,
        }
    }

    #[test]
    fn what_is_added_is_what_was_seen() {
        let name = |index| (index == 7).then(|| "eth0".to_string());
        let own = Placed {
            label: Some("eth0:ha".into()),
            broadcast: Some([192, 0, 2, 255].into()),
            no_route: true,
            ..placed("192.0.2.50/24@eth0")
        };
        assert_eq!(seen(&message(&own, 7), name).unwrap().placed, own);
        assert!(seen(&message(&own, 8), name).is_none());
        let own = Placed {
            preferred: true,
            ..placed("fd77::50/64@eth0")
        };
        assert_eq!(seen(&message(&own, 7), name).unwrap().placed, own);
    }

    #[test]
    fn the_local_end_of_a_link_is_the_address() {
        let mut message = message(&placed("192.0.2.50/32@eth0"), 7);
        message.attributes[1] = AddressAttribute::Address([192, 0, 2, 51].into());
        let own = seen(&message, |_| Some("eth0".into())).unwrap().placed;
        assert_eq!(own, placed("192.0.2.50/32@eth0"));
    }

    #[test]
    fn only_later_addresses_of_the_same_network_go_with_the_first_one() {
        let (first, later) = (AddressFlags::Permanent, AddressFlags::Secondary);
        let all = [
            with_flags("192.0.2.1/24@eth0", first),
            with_flags("192.0.2.2/24@eth0", later),
            with_flags("192.0.2.3/25@eth0", first),
            with_flags("192.0.3.4/24@eth0", later),
            with_flags("192.0.2.5/24@eth1", later),
            with_flags("fd77::1/64@eth0", first),
        ];
        assert_eq!(goes_with(&all[0], &all), ["192.0.2.2/24@eth0"]);
        assert!(goes_with(&all[1], &all).is_empty());
        assert!(goes_with(&all[5], &all).is_empty());
    }

    #[test]
    fn usable_is_what_the_kernel_uses() {
        let (tentative, optimistic) = (AddressFlags::Tentative, AddressFlags::Optimistic);
        assert!(is_usable(AddressFlags::Permanent) && is_usable(tentative | optimistic));
        assert!(!is_usable(tentative) && !is_usable(tentative | AddressFlags::Dadfailed));
    }
}
