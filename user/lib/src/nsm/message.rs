// SPDX-License-Identifier: GPL-2.0
//! The calls and answers of ONC RPC (RFC 5531) that a notice needs, in XDR (RFC 4506).
//!
//! They are rpcbind's GETPORT and GETADDR (RFC 1833), and SM_NOTIFY of the status monitor (X/Open,
//! "Protocols for Interworking: XNFS", chapter 11). An answer comes from the network: any bytes are
//! an answer that is understood, or none.

use thiserror::Error;

/// The program number and port of rpcbind.
const RPCBIND: u32 = 100_000;
pub const RPCBIND_PORT: u16 = 111;
/// The program number of the status monitor, rpc.statd; it has one version.
const STATUS: u32 = 100_024;
const STATUS_VERSION: u32 = 1;
const SM_NOTIFY: u32 = 6;
/// GETPORT of version 2, and GETADDR of versions 3 and 4, have the same number.
const GET: u32 = 3;
const RPC_VERSION: u32 = 2;
const CALL: u32 = 0;
const REPLY: u32 = 1;
/// The longest verifier (RFC 5531, section 8.2).
const MAX_AUTH: usize = 400;
/// The longest name that a status monitor takes (SM_MAXSTRLEN).
pub const MAX_NAME: usize = 1024;

/// How a message travels. The numbers are those of IP, which GETPORT uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// Datagrams.
    Udp = 17,
    /// A connection.
    Tcp = 6,
}

/// The versions of rpcbind: 2 knows IPv4 only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rpcbind {
    V2 = 2,
    V3 = 3,
    V4 = 4,
}

/// Why a host's RPC layer refuses a call (RFC 5531, section 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// PROG_UNAVAIL: the port is another program's by now.
    #[error("has another program on that port")]
    NoProgram,
    /// PROG_MISMATCH.
    #[error("does not have that version of the protocol")]
    NoVersion,
    /// PROC_UNAVAIL.
    #[error("does not have that procedure")]
    NoProcedure,
    /// GARBAGE_ARGS, or results that are no port.
    #[error("could not understand the arguments")]
    Garbage,
    /// SYSTEM_ERR.
    #[error("had an error of its own")]
    System,
    /// MSG_DENIED: it wants other credentials, or does not want this host.
    #[error("denied the call")]
    Denied,
}

fn word(message: &mut Vec<u8>, value: u32) {
    message.extend(value.to_be_bytes());
}

fn string(message: &mut Vec<u8>, text: &str) {
    word(message, text.len() as u32);
    message.extend(text.as_bytes());
    message.resize(message.len().next_multiple_of(4), 0);
}

/// The head of a call without credentials, which none of these wants.
fn call(xid: u32, program: u32, version: u32, procedure: u32) -> Vec<u8> {
    let mut message = Vec::with_capacity(64);
    for value in [
        xid,
        CALL,
        RPC_VERSION,
        program,
        version,
        procedure,
        0,
        0,
        0,
        0,
    ] {
        word(&mut message, value);
    }
    message
}

/// Asks rpcbind for the port of the status monitor.
pub fn ask(xid: u32, rpcbind: Rpcbind, transport: Transport) -> Vec<u8> {
    let mut message = call(xid, RPCBIND, rpcbind as u32, GET);
    word(&mut message, STATUS);
    word(&mut message, STATUS_VERSION);
    if rpcbind == Rpcbind::V2 {
        word(&mut message, transport as u32);
        word(&mut message, 0);
    } else {
        // The address and the owner are for the daemon to fill in.
        let netid = if transport == Transport::Udp {
            "udp6"
        } else {
            "tcp6"
        };
        for text in [netid, "", ""] {
            string(&mut message, text);
        }
    }
    message
}

/// Tells a status monitor that `name` has restarted and has this state number now.
pub fn tell(xid: u32, name: &str, state: i32) -> Vec<u8> {
    let mut message = call(xid, STATUS, STATUS_VERSION, SM_NOTIFY);
    string(&mut message, name);
    word(&mut message, state as u32);
    message
}

/// Reads XDR.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn word(&mut self) -> Option<u32> {
        let (word, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*word))
    }

    fn opaque(&mut self, longest: usize) -> Option<&'a [u8]> {
        let length = usize::try_from(self.word()?)
            .ok()
            .filter(|&length| length <= longest)?;
        let (data, _) = self.0.split_at_checked(length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..)?;
        Some(data)
    }
}

/// An answer: the number of its call, and the results, which are another XDR structure.
pub type Answer<'a> = (u32, Result<&'a [u8], Refusal>);

/// Reads an answer; `None` if it is none.
pub fn answer(message: &[u8]) -> Option<Answer<'_>> {
    let mut reader = Reader(message);
    let xid = reader.word()?;
    if reader.word()? != REPLY {
        return None;
    }
    let result = match reader.word()? {
        0 => {
            reader.word()?;
            reader.opaque(MAX_AUTH)?;
            match reader.word()? {
                0 => Ok(reader.0),
                1 => Err(Refusal::NoProgram),
                2 => Err(Refusal::NoVersion),
                3 => Err(Refusal::NoProcedure),
                4 => Err(Refusal::Garbage),
                5 => Err(Refusal::System),
                _ => return None,
            }
        }
        1 => Err(Refusal::Denied),
        _ => return None,
    };
    Some((xid, result))
}

/// Reads the results of GETPORT or GETADDR: a port, 0 if the program is not registered.
pub fn port(results: &[u8], rpcbind: Rpcbind) -> Option<u16> {
    let mut reader = Reader(results);
    if rpcbind == Rpcbind::V2 {
        return reader.word()?.try_into().ok();
    }
    // A universal address (RFC 5665): the two bytes of the port come last, as decimal numbers.
    let address = std::str::from_utf8(reader.opaque(MAX_NAME)?).ok()?;
    if address.is_empty() {
        return Some(0);
    }
    let mut bytes = address.rsplit('.').map(|byte| byte.parse::<u8>().ok());
    let (low, high) = (bytes.next()??, bytes.next()??);
    bytes.next()?; // the host
    Some(u16::from_be_bytes([high, low]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const VERSIONS: [Rpcbind; 3] = [Rpcbind::V2, Rpcbind::V3, Rpcbind::V4];

    fn words(values: &[u32]) -> Vec<u8> {
        values
            .iter()
            .flat_map(|value| value.to_be_bytes())
            .collect()
    }

    fn address(text: &str) -> Vec<u8> {
        let mut message = Vec::new();
        string(&mut message, text);
        message
    }

    #[test]
    fn calls_are_as_the_rfcs_say() {
        let head = [7, 0, 2, 100_000, 2, 3, 0, 0, 0, 0];
        assert_eq!(
            ask(7, Rpcbind::V2, Transport::Tcp),
            words(&[&head[..], &[100_024, 1, 6, 0]].concat())
        );
        let mut getaddr = words(&[9, 0, 2, 100_000, 4, 3, 0, 0, 0, 0, 100_024, 1]);
        getaddr.extend(b"\0\0\0\x04udp6\0\0\0\0\0\0\0\0");
        assert_eq!(ask(9, Rpcbind::V4, Transport::Udp), getaddr);
        let mut notify = words(&[8, 0, 2, 100_024, 1, 6, 0, 0, 0, 0]);
        notify.extend(b"\0\0\0\x05fd::1\0\0\0\x7f\xff\xff\xff");
        assert_eq!(tell(8, "fd::1", i32::MAX), notify);
    }

    #[test]
    fn answers_are_understood() {
        assert_eq!(
            answer(&words(&[7, 1, 0, 0, 0, 0, 900])),
            Some((7, Ok(&words(&[900])[..])))
        );
        assert_eq!(
            answer(&words(&[7, 1, 0, 0, 0, 2, 3, 4])),
            Some((7, Err(Refusal::NoVersion)))
        );
        assert_eq!(
            answer(&words(&[7, 1, 1, 1, 1])),
            Some((7, Err(Refusal::Denied)))
        );
        let verifier = [
            words(&[7, 1, 0, 1, 5]),
            b"abcde\0\0\0".to_vec(),
            words(&[0]),
        ]
        .concat();
        assert_eq!(answer(&verifier), Some((7, Ok(&[][..]))));
        for not_one in [
            &words(&[7, 0, 0, 0, 0, 0])[..],   // a call
            &words(&[7, 1, 0, 0, 0, 6]),       // a status that is none
            &words(&[7, 1, 2]),                // neither accepted nor denied
            &words(&[7, 1, 0, 0, 401]),        // a verifier that is too long
            &words(&[7, 1, 0, 0, 0, 0])[..23], // cut off
            &words(&[7, 1, 0, 0, u32::MAX, 0]),
        ] {
            assert_eq!(answer(not_one), None, "{not_one:?}");
        }
    }

    #[test]
    fn ports_are_found() {
        assert_eq!(port(&words(&[900]), Rpcbind::V2), Some(900));
        assert_eq!(port(&words(&[0]), Rpcbind::V2), Some(0));
        assert_eq!(port(&words(&[65536]), Rpcbind::V2), None);
        assert_eq!(port(&address("::.3.132"), Rpcbind::V4), Some(900));
        assert_eq!(port(&address("10.0.0.1.255.255"), Rpcbind::V3), Some(65535));
        assert_eq!(port(&address(""), Rpcbind::V4), Some(0));
        for none in ["::", "1.2", "::.3", "::.256.1", "::.3.x", "..", "::.-1.3"] {
            assert_eq!(port(&address(none), Rpcbind::V4), None, "{none}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_answer_or_none(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            crate::nsm::laws::over_udp(&bytes);
            for rpcbind in VERSIONS {
                port(&bytes, rpcbind);
            }
        }

        #[test]
        fn a_port_is_read_back(number in 1..=u16::MAX, host in "[0-9a-f:.]{0,20}") {
            let [high, low] = number.to_be_bytes();
            prop_assert_eq!(port(&words(&[number.into()]), Rpcbind::V2), Some(number));
            prop_assert_eq!(port(&address(&format!("{host}.{high}.{low}")), Rpcbind::V3), Some(number));
        }

        #[test]
        fn a_verifier_of_any_length_is_skipped(verifier in prop::collection::vec(any::<u8>(), 0..=MAX_AUTH),
                                               results in prop::collection::vec(any::<u8>(), 0..20)) {
            let mut message = words(&[1, 1, 0, 6, verifier.len() as u32]);
            message.extend(&verifier);
            message.resize(message.len().next_multiple_of(4), 0);
            message.extend(words(&[0]));
            message.extend(&results);
            prop_assert_eq!(answer(&message), Some((1, Ok(&results[..]))));
        }
    }
}
