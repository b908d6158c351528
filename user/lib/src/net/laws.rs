// SPDX-License-Identifier: GPL-2.0
//! What must hold of addresses and connections, whatever is written or answered: see [`crate::laws`].

use super::netlink::{self, Nothing};
use super::spec::Spec;
use netlink_packet_sock_diag::SockDiagMessage;

/// Who was connected.
pub fn connections(bytes: &[u8]) {
    let Ok(read) = super::connections::read(bytes) else {
        return;
    };
    let mut again = Vec::new();
    super::connections::write(&mut again, &read).unwrap();
    assert_eq!(super::connections::read(&again[..]).unwrap(), read);
}

/// An address that an admin gives.
pub fn spec(text: &str) {
    if let Ok(spec) = text.parse::<Spec>() {
        assert_eq!(spec.to_string().parse::<Spec>().ok(), Some(spec));
    }
}

/// The kernel's answer, whatever it is about.
pub fn netlink(datagram: &[u8]) {
    let (mut all, mut others) = (0, 0);
    let read = netlink::read(datagram, 1, &mut |_: Nothing| all += 1);
    let _ = netlink::read(datagram, 2, &mut |_: Nothing| others += 1);
    // Each has a head.
    assert!(16 * (all + others) <= datagram.len());
    if read.is_ok_and(|part| !part.last) {
        // It goes on in the next one.
        let done = [20, 0, 0, 0, 3, 0, 2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let more = [datagram, &done[..]].concat();
        if datagram.len() % 4 == 0 {
            assert!(netlink::read(&more, 1, &mut |_: Nothing| {}).is_ok_and(|part| part.last));
        }
    }
}

/// The kernel's answer about sockets.
pub fn sockets(datagram: &[u8]) {
    let _ = netlink::read(datagram, 1, &mut |answer: SockDiagMessage| {
        if let SockDiagMessage::InetResponse(response) = answer {
            super::sockets::connection(&response.header.socket_id);
        }
    });
}
