// SPDX-License-Identifier: GPL-2.0
//! Has clients ask at once whether their connection still is there.
//!
//! A client whose server does not answer tries again after ever longer times. An ACK with a wrong
//! number from the server's end of the connection (a tickle ACK) has it answer at once with the right one
//! (RFC 9293, 3.10.7.4), and the server that has the address now, which knows of no such connection,
//! resets it (3.10.7.1). Then the client connects anew.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};

use rustix::net::sockopt::set_socket_send_buffer_size_force;
use socket2::{Domain, Protocol, Socket, Type};
use thiserror::Error;

use super::checksum::checksum;
use super::connections::Connection;

/// How often connections are tickled. An ACK may be lost, and a client answers only one in half a second
/// (`net.ipv4.tcp_invalid_ratelimit`).
pub const ROUNDS: u32 = 3;

/// Room for packets that wait for a client's hardware address, in bytes. One takes less than 1 KiB.
const ROOM: usize = 16 << 20;

const TCP: u8 = 6;
const FLAG_ACK: u8 = 0x10;
/// The length of a header without options, in units of 4 bytes.
const HEADER: u8 = 5;
const WINDOW: u16 = 1024;

/// What is between the numbers of two rounds: a third of all. If one is in a client's window by chance, the
/// others are not, as a window is shorter (RFC 7323, 2.3).
const STEP: u32 = u32::MAX / 3;

/// Why no client of an address can be tickled.
#[derive(Debug, Error)]
#[error("cannot send for {address}: {source}")]
pub struct TickleError {
    /// The server's address.
    pub address: IpAddr,
    /// What the kernel says.
    pub source: io::Error,
}

/// Sends tickle ACKs for some addresses of this node.
pub struct Tickler {
    sockets: HashMap<IpAddr, Socket>,
}

/// What a round has done.
#[derive(Debug, Default)]
pub struct Sent {
    /// Packets that went out.
    pub sent: usize,
    /// Connections to other addresses than these of this node. They are left alone.
    pub foreign: usize,
    /// Packets that did not go out.
    pub failed: usize,
    /// Why the first of these did not.
    pub first: Option<(Connection, io::Error)>,
}

impl Tickler {
    /// Prepares to send for these addresses.
    ///
    /// # Errors
    ///
    /// [`TickleError`], such as without `CAP_NET_RAW`.
    pub fn new(addresses: &[IpAddr]) -> Result<Self, TickleError> {
        let socket = |address: &IpAddr| match raw_socket(*address) {
            Ok(socket) => Ok((*address, socket)),
            Err(source) => Err(TickleError {
                address: *address,
                source,
            }),
        };
        let sockets = addresses.iter().map(socket).collect::<Result<_, _>>()?;
        Ok(Self { sockets })
    }

    /// Sends an ACK for each of these connections; does not wait. `round` counts from 0.
    pub fn send(&self, connections: &[Connection], round: u32) -> Sent {
        let mut sent = Sent::default();
        for connection in connections {
            let Some(socket) = self.sockets.get(&connection.server().ip()) else {
                sent.foreign += 1;
                continue;
            };
            // A raw socket has no ports, and that of IPv6 refuses to be given one.
            let to = SocketAddr::new(connection.client().ip(), 0);
            match socket.send_to(&segment(connection, round), &to.into()) {
                Ok(_) => sent.sent += 1,
                Err(error) => {
                    sent.failed += 1;
                    sent.first.get_or_insert((*connection, error));
                }
            }
        }
        sent
    }
}

/// A socket for TCP segments from this address. The kernel makes the IP header, and finds the route as
/// for the server's own packets. `freebind`, as an address may be on its way.
fn raw_socket(address: IpAddr) -> io::Result<Socket> {
    let domain = Domain::for_address(SocketAddr::new(address, 0));
    let socket = Socket::new(domain, Type::RAW.nonblocking(), Some(Protocol::TCP))?;
    match address {
        IpAddr::V4(_) => socket.set_freebind(true)?,
        IpAddr::V6(_) => socket.set_freebind_ipv6(true)?,
    }
    socket.bind(&SocketAddr::new(address, 0).into())?;
    // In a container, root may have no more than others.
    if set_socket_send_buffer_size_force(&socket, ROOM).is_err() {
        socket.set_send_buffer_size(ROOM)?;
    }
    // It also gets copies of what clients send to the address: nobody wants them.
    socket.set_recv_buffer_size(0)?;
    Ok(socket)
}

/// The ACK from the server's end to the client's (RFC 9293, 3.1).
fn segment(connection: &Connection, round: u32) -> [u8; 20] {
    let (server, client) = (connection.server(), connection.client());
    let mut segment = [0; 20];
    segment[..2].copy_from_slice(&server.port().to_be_bytes());
    segment[2..4].copy_from_slice(&client.port().to_be_bytes());
    segment[4..8].copy_from_slice(&round.wrapping_mul(STEP).to_be_bytes());
    segment[12] = HEADER << 4;
    segment[13] = FLAG_ACK;
    segment[14..16].copy_from_slice(&WINDOW.to_be_bytes());
    let sum = checksum(server.ip(), client.ip(), TCP, &segment);
    segment[16..18].copy_from_slice(&sum.to_be_bytes());
    segment
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_is_an_ack_between_the_ends() {
        let connection: Connection = "192.0.2.50:2049 198.51.100.7:878".parse().unwrap();
        let segment = segment(&connection, 1);
        assert_eq!(segment[..4], [8, 1, 3, 0x6e]);
        assert_eq!(segment[4..8], [0x55, 0x55, 0x55, 0x55]);
        assert_eq!(segment[8..12], [0; 4]);
        assert_eq!(segment[12..16], [0x50, 0x10, 4, 0]);
        let whole = checksum(
            connection.server().ip(),
            connection.client().ip(),
            TCP,
            &segment,
        );
        assert_eq!(whole, 0);
    }
}
