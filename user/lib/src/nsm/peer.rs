// SPDX-License-Identifier: GPL-2.0
//! One client that must be told: what it was asked, what it has answered, and what comes next.
//!
//! Nothing here sends, or looks at a clock. rpcbind is asked for statd's port, and the notice goes there. What is not
//! answered in time is repeated, after 1, 2, 4 seconds and so on.

use super::message::{self, Refusal, Rpcbind, Transport, RPCBIND_PORT};
use super::Trouble;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// The longest wait for an answer.
const LONGEST_WAIT: Duration = Duration::from_secs(16);

/// What is the same for all clients, and for the world; tests are quicker, and have another port.
#[derive(Clone, Copy)]
pub struct Settings {
    /// The wait for the first answer.
    pub wait: Duration,
    /// Where rpcbind is.
    pub rpcbind: u16,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            wait: Duration::from_secs(1),
            rpcbind: RPCBIND_PORT,
        }
    }
}

/// The numbers of the calls that a client gets by UDP. They stay the same when a call is repeated, so that a late
/// answer is good.
#[derive(Clone, Copy, Debug)]
pub struct Xids {
    pub ask: u32,
    pub ask_tcp: u32,
    pub tell: u32,
}

/// What UDP carries at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Asks rpcbind for the port of one transport.
    Ask(Transport),
    /// Sends the notice there.
    Tell,
    /// Waits for the next try.
    Wait,
}

/// What to do after something has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It is told.
    Confirmed,
    /// Send the next packet at once.
    Send,
    /// Tell it over TCP, at this port; at the one that rpcbind says over TCP if it is 0.
    Connect(u16),
    /// Nothing, until its time is over.
    Wait,
}

pub struct Peer {
    address: IpAddr,
    pub xids: Xids,
    stage: Stage,
    port: u16,
    rpcbind: Rpcbind,
    /// Where the last notice went by UDP.
    told: Option<SocketAddr>,
    /// It went there twice.
    repeated: bool,
    wait: Duration,
    /// When the current wait is over.
    pub due: Instant,
    /// A TCP connection to it is there, or waits for its turn.
    pub connecting: bool,
    /// Why it is not told yet.
    pub trouble: Trouble,
}

impl Peer {
    /// A client that is sent something first at `due`.
    pub fn new(address: IpAddr, xids: Xids, settings: Settings, due: Instant) -> Self {
        let rpcbind = if address.is_ipv4() {
            Rpcbind::V2
        } else {
            Rpcbind::V4
        };
        Self {
            address,
            xids,
            stage: Stage::Ask(Transport::Udp),
            port: settings.rpcbind,
            rpcbind,
            told: None,
            repeated: false,
            wait: settings.wait,
            due,
            connecting: false,
            trouble: Trouble::NoRpcbind,
        }
    }

    /// Its address, with a port.
    pub fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.address, port)
    }

    /// Where its rpcbind is.
    pub fn rpcbind_at(&self) -> SocketAddr {
        self.at(self.port)
    }

    /// The version of rpcbind that it is asked in.
    pub fn rpcbind(&self) -> Rpcbind {
        self.rpcbind
    }

    /// Its rpcbind does not know the version: is there an older one?
    pub fn older(&mut self) -> bool {
        let older = self.rpcbind == Rpcbind::V4;
        if older {
            self.rpcbind = Rpcbind::V3;
        }
        older
    }

    /// The packet to send now, and where to; `None` in a wait. Its answer is due after a time.
    pub fn packet(
        &mut self,
        about: &str,
        state: i32,
        now: Instant,
    ) -> Option<(Vec<u8>, SocketAddr)> {
        self.due = now + self.wait;
        match (self.stage, self.told) {
            (Stage::Ask(transport), _) => {
                let xid = if transport == Transport::Udp {
                    self.xids.ask
                } else {
                    self.xids.ask_tcp
                };
                Some((
                    message::ask(xid, self.rpcbind, transport),
                    self.rpcbind_at(),
                ))
            }
            (Stage::Tell, Some(to)) => Some((message::tell(self.xids.tell, about, state), to)),
            _ => None,
        }
    }

    /// Its time is over: the next try begins. TCP helps where UDP is lost, or is not let through.
    pub fn overdue(&mut self) -> Next {
        match self.stage {
            Stage::Ask(_) => self.trouble = Trouble::NoRpcbind,
            Stage::Tell => self.trouble = Trouble::Silent,
            Stage::Wait => {}
        }
        let silent = self.stage != Stage::Wait;
        self.wait = (self.wait * 2).min(LONGEST_WAIT);
        // A notice is lost more often than a status monitor gets another port.
        self.repeated = self.stage == Stage::Tell && !self.repeated;
        if !self.repeated {
            self.stage = Stage::Ask(Transport::Udp);
        }
        if silent && !self.connecting {
            Next::Connect(0)
        } else {
            Next::Send
        }
    }

    /// An answer that came by UDP: the number of a call of this client, and the results.
    pub fn answer(&mut self, from: SocketAddr, xid: u32, results: Result<&[u8], Refusal>) -> Next {
        if xid == self.xids.tell {
            return match (self.told, results) {
                (Some(to), Ok(_)) if to == from => Next::Confirmed,
                (Some(to), Err(refusal)) if to == from && self.stage == Stage::Tell => {
                    self.give_up(Trouble::Refused(refusal))
                }
                _ => Next::Wait,
            };
        }
        let Stage::Ask(transport) = self.stage else {
            return Next::Wait;
        };
        let asked = if transport == Transport::Udp {
            self.xids.ask
        } else {
            self.xids.ask_tcp
        };
        if xid != asked || from != self.rpcbind_at() {
            return Next::Wait;
        }
        match (
            results.map(|results| message::port(results, self.rpcbind)),
            transport,
        ) {
            (Ok(Some(0)), Transport::Udp) => {
                self.stage = Stage::Ask(Transport::Tcp);
                Next::Send
            }
            (Ok(Some(0)), Transport::Tcp) => self.give_up(Trouble::NoStatd),
            (Ok(Some(port)), Transport::Udp) => {
                self.told = Some(self.at(port));
                self.stage = Stage::Tell;
                Next::Send
            }
            (Ok(Some(port)), Transport::Tcp) => {
                self.stage = Stage::Wait;
                Next::Connect(port)
            }
            (Ok(None), _) => self.give_up(Trouble::Refused(Refusal::Garbage)),
            (Err(Refusal::NoVersion), _) if self.older() => Next::Send,
            (Err(refusal), _) => self.give_up(Trouble::Refused(refusal)),
        }
    }

    /// Its call over TCP is over without success.
    pub fn unconnected(&mut self, trouble: Option<Trouble>) {
        self.connecting = false;
        if let Some(trouble) = trouble {
            self.trouble = trouble;
        }
    }

    /// This try has failed; the next one comes when its time is over.
    pub fn give_up(&mut self, trouble: Trouble) -> Next {
        self.trouble = trouble;
        self.stage = Stage::Wait;
        Next::Wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const XIDS: Xids = Xids {
        ask: 1,
        ask_tcp: 2,
        tell: 3,
    };

    fn word(value: u32) -> Vec<u8> {
        value.to_be_bytes().to_vec()
    }

    fn peer(address: &str) -> Peer {
        Peer::new(
            address.parse().unwrap(),
            XIDS,
            Settings::default(),
            Instant::now(),
        )
    }

    fn at(port: u16) -> SocketAddr {
        ([192, 0, 2, 1], port).into()
    }

    fn where_to(peer: &mut Peer) -> Option<SocketAddr> {
        peer.packet("server", 5, Instant::now()).map(|(_, to)| to)
    }

    #[test]
    fn a_client_is_asked_then_told() {
        let mut peer = peer("192.0.2.1");
        assert_eq!(where_to(&mut peer), Some(at(111)));
        assert_eq!(peer.answer(at(111), 1, Ok(&word(900))), Next::Send);
        assert_eq!(where_to(&mut peer), Some(at(900)));
        assert_eq!(peer.answer(at(900), 3, Ok(&[])), Next::Confirmed);
    }

    #[test]
    fn what_comes_from_elsewhere_does_not_count() {
        let mut peer = peer("192.0.2.1");
        let other = ([192, 0, 2, 2], 111).into();
        assert_eq!(peer.answer(other, 1, Ok(&word(900))), Next::Wait);
        assert_eq!(peer.answer(at(112), 1, Ok(&word(900))), Next::Wait);
        // Nothing was told yet.
        assert_eq!(peer.answer(at(900), 3, Ok(&[])), Next::Wait);
        assert_eq!(peer.answer(at(111), 1, Ok(&word(900))), Next::Send);
        assert_eq!(
            peer.answer(([192, 0, 2, 2], 900).into(), 3, Ok(&[])),
            Next::Wait
        );
        assert_eq!(peer.answer(at(111), 3, Ok(&[])), Next::Wait);
        assert_eq!(peer.answer(at(900), 4, Ok(&[])), Next::Wait);
        assert_eq!(where_to(&mut peer), Some(at(900)));
    }

    #[test]
    fn a_notice_is_repeated_then_the_port_is_asked_again() {
        let mut peer = peer("192.0.2.1");
        for _ in 0..2 {
            assert_eq!(where_to(&mut peer), Some(at(111)));
            peer.answer(at(111), 1, Ok(&word(900)));
            assert_eq!(where_to(&mut peer), Some(at(900)));
            peer.overdue();
            assert_eq!(where_to(&mut peer), Some(at(900)));
            peer.overdue();
        }
    }

    #[test]
    fn a_late_answer_is_good() {
        let mut peer = peer("192.0.2.1");
        peer.answer(at(111), 1, Ok(&word(900)));
        assert_eq!(where_to(&mut peer), Some(at(900)));
        assert_eq!(peer.overdue(), Next::Connect(0));
        assert_eq!(peer.trouble, Trouble::Silent);
        peer.overdue();
        assert_eq!(where_to(&mut peer), Some(at(111)));
        assert_eq!(peer.answer(at(900), 3, Ok(&[])), Next::Confirmed);
    }

    #[test]
    fn tcp_is_asked_for_where_there_is_no_udp() {
        let mut peer = peer("192.0.2.1");
        assert_eq!(peer.answer(at(111), 1, Ok(&word(0))), Next::Send);
        assert_eq!(where_to(&mut peer), Some(at(111)));
        assert_eq!(peer.answer(at(111), 1, Ok(&word(0))), Next::Wait);
        assert_eq!(peer.answer(at(111), 2, Ok(&word(901))), Next::Connect(901));
        assert_eq!(where_to(&mut peer), None);
        // Nobody there: only a wait, and no connection to nowhere.
        assert_eq!(peer.overdue(), Next::Send);
        peer.answer(at(111), 1, Ok(&word(0)));
        assert_eq!(peer.answer(at(111), 2, Ok(&word(0))), Next::Wait);
        assert_eq!(peer.trouble, Trouble::NoStatd);
    }

    #[test]
    fn waits_grow() {
        let mut peer = peer("192.0.2.1");
        let waits: Vec<u64> = (0..7)
            .map(|_| {
                let now = Instant::now();
                peer.packet("server", 5, now);
                peer.overdue();
                (peer.due - now).as_secs()
            })
            .collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 16, 16]);
    }

    #[test]
    fn an_older_rpcbind_is_asked_its_way() {
        let mut peer = peer("fd09::2");
        assert_eq!(peer.rpcbind(), Rpcbind::V4);
        let from = peer.at(111);
        assert_eq!(peer.answer(from, 1, Err(Refusal::NoVersion)), Next::Send);
        assert_eq!(peer.rpcbind(), Rpcbind::V3);
        assert_eq!(peer.answer(from, 1, Err(Refusal::NoVersion)), Next::Wait);
        assert_eq!(peer.trouble, Trouble::Refused(Refusal::NoVersion));
    }

    proptest! {
        #[test]
        fn nobody_makes_us_send_without_end(answers in prop::collection::vec((0..5u8, 0..3u8, 0..4usize), 0..40)) {
            // Of no port, of port 900 in words of either kind, and a refusal.
            let results: [&[u8]; 4] = [&[0], &[4, 0, 0, 3, 132], &[12, 0, 0, 0, 8, b':', b':', b'.', b'3', b'.', b'1', b'3', b'2'], &[255]];
            let bytes: Vec<u8> = answers
                .into_iter()
                .flat_map(|(xid, from, which)| [&[xid, [0, 1, 225][usize::from(from)]], results[which]].concat())
                .collect();
            crate::nsm::laws::peer(&bytes);
        }
    }
}
