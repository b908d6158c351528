// SPDX-License-Identifier: GPL-2.0
//! The kernel's TCP sockets at an address: who is connected, and how to forget connections.
//!
//! The kernel lists sockets for IPv4 and for IPv6 (sock_diag(7)). A socket for both has IPv4 addresses in
//! IPv6 form, so an IPv4 address is looked for in both lists.

use std::io;
use std::net::{IpAddr, SocketAddr};

use netlink_packet_core::{NetlinkSerializable, NLM_F_DUMP};
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, IPPROTO_TCP, SOCK_DESTROY};
use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, SocketId, StateFlags};
use netlink_packet_sock_diag::SockDiagMessage;
use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use rustix::io::Errno;
use thiserror::Error;

use super::connections::{Connection, MOST};
use super::netlink::Line;

/// How often [`destroy`] looks again. Once is enough but for sockets that the kernel moved meanwhile,
/// as from an open connection to one that has ended and is remembered.
const PASSES: usize = 10;

/// Ports of the server.
#[derive(Clone, Copy, Debug)]
pub enum Ports<'a> {
    /// All, and so also connections that the server has opened to clients from this address.
    Any,
    /// These: 2049 for NFS, and lockd's.
    Of(&'a [u16]),
}

/// What can go wrong with the kernel's sockets.
#[derive(Debug, Error)]
pub enum SocketsError {
    /// The kernel does not list them.
    #[error("cannot list the connections of this node: {0}")]
    List(#[source] io::Error),
    /// The kernel has no list of them, and has not loaded it by itself.
    #[error("cannot list the connections of this node: `modprobe tcp_diag`, then repeat")]
    NoList,
    /// The kernel cannot end them.
    #[error("cannot end connections: this kernel was built without CONFIG_INET_DIAG_DESTROY")]
    Unsupported,
    /// The kernel refuses to end one, named by its ends.
    #[error("cannot end the connection {0}: {1}")]
    Destroy(String, #[source] io::Error),
}

/// The established connections to these addresses of the server, sorted; at most [`MOST`] of them. More
/// do not matter: who is not listed only comes later.
///
/// # Errors
///
/// [`SocketsError`].
pub fn established(addresses: &[IpAddr], ports: Ports) -> Result<Vec<Connection>, SocketsError> {
    let mut connections = Vec::new();
    each(addresses, ports, StateFlags::ESTABLISHED, |id| {
        if connections.len() < MOST {
            connections.extend(connection(&id));
        }
    })?;
    connections.sort();
    connections.dedup();
    Ok(connections)
}

/// Forgets all connections to these addresses of the server, whatever state they are in, and says how
/// many they were. Their clients are reset, unless the addresses have gone ([`super::leave::leave`]).
///
/// # Errors
///
/// [`SocketsError`]; what is left may be forgotten by another call.
pub fn destroy(addresses: &[IpAddr], ports: Ports) -> Result<usize, SocketsError> {
    let mut line = Line::new(NETLINK_SOCK_DIAG).map_err(SocketsError::List)?;
    let mut all = 0;
    for _ in 0..PASSES {
        let (mut gone, mut failed) = (0, None);
        each(
            addresses,
            ports,
            !(StateFlags::LISTEN | StateFlags::CLOSE),
            |id| {
                let request = Destroy(request(&id, StateFlags::all()));
                match line.tell(request, 0) {
                    Ok(()) => gone += 1,
                    Err(error) if Errno::from_io_error(&error) == Some(Errno::NOENT) => (),
                    Err(error) => failed = Some((id, error)),
                }
            },
        )?;
        match failed.map(|(id, source)| (Errno::from_io_error(&source), id, source)) {
            None => (),
            Some((Some(Errno::OPNOTSUPP), ..)) => return Err(SocketsError::Unsupported),
            Some((_, id, source)) => {
                let [server, client] = ends(&id);
                return Err(SocketsError::Destroy(format!("{server} {client}"), source));
            }
        }
        all += gone;
        if gone == 0 {
            break;
        }
    }
    Ok(all)
}

/// Hands over the sockets in these states with a local address and port of these.
fn each(
    addresses: &[IpAddr],
    ports: Ports,
    states: StateFlags,
    mut found: impl FnMut(SocketId),
) -> Result<(), SocketsError> {
    let mut line = Line::new(NETLINK_SOCK_DIAG).map_err(SocketsError::List)?;
    let ports = match ports {
        // The kernel takes 0 for any.
        Ports::Any => &[0],
        Ports::Of(ports) => ports,
    };
    let any_v4 = addresses.iter().any(IpAddr::is_ipv4);
    for port in ports {
        for id in [SocketId::new_v4(), SocketId::new_v6()] {
            if id.source_address.is_ipv4() && !any_v4 {
                continue;
            }
            let question = SockDiagMessage::InetRequest(request(
                &SocketId {
                    source_port: *port,
                    ..id
                },
                states,
            ));
            let answered = line.ask(question, NLM_F_DUMP, |answer| {
                if let SockDiagMessage::InetResponse(response) = answer {
                    let id = response.header.socket_id;
                    if addresses.contains(&id.source_address.to_canonical()) {
                        found(id);
                    }
                }
            });
            answered.map_err(|error| match Errno::from_io_error(&error) {
                Some(Errno::NOENT) => SocketsError::NoList,
                _ => SocketsError::List(error),
            })?;
        }
    }
    Ok(())
}

/// A question about TCP sockets, or one of them.
fn request(id: &SocketId, states: StateFlags) -> InetRequest {
    InetRequest {
        family: if id.source_address.is_ipv4() {
            AF_INET
        } else {
            AF_INET6
        },
        protocol: IPPROTO_TCP,
        extensions: ExtensionFlags::empty(),
        states,
        socket_id: id.clone(),
    }
}

/// The server's end of a socket, and the client's.
fn ends(id: &SocketId) -> [SocketAddr; 2] {
    [
        SocketAddr::new(id.source_address, id.source_port),
        SocketAddr::new(id.destination_address, id.destination_port),
    ]
}

/// The connection of a socket, if it is one with a client elsewhere.
pub(super) fn connection(id: &SocketId) -> Option<Connection> {
    let [server, client] = ends(id);
    Connection::new(server, client)
}

/// What ends the connection of one socket (`SOCK_DESTROY`, net/core/sock_diag.c).
struct Destroy(InetRequest);

impl NetlinkSerializable for Destroy {
    fn message_type(&self) -> u16 {
        SOCK_DESTROY
    }

    fn buffer_len(&self) -> usize {
        SockDiagMessage::InetRequest(self.0.clone()).buffer_len()
    }

    fn serialize(&self, buffer: &mut [u8]) {
        SockDiagMessage::InetRequest(self.0.clone()).serialize(buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_for_both_has_a_connection_of_ipv4() {
        let mut id = SocketId::new_v6();
        id.source_address = "::ffff:192.0.2.50".parse().unwrap();
        id.destination_address = "::ffff:198.51.100.7".parse().unwrap();
        (id.source_port, id.destination_port) = (2049, 878);
        let connection = connection(&id).unwrap().to_string();
        assert_eq!(connection, "192.0.2.50:2049 198.51.100.7:878");
    }

    #[test]
    fn one_socket_is_destroyed() {
        let mut id = SocketId::new_v4();
        (id.source_port, id.cookie) = (2049, [1, 2, 3, 4, 5, 6, 7, 8]);
        let destroy = Destroy(request(&id, StateFlags::all()));
        let mut bytes = vec![0; destroy.buffer_len()];
        destroy.serialize(&mut bytes);
        assert_eq!(destroy.message_type(), 21);
        assert_eq!(
            (bytes.len(), &bytes[..2], &bytes[8..10]),
            (56, &[2, 6][..], &[8, 1][..])
        );
        assert_eq!(bytes[48..], id.cookie);
    }
}
