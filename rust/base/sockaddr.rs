// SPDX-License-Identifier: GPL-2.0

//! Addresses in the kernel's form.

use crate::base::private;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// AF_INET and AF_INET6 (`include/linux/socket.h`).
const INET: u16 = 2;
const INET6: u16 = 10;

/// The address in `storage`, if it is one of IPv4 or IPv6. Does not sleep.
pub(crate) fn address(storage: &private::__kernel_sockaddr_storage) -> Option<IpAddr> {
    let storage: *const private::__kernel_sockaddr_storage = storage;
    // SAFETY: It begins with its family, and has room for an address of any, whatever bytes are in it.
    unsafe {
        match *storage.cast::<u16>() {
            INET => {
                let bits = (*storage.cast::<private::sockaddr_in>()).sin_addr.s_addr;
                Some(IpAddr::V4(Ipv4Addr::from(bits.to_ne_bytes())))
            }
            INET6 => {
                let bits = (*storage.cast::<private::sockaddr_in6>()).sin6_addr;
                let octets = bits.in6_u.u6_addr8;
                Some(IpAddr::V6(Ipv6Addr::from(octets)).to_canonical())
            }
            _ => None,
        }
    }
}
