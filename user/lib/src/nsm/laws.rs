// SPDX-License-Identifier: GPL-2.0
//! What must hold of what clients answer, whatever that is: see [`crate::laws`].

use super::connection::{record, LONGEST};
use super::message::{self, Refusal, Rpcbind};
use super::peer::{Next, Peer, Settings, Xids};
use std::time::Instant;

const VERSIONS: [Rpcbind; 3] = [Rpcbind::V2, Rpcbind::V3, Rpcbind::V4];

/// An answer is understood, or is none.
pub fn over_udp(packet: &[u8]) {
    if let Some((xid, Ok(results))) = message::answer(packet) {
        assert_eq!(packet[..4], xid.to_be_bytes());
        assert!(packet.ends_with(results));
        for version in VERSIONS {
            message::port(results, version);
        }
    }
}

/// More of a stream changes nothing of an answer that is whole, and makes none good that was too long.
pub fn over_tcp(stream: &[u8]) {
    let all = &stream[..stream.len().min(LONGEST)];
    let whole = record(all);
    if let Some(Some(record)) = &whole {
        assert!(record.len() < all.len());
        over_udp(record);
    }
    for cut in 0..all.len() {
        let part = record(&all[..cut]);
        assert!(part == Some(None) || part == whole);
    }
    assert!(all.len() == stream.len() || record(stream).is_none());
}

/// However a client answers, it is sent no more than three packets before its time is over, and it has
/// confirmed the notice only if the answer to that came from where it was sent to.
///
/// Each answer is the number of the call, where it comes from, the length of the results, and these.
pub fn peer(mut answers: &[u8]) {
    let xids = Xids {
        ask: 1,
        ask_tcp: 2,
        tell: 3,
    };
    let address = ["192.0.2.1", "fd09::2"][answers.len() % 2];
    let mut peer = Peer::new(
        address.parse().unwrap(),
        xids,
        Settings::default(),
        Instant::now(),
    );
    let (mut sent, mut asked) = (1, vec![]);
    asked.extend(peer.packet("server", 5, Instant::now()).map(|(_, to)| to));
    while let [xid, from, length, rest @ ..] = answers {
        let (results, after) = rest.split_at(usize::from(*length).min(rest.len()));
        answers = after;
        let from = match from {
            0 => peer.rpcbind_at(),
            1 => *asked.last().unwrap(),
            port => peer.at(u16::from(*port) * 4),
        };
        let results = match length {
            255 => Err(Refusal::NoVersion),
            254 => Err(Refusal::System),
            _ => Ok(results),
        };
        match peer.answer(from, u32::from(*xid), results) {
            Next::Send => {
                sent += 1;
                asked.extend(peer.packet("server", 5, Instant::now()).map(|(_, to)| to));
            }
            Next::Confirmed => {
                assert!(*xid == 3 && results.is_ok() && asked.contains(&from));
                return;
            }
            Next::Connect(_) | Next::Wait => {}
        }
        assert!(sent <= 3, "{sent} packets");
    }
}
