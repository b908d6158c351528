// SPDX-License-Identifier: GPL-2.0
//! Connections of clients, and the file in which they move with the disk.
//!
//! The file has one connection a line, the server's end and the client's: `192.0.2.50:2049
//! 198.51.100.7:878`, or `[fd77::50]:2049 [fd77::7]:878`. That is what `ss` lists, and what the
//! program `tickle_tcp` of clusters reads (it refuses IPv6).

use std::fmt;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::str::FromStr;

use thiserror::Error;

use super::spec::unfit;

/// The most connections that are listed or read. They are 16 of each of 16,384 clients.
pub const MOST: usize = 1 << 18;

/// Bytes in the longest line: two times `[`, 8 words with 4 digits and a colon less one, `]:`, 5 digits;
/// a blank and a newline.
const LINE_MOST: usize = 2 * (1 + 39 + 2 + 5) + 2;

/// A TCP connection between a client and an address of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Connection {
    server: SocketAddr,
    client: SocketAddr,
}

/// Why a list of connections is not read.
#[derive(Debug, Error)]
pub enum ConnectionsError {
    /// The file is not read.
    #[error("cannot read: {0}")]
    Read(#[from] io::Error),
    /// There are more than [`MOST`], or the lines are too long.
    #[error("more than {MOST} connections, or no list of connections at all")]
    TooMany,
    /// A line, counted from 1, is no connection.
    #[error("line {0}: {1:?} is no connection, which is `SERVER:PORT CLIENT:PORT`")]
    Line(usize, String),
    /// The last line does not end.
    #[error("the end is missing: the list was not written as a whole")]
    Cut,
}

/// What is no [`Connection`].
#[derive(Debug, PartialEq, Eq)]
pub struct NoConnection;

impl Connection {
    /// The connection between two ends: both of one family, with ports, and with addresses that packets
    /// can be sent to. IPv4 in IPv6 form, as a socket for both has it, becomes IPv4, as it is on the
    /// wire.
    pub fn new(server: SocketAddr, client: SocketAddr) -> Option<Self> {
        let plain = |end: SocketAddr| SocketAddr::new(end.ip().to_canonical(), end.port());
        let (server, client) = (plain(server), plain(client));
        let fit = |end: SocketAddr| end.port() != 0 && unfit(end.ip()).is_none();
        let one_family = server.is_ipv4() == client.is_ipv4();
        (one_family && fit(server) && fit(client)).then_some(Self { server, client })
    }

    /// The server's end.
    pub fn server(&self) -> SocketAddr {
        self.server
    }

    /// The client's end.
    pub fn client(&self) -> SocketAddr {
        self.client
    }
}

impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} {}", self.server, self.client)
    }
}

impl FromStr for Connection {
    type Err = NoConnection;

    fn from_str(line: &str) -> Result<Self, NoConnection> {
        let (server, client) = line.split_once(' ').ok_or(NoConnection)?;
        let end = |text: &str| text.parse().map_err(|_| NoConnection);
        Self::new(end(server)?, end(client)?).ok_or(NoConnection)
    }
}

/// Reads a list of connections. Nothing of a list that is damaged is taken.
///
/// # Errors
///
/// [`ConnectionsError`], which names the line.
pub fn read(from: impl Read) -> Result<Vec<Connection>, ConnectionsError> {
    let most = (MOST * LINE_MOST) as u64;
    let mut bytes = Vec::new();
    from.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(ConnectionsError::TooMany);
    }
    if bytes.last().is_some_and(|byte| *byte != b'\n') {
        return Err(ConnectionsError::Cut);
    }
    let mut connections = Vec::new();
    for (index, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        if connections.len() == MOST {
            return Err(ConnectionsError::TooMany);
        }
        let line = &line[..line.len() - 1];
        let connection = std::str::from_utf8(line)
            .ok()
            .and_then(|text| text.parse().ok());
        connections.push(connection.ok_or_else(|| damaged(index + 1, line))?);
    }
    Ok(connections)
}

/// The error for a line, with as much of it as a good one could have.
fn damaged(line: usize, bytes: &[u8]) -> ConnectionsError {
    let shown = &bytes[..bytes.len().min(LINE_MOST)];
    ConnectionsError::Line(line, String::from_utf8_lossy(shown).into_owned())
}

/// Writes a list of connections, which [`read`] reads.
///
/// # Errors
///
/// Those of the writer.
pub fn write(mut to: impl Write, connections: &[Connection]) -> io::Result<()> {
    connections
        .iter()
        .try_for_each(|connection| writeln!(to, "{connection}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::IpAddr;

    #[track_caller]
    fn refused(list: &str) -> String {
        read(list.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn reads_what_ss_lists() {
        let list = "192.0.2.50:2049 198.51.100.7:878\n[fd77::50]:2049 [fd77::7]:700\n\
                    [::ffff:192.0.2.50]:32803 [::ffff:198.51.100.7]:900\n";
        let read: Vec<_> = read(list.as_bytes())
            .unwrap()
            .iter()
            .map(Connection::to_string)
            .collect();
        let mapped = "192.0.2.50:32803 198.51.100.7:900";
        assert_eq!(
            read,
            [
                "192.0.2.50:2049 198.51.100.7:878",
                "[fd77::50]:2049 [fd77::7]:700",
                mapped
            ]
        );
        assert_eq!(super::read(&b""[..]).unwrap(), []);
    }

    #[test]
    fn refuses_what_is_no_connection_and_says_where() {
        let good = "192.0.2.50:2049 198.51.100.7:878\n";
        for line in [
            "",
            "#",
            "192.0.2.50:2049",
            "192.0.2.50:2049  198.51.100.7:878",
            "192.0.2.50:2049 198.51.100.7",
            "192.0.2.50:2049 198.51.100.7:878 x",
            "192.0.2.50:0 198.51.100.7:878",
            "192.0.2.50:2049 224.0.0.1:878",
            "192.0.2.50:2049 255.255.255.255:878",
            "192.0.2.50:2049 0.0.0.0:878",
            "192.0.2.50:2049 127.0.0.1:878",
            "192.0.2.50:2049 [fd77::7]:878",
            "[fd77::50]:2049 [ff02::1]:878",
            "fd77::50:2049 fd77::7:878",
            "[fe80::1]:2049 [fe80::2]:878",
            "192.0.2.50:70000 198.51.100.7:878",
            "192.0.2.50:2049 \u{0}",
        ] {
            let error = refused(&format!("{good}{line}\n{good}"));
            assert!(error.starts_with("line 2: "), "{line:?}: {error}");
        }
    }

    #[test]
    fn refuses_a_list_without_its_end_or_without_end() {
        assert!(refused("192.0.2.50:2049 198.51.100.7:87").contains("end is missing"));
        assert!(matches!(
            read(io::repeat(b'1')),
            Err(ConnectionsError::TooMany)
        ));
        let line = b"1.1.1.1:1 2.2.2.2:2\n";
        let most = line.repeat(MOST);
        assert_eq!(read(&most[..]).unwrap().len(), MOST);
        assert!(matches!(
            read(most.chain(&line[..])),
            Err(ConnectionsError::TooMany)
        ));
    }

    #[test]
    fn the_longest_line_is_as_long_as_said() {
        let end = "[1111:2222:3333:4444:5555:6666:7777:8888]:65535";
        let mut list = Vec::new();
        let connection = Connection::new(end.parse().unwrap(), end.parse().unwrap());
        write(&mut list, &[connection.unwrap()]).unwrap();
        assert_eq!(list.len(), LINE_MOST);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            crate::net::laws::connections(&bytes);
        }

        #[test]
        fn what_is_written_is_read_back(ends: Vec<(bool, u128, u16, u128, u16)>) {
            let end = |v6: bool, bits: u128, port| match v6 {
                true => SocketAddr::new(IpAddr::V6(bits.into()), port),
                false => SocketAddr::new(IpAddr::V4((bits as u32).into()), port),
            };
            let connections: Vec<_> = ends
                .into_iter()
                .filter_map(|(v6, a, p, b, q)| Connection::new(end(v6, a, p), end(v6, b, q)))
                .collect();
            let mut list = Vec::new();
            write(&mut list, &connections).unwrap();
            prop_assert_eq!(read(&list[..]).unwrap(), connections);
        }
    }
}
