// SPDX-License-Identifier: GPL-2.0
//! The Internet checksum (RFC 1071) of a segment with its pseudo-header (RFC 9293, 3.1; RFC 8200, 8.1).

use std::net::IpAddr;

/// The checksum of an upper-layer packet, whose own field for it is zero. Both addresses are of one
/// family; the packet is shorter than 64 KiB.
pub(super) fn checksum(source: IpAddr, destination: IpAddr, protocol: u8, packet: &[u8]) -> u16 {
    let addresses = sum_address(source) + sum_address(destination);
    // IPv6 has the length and the protocol in 32 bits each, but their upper halves are zero here.
    let sum = addresses + u64::from(protocol) + packet.len() as u64 + sum(packet);
    !fold(sum)
}

fn sum_address(address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(address) => sum(&address.octets()),
        IpAddr::V6(address) => sum(&address.octets()),
    }
}

/// The sum of the 16-bit words; an odd last byte is the upper half of one.
fn sum(bytes: &[u8]) -> u64 {
    let word = |pair: &[u8]| (u64::from(pair[0]) << 8) | u64::from(*pair.get(1).unwrap_or(&0));
    bytes.chunks(2).map(word).sum()
}

/// The sum in one's complement arithmetic: what is carried out at the top comes in at the bottom.
fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 1071, 3.
    #[test]
    fn the_sum_of_the_standard() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(fold(sum(&bytes)), 0xddf2);
        assert_eq!(fold(sum(&bytes[..7])), 0xdcfb);
    }

    /// Resets that Linux sent, between two ports of one address. IPv6's was summed up by hand, as the kernel
    /// left that to the device.
    #[test]
    fn the_sums_of_real_segments() {
        let reset = |numbers: [u8; 4], sum: [u8; 2]| {
            let head = [8, 1, 3, 0x6e, 0, 0, 0, 0];
            [&head[..], &numbers, &[0x50, 0x14, 0, 0], &sum, &[0, 0]].concat()
        };
        let v4: IpAddr = "192.0.2.50".parse().unwrap();
        let v6: IpAddr = "fd77::50".parse().unwrap();
        let numbers = [[0xd3, 0xf0, 0xc3, 0x10], [0xb0, 0xcd, 0xfc, 0xdd]];
        assert_eq!(checksum(v4, v4, 6, &reset(numbers[0], [0, 0])), 0x88fb);
        assert_eq!(checksum(v6, v6, 6, &reset(numbers[1], [0, 0])), 0xfb26);
        assert_eq!(checksum(v4, v4, 6, &reset(numbers[0], [0x88, 0xfb])), 0);
    }

    #[test]
    fn carries_come_in_at_the_bottom() {
        assert_eq!(fold(0xffff_ffff_ffff_ffff), 0xffff);
        assert_eq!(fold(0x1_ffff), 1);
        assert_eq!(fold(0x1_0000), 1);
    }
}
