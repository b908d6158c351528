// SPDX-License-Identifier: GPL-2.0

//! Messages of version 3, against the layout of include/uapi/nfsd_ha_cld.h written out by hand.

use crate::nfs4::record::Client;
use crate::tracking::cld::*;
use kernel::prelude::*;
use proptest::prelude::*;

const V3: Version = Version::V3;
const XID: u32 = 0x0102_0304;

/// A header with attributes behind it.
fn message(command: u8, status: i16, attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut msg = vec![3, command];
    msg.extend(status.to_ne_bytes());
    msg.extend(XID.to_ne_bytes());
    for (kind, value) in attributes {
        msg.extend(kind.to_ne_bytes());
        msg.extend((value.len() as u16).to_ne_bytes());
        msg.extend(*value);
    }
    msg
}

fn parse(msg: &[u8]) -> Result<Downcall<'_>> {
    Downcall::parse(V3, msg.len(), msg)
}

/// The clients of a record.
fn clients(msg: &[u8]) -> Result<Vec<Client<'_>>> {
    let downcall = parse(msg)?;
    assert_eq!((downcall.xid, downcall.command), (XID, 4));
    match downcall.body {
        Body::Records(records) => Ok(records.iter().collect()),
        _ => panic!("no record"),
    }
}

/// The epoch of an answer.
fn epoch(msg: &[u8]) -> Result<Option<[u8; 16]>> {
    match parse(msg)?.body {
        Body::Done(Said { version: V3, epoch }) => Ok(epoch),
        _ => panic!("no answer"),
    }
}

fn upcall(command: Command, about: &About<'_>) -> Vec<u8> {
    let mut msg = encode(V3, command, about).unwrap();
    set_xid(&mut msg, XID);
    msg.to_vec()
}

#[test]
fn an_upcall_has_what_it_needs() {
    let about = About {
        client: Some(Client {
            name: b"client",
            hash: &[7; 32],
        }),
        details: Details {
            minor: Some(2),
            server: Some("2001:db8::1".parse().unwrap()),
        },
        epoch: None,
    };
    let all: [(u16, &[u8]); 4] = [
        (1, b"client"),
        (2, &[7; 32]),
        (3, &2u32.to_ne_bytes()),
        (4, b"2001:db8::1"),
    ];
    assert_eq!(upcall(Command::Create, &about), message(0, 0, &all));
    assert_eq!(upcall(Command::Remove, &about), message(1, 0, &all[..1]));
    let about = About {
        epoch: Some([9; 16]),
        ..About::default()
    };
    let done = message(3, 0, &[(5, &[9; 16])]);
    assert_eq!(upcall(Command::GraceDone, &about), done);
    let start = upcall(Command::GraceStart, &About::default());
    assert_eq!(start, message(4, 0, &[]));
}

#[test]
fn the_longest_address_fits() {
    let about = About {
        client: Some(Client {
            name: b"c",
            hash: &[],
        }),
        details: Details {
            minor: None,
            server: Some("::ffff:255.255.255.255".parse().unwrap()),
        },
        epoch: None,
    };
    let text: &[u8] = b"::ffff:255.255.255.255";
    let msg = message(0, 0, &[(1, b"c"), (4, text)]);
    assert_eq!(upcall(Command::Create, &about), msg);
}

#[test]
fn a_hash_has_32_bytes() {
    let short = About {
        client: Some(Client {
            name: b"c",
            hash: &[1; 31],
        }),
        ..About::default()
    };
    assert_eq!(encode(V3, Command::Create, &short).err(), Some(EINVAL));
    let record = |hash: &[u8]| clients(&message(4, -115, &[(1, b"c"), (2, hash)])).is_ok();
    assert!(record(&[1; 32]));
    assert!(!record(&[1; 31]) && !record(&[1; 33]) && !record(&[]));
}

#[test]
fn a_record_has_many_clients() {
    let msg = message(
        4,
        -115,
        &[
            (1, b"a"),
            (3, &[0; 4]),
            (1, b"b"),
            (4, b"192.0.2.1"),
            (2, &[9; 32]),
            (77, b"what we do not know"),
            (1, b"c"),
        ],
    );
    let client = |name, hash| Client { name, hash };
    let all = [client(b"a", &[]), client(b"b", &[9; 32]), client(b"c", &[])];
    assert_eq!(clients(&msg), Ok(all.to_vec()));
}

#[test]
fn a_record_begins_with_a_name() {
    let bad = |attributes: &[(u16, &[u8])]| clients(&message(4, -115, attributes)) == Err(EINVAL);
    assert!(bad(&[]));
    assert!(bad(&[(77, b"x")]));
    assert!(bad(&[(2, &[9; 32]), (1, b"a")]));
    assert!(bad(&[(1, b"")]) && bad(&[(1, &[1; 1025])]));
    assert!(!bad(&[(77, b"x"), (1, b"a")]));
    assert!(bad(&[(1, b"a"), (3, &[0; 4]), (3, &[0; 4])]));
    assert!(!bad(&[(1, b"a"), (3, &[0; 4]), (1, b"b"), (3, &[0; 4])]));
    // All of it is looked at before any of it is taken.
    assert!(bad(&[(1, b"a"), (1, b"b"), (3, &[0; 3])]));
    let other = message(0, -115, &[(1, b"a")]);
    assert_eq!(parse(&other).err(), Some(EINVAL));
}

#[test]
fn a_message_cut_short_is_none() {
    let msg = message(4, -115, &[(1, b"abc"), (2, &[9; 32]), (1, b"d")]);
    // Where an attribute ends, so may the message.
    let ends = [8 + 4 + 3, 8 + 4 + 3 + 4 + 32, msg.len()];
    for len in 0..=msg.len() {
        let whole = Downcall::parse(V3, len, &msg[..len]).is_ok();
        assert_eq!(whole, ends.contains(&len), "{len}");
    }
}

#[test]
fn an_answer_is_a_header_and_perhaps_an_epoch() {
    assert_eq!(epoch(&message(0, 0, &[])), Ok(None));
    let word = [12; 16];
    assert_eq!(epoch(&message(4, 0, &[(5, &word)])), Ok(Some(word)));
    assert_eq!(
        epoch(&message(4, 0, &[(77, b""), (5, &word)])),
        Ok(Some(word))
    );
    let twice = message(4, 0, &[(5, &word), (5, &word)]);
    assert_eq!(epoch(&twice), Err(EINVAL));
    for value in [&word[..15], &[0; 17], &[]] {
        assert_eq!(epoch(&message(4, 0, &[(5, value)])), Err(EINVAL));
    }
    // No more than is looked at of an answer.
    let filled = |len| epoch(&message(4, 0, &[(77, &vec![0; len - 12])]));
    assert_eq!(filled(ANSWER_LEN), Ok(None));
    assert_eq!(filled(ANSWER_LEN + 1), Err(EINVAL));
    for len in 0..8 {
        let msg = &message(0, 0, &[])[..len];
        assert_eq!(parse(msg).err(), Some(EINVAL));
    }
}

#[test]
fn of_a_failure_the_header_counts() {
    for attributes in [&[][..], &[(5, &[1][..])]] {
        let msg = message(4, -12, attributes);
        assert!(matches!(parse(&msg).unwrap().body, Body::Failed(12)));
        let header = Downcall::parse(V3, msg.len(), &msg[..8]);
        assert!(matches!(header.unwrap().body, Body::Failed(12)));
    }
}

#[test]
fn a_record_has_at_most_32_kib() {
    let fill = |len: usize| {
        let mut msg = message(4, -115, &[(1, b"a")]);
        let rest = vec![0; len - msg.len() - 4];
        msg.extend_from_slice(&message(0, 0, &[(77, &rest)])[8..]);
        assert_eq!(msg.len(), len);
        clients(&msg).map(|clients| clients.len())
    };
    assert_eq!(fill(32 << 10), Ok(1));
    assert_eq!(fill((32 << 10) + 1), Err(EINVAL));
}

proptest! {
    /// What a record says is what its clients are.
    #[test]
    fn records_round_trip(
        all in proptest::collection::vec(
            (proptest::collection::vec(any::<u8>(), 1..=300), any::<Option<[u8; 32]>>()), 1..60),
    ) {
        let mut attributes: Vec<(u16, &[u8])> = Vec::new();
        for (name, hash) in &all {
            attributes.push((1, name));
            attributes.extend(hash.as_ref().map(|hash| (2, &hash[..])));
        }
        let expected: Vec<_> = all
            .iter()
            .map(|(name, hash)| Client { name, hash: hash.as_ref().map_or(&[], |h| &h[..]) })
            .collect();
        let msg = message(4, -115, &attributes);
        prop_assert_eq!(clients(&msg), Ok(expected));
    }

    /// No attributes make the reader panic, or go on for ever.
    #[test]
    fn any_attributes(
        all in proptest::collection::vec(
            (0..8u16, proptest::collection::vec(any::<u8>(), 0..40)), 0..20),
        cut in 0..20usize,
        status in prop_oneof![Just(-115i16), Just(0), Just(-5)],
    ) {
        let attributes: Vec<_> = all.iter().map(|(kind, value)| (*kind, &value[..])).collect();
        let mut msg = message(4, status, &attributes);
        msg.truncate(msg.len().saturating_sub(cut));
        if let Ok(Downcall { body: Body::Records(records), .. }) = parse(&msg) {
            let names = all.iter().filter(|(kind, _)| *kind == 1).count();
            let found = records.iter().count();
            prop_assert!(found >= 1 && found <= names);
            prop_assert!(records.iter().all(|c| (1..=1024).contains(&c.name.len())));
        }
    }
}
