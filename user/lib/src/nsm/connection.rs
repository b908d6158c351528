// SPDX-License-Identifier: GPL-2.0
//! One call to one client over TCP.

use super::message::{self, Refusal};
use super::server::Server;
use rustix::event::PollFlags;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

/// The longest answer: a universal address, or nothing, behind a head with a verifier.
pub(super) const LONGEST: usize = 2048;
/// The last fragment of a record (RFC 5531, section 11).
const LAST: u32 = 1 << 31;

/// A call that is under way.
pub struct Connection {
    pub stream: TcpStream,
    xid: u32,
    /// What is still to be sent.
    output: Vec<u8>,
    input: Vec<u8>,
}

/// How a call over TCP ends without an answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Failure {
    Errno(i32),
    /// Nobody listens there.
    NotThere,
    Closed,
    Refused(Refusal),
    /// No answer of ONC RPC.
    Nonsense,
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match (error.kind(), error.raw_os_error()) {
            (ErrorKind::ConnectionRefused, _) => Self::NotThere,
            (ErrorKind::ConnectionReset | ErrorKind::BrokenPipe, _) => Self::Closed,
            (_, Some(number)) => Self::Errno(number),
            (_, None) => Self::Closed, // the end of the stream
        }
    }
}

impl Connection {
    /// Begins a call; `number` is another one each time (see [`Server::connect`]).
    pub fn begin(
        server: &Server,
        to: SocketAddr,
        number: usize,
        xid: u32,
        call: &[u8],
    ) -> io::Result<Self> {
        let stream = server.connect(to, number)?;
        let mut output = (LAST | call.len() as u32).to_be_bytes().to_vec();
        output.extend(call);
        Ok(Self {
            stream,
            xid,
            output,
            input: Vec::new(),
        })
    }

    /// What to poll for.
    pub fn interest(&self) -> PollFlags {
        if self.output.is_empty() {
            PollFlags::IN
        } else {
            PollFlags::OUT
        }
    }

    /// Goes on after a poll: the results of the call once they are there.
    pub fn advance(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        if let Some(error) = self.stream.take_error()? {
            return Err(error.into());
        }
        match self.transfer() {
            Err(e) if e.kind() == ErrorKind::WouldBlock || e.kind() == ErrorKind::NotConnected => {
                Ok(None)
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => Ok(None),
            Err(e) => Err(e.into()),
            Ok(()) => self.results(),
        }
    }

    fn transfer(&mut self) -> io::Result<()> {
        if !self.output.is_empty() {
            let sent = self.stream.write(&self.output)?;
            self.output.drain(..sent);
            return Ok(());
        }
        let mut buffer = [0; LONGEST];
        let length = self.stream.read(&mut buffer)?;
        if length == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.input.extend(&buffer[..length]);
        Ok(())
    }

    fn results(&self) -> Result<Option<Vec<u8>>, Failure> {
        let Some(record) = record(&self.input).ok_or(Failure::Nonsense)? else {
            return Ok(None);
        };
        match message::answer(&record) {
            Some((xid, Ok(results))) if xid == self.xid => Ok(Some(results.to_vec())),
            Some((xid, Err(refusal))) if xid == self.xid => Err(Failure::Refused(refusal)),
            _ => Err(Failure::Nonsense),
        }
    }
}

/// Puts the fragments of a record together: `Some(None)` if more must come, `None` if it is too long.
pub(super) fn record(mut input: &[u8]) -> Option<Option<Vec<u8>>> {
    if input.len() > LONGEST {
        return None;
    }
    let mut record = Vec::new();
    while let Some((mark, rest)) = input.split_first_chunk() {
        let mark = u32::from_be_bytes(*mark);
        let length = (mark & !LAST) as usize;
        if length > LONGEST {
            return None;
        }
        let Some((fragment, rest)) = rest.split_at_checked(length) else {
            break;
        };
        record.extend(fragment);
        if mark & LAST != 0 {
            return Some(Some(record));
        }
        input = rest;
    }
    Some(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fragment(data: &[u8], last: bool) -> Vec<u8> {
        [
            &(data.len() as u32 | if last { LAST } else { 0 }).to_be_bytes(),
            data,
        ]
        .concat()
    }

    #[test]
    fn a_record_ends_with_its_last_fragment() {
        assert_eq!(record(&fragment(b"abc", true)), Some(Some(b"abc".to_vec())));
        assert_eq!(record(&fragment(b"abc", false)), Some(None));
        assert_eq!(record(b"\x80\0"), Some(None));
        assert_eq!(record(&[0xff; 4]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_record_or_none(input in prop::collection::vec(any::<u8>(), 0..3000)) {
            crate::nsm::laws::over_tcp(&input);
        }

        #[test]
        fn fragments_are_put_together(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 1..8),
                                      cut in 0..400usize) {
            let last = parts.len() - 1;
            let input: Vec<u8> = parts.iter().enumerate().flat_map(|(n, part)| fragment(part, n == last)).collect();
            prop_assert_eq!(record(&input), Some(Some(parts.concat())));
            if cut < input.len() {
                prop_assert_eq!(record(&input[..cut]), Some(None));
            }
        }
    }
}
