// SPDX-License-Identifier: GPL-2.0
//! An address of this node, and sockets that send from it.

use socket2::{Domain, Socket, Type};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::ops::RangeInclusive;

/// Ports that only root can send from, as some status monitors expect. None of them is assigned to a service,
/// so no daemon that starts meanwhile finds its port in use.
const PORTS: RangeInclusive<u16> = 914..=952;
/// How many UDP sockets there are at most.
const MAX_SOCKETS: usize = 16;

/// A server address that clients are told about.
pub struct Server {
    /// The address.
    pub address: IpAddr,
    /// It was said that the address is not here.
    pub absent: bool,
    /// Who is to be told when it comes.
    pub clients: Vec<usize>,
    /// None until it is here. There are more when one is full, as it is for seconds with packets to hosts in
    /// this network that are down: the kernel looks for their hardware addresses.
    sockets: Vec<UdpSocket>,
}

impl Server {
    /// An address of which nothing is known yet.
    pub fn new(address: IpAddr) -> Self {
        Self {
            address,
            absent: false,
            clients: Vec::new(),
            sockets: Vec::new(),
        }
    }

    /// Is it here, and open?
    pub fn is_open(&self) -> bool {
        !self.sockets.is_empty()
    }

    /// Opens it if it is here. May fail for a moment, when too many files are open.
    pub fn open(&mut self) -> io::Result<()> {
        self.sockets
            .push(bound(Type::DGRAM, self.address, 0)?.into());
        Ok(())
    }

    /// Its UDP sockets.
    pub fn sockets(&self) -> &[UdpSocket] {
        &self.sockets
    }

    /// Sends a packet.
    pub fn send(&mut self, packet: &[u8], to: SocketAddr) -> io::Result<()> {
        for socket in self.sockets.iter().rev() {
            match socket.send_to(packet, to) {
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                result => return result.map(drop),
            }
        }
        if self.sockets.len() == MAX_SOCKETS {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.open()?;
        self.sockets
            .last()
            .map_or(Ok(()), |socket| socket.send_to(packet, to).map(drop))
    }

    /// Begins a TCP connection. `number` is another one each time: so is the port then, as one is not good for
    /// the same host again for a minute.
    pub fn connect(&self, to: SocketAddr, number: usize) -> io::Result<TcpStream> {
        let socket = bound(Type::STREAM, self.address, number)?;
        match socket.connect(&to.into()) {
            Err(e) if e.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {
                Err(e)
            }
            _ => Ok(socket.into()),
        }
    }

    /// Is the address on this node, and ready? One of IPv6 that is still being checked for duplicates
    /// (RFC 4862) is not.
    ///
    /// To bind to it says nothing where the sysctl `ip_nonlocal_bind` is set. But IPv4 does not look for a way
    /// from an address that is not here (`ip_route_output_key_hash_rcu()`), and IPv6 talks to an address that
    /// is from this very one (RFC 6724, section 5, rule 1).
    pub fn is_here(&self) -> bool {
        let from = match self.address {
            IpAddr::V4(_) => self.address,
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let source = || -> io::Result<SocketAddr> {
            let socket = UdpSocket::bind((from, 0))?;
            socket.connect((self.address, 9))?; // nothing is sent to that port
            socket.local_addr()
        };
        source().is_ok_and(|source| source.ip() == self.address)
    }
}

/// A socket that is bound to an address, and does not block.
fn bound(kind: Type, address: IpAddr, first: usize) -> io::Result<Socket> {
    let mut from = SocketAddr::new(address, 0);
    let socket = Socket::new(Domain::for_address(from), kind, None)?;
    socket.set_nonblocking(true)?;
    if kind == Type::STREAM {
        // One port for connections to many hosts.
        socket.set_reuse_address(true)?;
    }
    for port in PORTS
        .cycle()
        .skip(first % PORTS.count())
        .take(PORTS.count())
    {
        from.set_port(port);
        match socket.bind(&from.into()) {
            Err(e) if e.kind() == ErrorKind::AddrInUse => {}
            Err(e) if e.kind() == ErrorKind::PermissionDenied => break,
            result => return result.map(|()| socket),
        }
    }
    // Any port is better than none.
    from.set_port(0);
    socket.bind(&from.into())?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(address: &str) -> Server {
        Server::new(address.parse().unwrap())
    }

    #[test]
    fn an_address_is_here_or_not() {
        assert!(server("127.0.0.1").is_here());
        // A second one in the network of a first one, whose name the kernel would rather use.
        assert!(server("127.0.0.9").is_here());
        for elsewhere in ["192.0.2.1", "2001:db8::1", "255.255.255.255", "fe80::1"] {
            assert!(!server(elsewhere).is_here(), "{elsewhere}");
        }
    }

    #[test]
    fn an_address_that_is_not_here_cannot_be_opened() {
        let mut server = server("192.0.2.1");
        assert!(server.open().is_err());
        assert!(!server.is_open());
    }

    #[test]
    fn connections_to_one_host_have_different_ports() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let server = server("127.0.0.1");
        let to = listener.local_addr().unwrap();
        let streams: Vec<_> = (0..30).map(|n| server.connect(to, n).unwrap()).collect();
        let mut ports: Vec<_> = streams
            .iter()
            .map(|stream| stream.local_addr().unwrap().port())
            .collect();
        ports.sort();
        ports.dedup();
        assert_eq!(ports.len(), 30);
    }
}
