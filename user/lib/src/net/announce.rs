// SPDX-License-Identifier: GPL-2.0
//! Tells the neighbours which device an address is on.
//!
//! A neighbour that remembers another node's device sends there until its entry is old, which
//! takes from half a minute to hours. IPv4: gratuitous ARP, both as a request and as a reply, as some
//! take only one of them (RFC 5944, 4.6). IPv6: an unsolicited neighbour advertisement that overrides
//! (RFC 4861, 7.2.6). Each may be lost: send [`ROUNDS`] of them, [`INTERVAL`] apart.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::ifaddrs::{getifaddrs, InterfaceAddress};
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::{bind, LinkAddr};
use socket2::{Domain, Protocol, Socket, Type};
use thiserror::Error;

use super::place::Placed;

/// How often an address is announced.
pub const ROUNDS: u32 = 4;

/// Time between two announcements.
pub const INTERVAL: Duration = Duration::from_millis(250);

/// Ethernet, and what looks like it: bonds, VLANs, bridges, macvlan (include/uapi/linux/if_arp.h).
const ARPHRD_ETHER: u16 = 1;

const BROADCAST: [u8; 6] = [0xff; 6];
const ETH_P_ARP: u16 = 0x0806;
const ETH_P_IP: u16 = 0x0800;

/// All nodes of a link (RFC 4291, 2.7.1).
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
const FROM_ROUTER: u8 = 0x80;
const OVERRIDE: u8 = 0x20;
const TARGET_LINK_ADDRESS: u8 = 2;

/// A device's address on an Ethernet.
type Mac = [u8; 6];

/// Why an address is not announced.
#[derive(Debug, Error)]
pub enum AnnounceError {
    /// The kernel does not send it.
    #[error("cannot announce {0}: {1}")]
    Failed(String, #[source] io::Error),
    /// The device does not exist.
    #[error("cannot announce {0}: there is no such device")]
    NoDevice(String),
    /// The device is of another kind than Ethernet, which comes second (`ARPHRD_*`).
    #[error(
        "cannot announce {0}: the device is no Ethernet (type {1}); \
         announce it with the tools of that network"
    )]
    Unsupported(String, u16),
}

/// Announces one address.
pub struct Announcer {
    name: String,
    way: Way,
}

/// How an address is announced.
enum Way {
    /// The device has no neighbours that would have to know: loopback, dummy, most tunnels.
    Nobody,
    /// The frames go out of a packet socket.
    Arp(Socket, [Vec<u8>; 2]),
    /// The message goes out of a raw socket, to all nodes of the link.
    Advertisement(Socket, SocketAddr, Vec<u8>),
}

impl Announcer {
    /// Prepares to announce an address, which is there.
    ///
    /// # Errors
    ///
    /// [`AnnounceError`].
    pub fn new(placed: &Placed) -> Result<Self, AnnounceError> {
        let failed = |source| AnnounceError::Failed(placed.to_string(), source);
        let interface = interface(&placed.device).map_err(failed)?;
        let link = interface
            .as_ref()
            .and_then(|found| found.address.as_ref()?.as_link_addr());
        let (Some(interface), Some(link)) = (&interface, link) else {
            return Err(AnnounceError::NoDevice(placed.to_string()));
        };
        let silent = InterfaceFlags::IFF_NOARP | InterfaceFlags::IFF_LOOPBACK;
        let way = if interface.flags.intersects(silent) {
            Way::Nobody
        } else if link.hatype() != ARPHRD_ETHER {
            return Err(AnnounceError::Unsupported(
                placed.to_string(),
                link.hatype(),
            ));
        } else {
            let mac = link.addr().unwrap_or_default();
            match placed.address {
                IpAddr::V4(address) => arp(address, mac, link).map_err(failed)?,
                IpAddr::V6(address) => advertisement(address, mac, placed, link).map_err(failed)?,
            }
        };
        Ok(Self {
            name: placed.to_string(),
            way,
        })
    }

    /// Announces the address once.
    ///
    /// # Errors
    ///
    /// [`AnnounceError::Failed`].
    pub fn send(&self) -> Result<(), AnnounceError> {
        let sent = match &self.way {
            Way::Nobody => Ok(()),
            Way::Arp(socket, frames) => frames
                .iter()
                .try_for_each(|frame| socket.send(frame).map(|_| ())),
            Way::Advertisement(socket, to, message) => {
                socket.send_to(message, &(*to).into()).map(|_| ())
            }
        };
        sent.map_err(|source| AnnounceError::Failed(self.name.clone(), source))
    }
}

/// A device with its hardware's address.
fn interface(device: &str) -> io::Result<Option<InterfaceAddress>> {
    let is_link = |found: &InterfaceAddress| {
        found
            .address
            .as_ref()
            .is_some_and(|it| it.as_link_addr().is_some())
    };
    Ok(getifaddrs()?.find(|found| found.interface_name == device && is_link(found)))
}

/// Gratuitous ARP, from a packet socket that receives nothing and is bound to the device.
fn arp(address: Ipv4Addr, mac: Mac, link: &LinkAddr) -> io::Result<Way> {
    let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
    bind(socket.as_raw_fd(), link)?;
    const REQUEST: u16 = 1;
    const REPLY: u16 = 2;
    Ok(Way::Arp(
        socket,
        [REQUEST, REPLY].map(|operation| frame(operation, address, mac)),
    ))
}

/// An ARP frame to all, in which sender and target are one (RFC 826; Linux wants the hardware's address
/// of the target to be the sender's, too: `arp_is_garp`, net/ipv4/arp.c).
fn frame(operation: u16, address: Ipv4Addr, mac: Mac) -> Vec<u8> {
    let ethernet = [&BROADCAST[..], &mac, &ETH_P_ARP.to_be_bytes()].concat();
    let kind = [
        &ARPHRD_ETHER.to_be_bytes()[..],
        &ETH_P_IP.to_be_bytes(),
        &[6, 4],
    ]
    .concat();
    let party = [&mac[..], &address.octets()].concat();
    [
        ethernet,
        kind,
        operation.to_be_bytes().into(),
        party.clone(),
        party,
    ]
    .concat()
}

/// An unsolicited neighbour advertisement, from the address itself.
fn advertisement(address: Ipv6Addr, mac: Mac, placed: &Placed, link: &LinkAddr) -> io::Result<Way> {
    let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
    let index = link.ifindex() as u32;
    // A receiver takes no other hop limit (RFC 4861, 7.1.2).
    socket.set_multicast_hops_v6(255)?;
    socket.set_multicast_if_v6(index)?;
    socket.set_multicast_loop_v6(false)?;
    socket.set_freebind_ipv6(true)?;
    socket.bind(&SocketAddr::from((address, 0)).into())?;
    let to = SocketAddrV6::new(ALL_NODES, 0, 0, index).into();
    Ok(Way::Advertisement(
        socket,
        to,
        message(address, mac, forwards(&placed.device)),
    ))
}

/// The message; the kernel fills the checksum in (RFC 3542, 3.1).
fn message(address: Ipv6Addr, mac: Mac, router: bool) -> Vec<u8> {
    let flags = OVERRIDE | if router { FROM_ROUTER } else { 0 };
    let head = [NEIGHBOUR_ADVERTISEMENT, 0, 0, 0, flags, 0, 0, 0];
    // The option's length is in units of 8 bytes.
    [
        &head[..],
        &address.octets(),
        &[TARGET_LINK_ADDRESS, 1],
        &mac,
    ]
    .concat()
}

/// Whether this node is a router for the link. Neighbours that use it as one would stop to do so if it
/// said otherwise (RFC 4861, 7.2.5).
fn forwards(device: &str) -> bool {
    let switch = format!("/proc/sys/net/ipv6/conf/{device}/forwarding");
    std::fs::read_to_string(switch).is_ok_and(|value| value.trim() != "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = [0x52, 0x54, 0, 0x12, 0x34, 0x56];

    #[test]
    fn an_arp_frame_is_as_the_standard_has_it() {
        let frame = frame(2, Ipv4Addr::new(192, 0, 2, 50), MAC);
        assert_eq!(
            frame,
            [
                255, 255, 255, 255, 255, 255, 0x52, 0x54, 0, 0x12, 0x34, 0x56, 8, 6, 0, 1, 8, 0, 6,
                4, 0, 2, 0x52, 0x54, 0, 0x12, 0x34, 0x56, 192, 0, 2, 50, 0x52, 0x54, 0, 0x12, 0x34,
                0x56, 192, 0, 2, 50
            ]
        );
    }

    #[test]
    fn an_advertisement_is_as_the_standard_has_it() {
        let message = message("fd77::50".parse().unwrap(), MAC, false);
        assert_eq!(message[..8], [136, 0, 0, 0, 0x20, 0, 0, 0]);
        assert_eq!(
            message[8..24],
            [0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x50]
        );
        assert_eq!(message[24..], [2, 1, 0x52, 0x54, 0, 0x12, 0x34, 0x56]);
        assert_eq!(super::message(Ipv6Addr::LOCALHOST, MAC, true)[4], 0xa0);
    }
}
