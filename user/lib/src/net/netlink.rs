// SPDX-License-Identifier: GPL-2.0
//! Questions to the kernel by netlink, and their answers.

use std::fmt::Debug;
use std::io;

use netlink_packet_core::{
    NetlinkDeserializable, NetlinkHeader, NetlinkMessage, NetlinkPayload, NetlinkSerializable,
    NLM_F_ACK, NLM_F_REQUEST,
};
use netlink_sys::{Socket, SocketAddr};

/// The kernel could not list everything at one time: the list may lack or repeat something
/// (include/uapi/linux/netlink.h; not in netlink-packet-core).
const NLM_F_DUMP_INTR: u16 = 0x10;

/// A line to one subsystem of the kernel. Questions are asked one after the other.
pub(super) struct Line {
    socket: Socket,
    sequence: u32,
}

/// Whether a list is of one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listed {
    Whole,
    /// What is listed changed meanwhile: ask again, if that matters.
    Changed,
}

impl Line {
    /// Opens a line to a subsystem, such as `NETLINK_ROUTE`.
    pub(super) fn new(protocol: isize) -> io::Result<Self> {
        let mut socket = Socket::new(protocol)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self {
            socket,
            sequence: 0,
        })
    }

    /// Has the kernel do something. Its refusal is the error, as an errno.
    pub(super) fn tell<Q>(&mut self, request: Q, flags: u16) -> io::Result<()>
    where
        Q: NetlinkSerializable,
    {
        self.ask(request, flags | NLM_F_ACK, |_: Nothing| {})
            .map(|_| ())
    }

    /// Asks, and hands over each answer as it comes. `flags` are those beside `NLM_F_REQUEST`; they
    /// make the kernel say when it has finished (`NLM_F_DUMP` or `NLM_F_ACK`).
    pub(super) fn ask<Q, A>(
        &mut self,
        question: Q,
        flags: u16,
        mut each: impl FnMut(A),
    ) -> io::Result<Listed>
    where
        Q: NetlinkSerializable,
        A: NetlinkDeserializable + Debug,
    {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(question));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;

        let mut listed = Listed::Whole;
        loop {
            let (datagram, sender) = match self.socket.recv_from_full() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                received => received?,
            };
            // Others may write to this socket, too (netlink(7)); the kernel is 0.
            if sender.port_number() != 0 {
                continue;
            }
            let part = read(&datagram, self.sequence, &mut each)?;
            if part.changed {
                listed = Listed::Changed;
            }
            if part.last {
                return Ok(listed);
            }
        }
    }
}

/// What a datagram says of the list that it is a part of.
pub(super) struct Part {
    changed: bool,
    pub(super) last: bool,
}

/// Reads a datagram: hands over the answers to the question with this number. The kernel's refusal is the
/// error.
pub(super) fn read<A>(datagram: &[u8], sequence: u32, each: &mut impl FnMut(A)) -> io::Result<Part>
where
    A: NetlinkDeserializable + Debug,
{
    let mut part = Part {
        changed: false,
        last: false,
    };
    let mut rest = datagram;
    while !rest.is_empty() {
        let message = NetlinkMessage::<A>::deserialize(rest).map_err(not_understood)?;
        // A message is aligned to 4 bytes (NLMSG_ALIGN); its length was checked above.
        let length = (message.header.length as usize).next_multiple_of(4);
        rest = rest.get(length..).unwrap_or_default();
        if message.header.sequence_number != sequence {
            continue;
        }
        part.changed |= message.header.flags & NLM_F_DUMP_INTR != 0;
        part.last = true;
        match message.payload {
            NetlinkPayload::Done(done) => return errno(done.code).map(|()| part),
            NetlinkPayload::Error(error) => return errno(error.raw_code()).map(|()| part),
            NetlinkPayload::Overrun(_) => return Err(io::Error::other("answers were lost")),
            NetlinkPayload::InnerMessage(answer) => each(answer),
            _ => {}
        }
        part.last = false;
    }
    Ok(part)
}

/// What the kernel means by the number at the end of its answer: 0, or an errno as a negative number.
fn errno(code: i32) -> io::Result<()> {
    match code {
        0.. => Ok(()),
        _ => Err(io::Error::from_raw_os_error(code.saturating_neg())),
    }
}

/// An answer that is no netlink message of its kind.
fn not_understood(error: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}

/// Who only tells something gets no answer but the last one.
#[derive(Debug)]
pub(super) struct Nothing;

impl NetlinkDeserializable for Nothing {
    type Error = std::convert::Infallible;

    fn deserialize(_: &NetlinkHeader, _: &[u8]) -> Result<Self, Self::Error> {
        Ok(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_datagram_is_read(mut datagram in prop::collection::vec(any::<u8>(), 0..200), kind in 0..32u8) {
            crate::net::laws::netlink(&datagram);
            crate::net::laws::sockets(&datagram);
            // One whose head is good.
            let length = datagram.len() as u32;
            if let [a, b, c, d, e, f, g, h, i, j, k, l, ..] = &mut datagram[..] {
                [*a, *b, *c, *d] = length.to_ne_bytes();
                [*e, *f, *g, *h, *i, *j, *k, *l] = [kind, 0, 2, 0, 1, 0, 0, 0];
            }
            crate::net::laws::netlink(&datagram);
            crate::net::laws::sockets(&datagram);
        }
    }

    #[test]
    fn codes_are_errnos() {
        assert!(errno(0).is_ok());
        assert_eq!(errno(-17).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert!(errno(i32::MIN).is_err());
    }
}
