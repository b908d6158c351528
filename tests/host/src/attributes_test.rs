// SPDX-License-Identifier: GPL-2.0

//! Messages of version 3, against the layout of include/uapi/nfsd_ha_cld.h written out by hand.

use crate::nfs4::record::Client;
use crate::scopes::place::ExportId;
use crate::scopes::scope::Fsid;
use crate::tracking::attributes::Record;
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

/// What is in a message of records.
fn records(msg: &[u8]) -> Result<Vec<Record<'_>>> {
    let downcall = parse(msg)?;
    assert_eq!((downcall.xid, downcall.command), (XID, 4));
    match downcall.body {
        Body::Records(records) => Ok(records.iter().collect()),
        _ => panic!("no record"),
    }
}

/// The same, of clients of which nobody says what they held.
fn clients(msg: &[u8]) -> Result<Vec<Client<'_>>> {
    let only = |record| match record {
        Record::Client(client, None) => client,
        other => panic!("{other:?}"),
    };
    Ok(records(msg)?.into_iter().map(only).collect())
}

/// The epoch of an answer that says nothing of exports.
fn epoch(msg: &[u8]) -> Result<Option<[u8; 16]>> {
    match parse(msg)?.body {
        Body::Done(Said {
            version: V3,
            epoch,
            known: false,
        }) => Ok(epoch),
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
        ..About::default()
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

/// What Hold and Unhold are about.
fn held<'a>(name: &'a [u8], fsid: Fsid, file_system: [u8; 16]) -> About<'a> {
    let client = Client { name, hash: &[] };
    About {
        client: Some(client).filter(|client| !client.name.is_empty()),
        export: Some(ExportId { fsid, file_system }),
        ..About::default()
    }
}

#[test]
fn a_hold_has_its_client_and_its_export() {
    let about = held(b"client", Fsid::Num(1234), [7; 16]);
    let all: [(u16, &[u8]); 3] = [(1, b"client"), (6, b"1234"), (7, &[7; 16])];
    assert_eq!(upcall(Command::Hold, &about), message(6, 0, &all));
    assert_eq!(upcall(Command::Unhold, &about), message(7, 0, &all));
    // Of clients of NLM it has no name; a file system without a UUID is not known.
    let about = held(b"", Fsid::Num(0), [0; 16]);
    let hold = message(6, 0, &[(6, b"0")]);
    assert_eq!(upcall(Command::Hold, &about), hold);
    let unhold = message(7, 0, &[(6, b"0")]);
    assert_eq!(upcall(Command::Unhold, &about), unhold);
}

#[test]
fn an_export_is_its_fsid_as_text() {
    let uuid = [
        0x0d, 0x7b, 0xb6, 0xe8, 0x0c, 0x1e, 0x4e, 0x6a, 0x9d, 0x61, 0x3f, 0x9a, 0x1f, 0x6c, 0x1b,
        0x1d,
    ];
    let device = Fsid::Dev {
        major: 4095,
        minor: 1048575,
    };
    for (fsid, text) in [
        (Fsid::Num(u32::MAX), "4294967295"),
        (Fsid::Uuid(uuid), "0d7bb6e8-0c1e-4e6a-9d61-3f9a1f6c1b1d"),
        (
            Fsid::Uuid8([1, 2, 3, 4, 5, 6, 7, 0xab]),
            "uuid8:01020304050607ab",
        ),
        (Fsid::Uuid4([1, 2, 3, 0xab]), "uuid4:010203ab"),
        (device, "dev:4095:1048575"),
    ] {
        let about = held(b"c", fsid, [9; 16]);
        let all: [(u16, &[u8]); 3] = [(1, b"c"), (6, text.as_bytes()), (7, &[9; 16])];
        assert_eq!(upcall(Command::Hold, &about), message(6, 0, &all));
        // The next start is told the same.
        let msg = message(
            4,
            -115,
            &[(6, text.as_bytes()), (7, &[9; 16]), (9, &word(1))],
        );
        let file_system = [9; 16];
        let export = Record::Export(Some(ExportId { fsid, file_system }), 1);
        assert_eq!(records(&msg), Ok(vec![export]));
    }
}

#[test]
fn all_held_has_a_time_and_an_epoch() {
    let about = |until| About {
        epoch: Some([9; 16]),
        until: Some(until),
        ..About::default()
    };
    for until in [0, 1_800_000_000, u64::MAX] {
        let msg = message(8, 0, &[(5, &[9; 16]), (8, &until.to_ne_bytes())]);
        assert_eq!(upcall(Command::AllHeld, &about(until)), msg);
    }
}

#[test]
fn what_is_new_is_of_version_3_only() {
    let about = About {
        until: Some(1),
        ..held(b"c", Fsid::Num(1), [1; 16])
    };
    for command in [Command::Hold, Command::Unhold, Command::AllHeld] {
        for version in [Version::V1, Version::V2] {
            assert_eq!(encode(version, command, &about).err(), Some(EINVAL));
        }
        assert!(encode(V3, command, &about).is_ok());
    }
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
        ..About::default()
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

/// A number, as attributes have it.
fn word(number: u32) -> [u8; 4] {
    number.to_ne_bytes()
}

#[test]
fn records_are_of_clients_and_of_exports() {
    let msg = message(
        4,
        -115,
        &[
            (1, b"a"),
            (10, &word(2)),
            (2, &[9; 32]),
            (6, b"1234"),
            (7, &[7; 16]),
            (9, &word(1)),
            (6, b"dev:8:1"),
            (9, &word(2)),
            (1, b"b"),
            (1, b"c"),
            (10, &word(0)),
            (6, b"7"),
            (77, b"what we do not know"),
            (9, &word(3)),
            (7, &[1; 16]),
            (6, b"8"),
        ],
    );
    let client = |name, hash, holds| Record::Client(Client { name, hash }, holds);
    let export =
        |fsid, file_system, holders| Record::Export(Some(ExportId { fsid, file_system }), holders);
    let device = Fsid::Dev { major: 8, minor: 1 };
    let all = vec![
        client(b"a", &[9; 32], Some(2)),
        export(Fsid::Num(1234), [7; 16], 1),
        export(device, [0; 16], 2),
        client(b"b", &[], None),
        client(b"c", &[], Some(0)),
        export(Fsid::Num(7), [1; 16], 3),
        // Of whom nobody says anything, it may be both.
        export(Fsid::Num(8), [0; 16], 3),
    ];
    assert_eq!(records(&msg), Ok(all));
}

#[test]
fn an_export_that_we_do_not_know_may_be_any() {
    for text in [
        &b"x"[..],
        b"0123",
        b"1 ",
        b"ip:192.0.2.1",
        b"dev:4096:0",
        b"uuid8:01",
        b"\xff\xfe",
        &[b'1'; 64],
    ] {
        let msg = message(4, -115, &[(6, text), (7, &[1; 16]), (9, &word(2))]);
        assert_eq!(records(&msg), Ok(vec![Record::Export(None, 2)]));
    }
}

#[test]
fn nothing_is_there_twice_of_a_record() {
    let twice = |begin: (u16, &[u8]), kind: u16, value: &[u8]| {
        let once = message(4, -115, &[begin, (kind, value)]);
        assert!(records(&once).is_ok(), "{kind}");
        let twice = message(4, -115, &[begin, (kind, value), (kind, value)]);
        assert_eq!(records(&twice), Err(EINVAL), "{kind}");
        let apart = message(4, -115, &[begin, (kind, value), (77, b""), (kind, value)]);
        assert_eq!(records(&apart), Err(EINVAL), "{kind}");
        // Of two, each may have it.
        for next in [(1, &b"next"[..]), (6, b"99")] {
            let two = message(4, -115, &[begin, (kind, value), next, (kind, value)]);
            assert_eq!(records(&two).map(|all| all.len()), Ok(2), "{kind}");
        }
    };
    twice((1, b"a"), 2, &[9; 32]);
    twice((1, b"a"), 10, &word(1));
    twice((6, b"1"), 7, &[1; 16]);
    twice((6, b"1"), 9, &word(1));
    // Who knows more types of a record than there are, too.
    for (kind, len) in [(3, 4), (4, 3), (5, 16), (8, 8), (11, 0)] {
        twice((1, b"a"), kind, &vec![b'1'; len]);
        twice((6, b"1"), kind, &vec![b'1'; len]);
    }
}

#[test]
fn each_type_has_its_length() {
    for (kind, good) in [
        (1, 1..=1024),
        (2, 32..=32),
        (3, 4..=4),
        (4, 1..=64),
        (5, 16..=16),
        (6, 1..=64),
        (7, 16..=16),
        (8, 8..=8),
        (9, 4..=4),
        (10, 4..=4),
        (11, 0..=0),
    ] {
        for len in (0..70).chain([1023, 1024, 1025, 2000]) {
            let msg = message(4, -115, &[(1, b"a"), (kind, &vec![b'1'; len])]);
            assert_eq!(records(&msg).is_ok(), good.contains(&len), "{kind}: {len}");
        }
    }
    // Of a type that we do not know, any.
    for kind in [0, 12, 77, u16::MAX] {
        for len in [0, 1, 16, 2000] {
            let msg = message(4, -115, &[(1, b"a"), (kind, &vec![b'1'; len])]);
            assert!(records(&msg).is_ok(), "{kind}: {len}");
        }
    }
}

#[test]
fn what_is_of_a_record_begins_none() {
    for (kind, value) in [
        (7, &[1; 16][..]),
        (8, &[1; 8]),
        (9, &[1; 4]),
        (10, &[1; 4]),
        (11, &[]),
    ] {
        let msg = message(4, -115, &[(kind, value), (6, b"1")]);
        assert_eq!(records(&msg), Err(EINVAL), "{kind}");
        let msg = message(4, -115, &[(kind, value)]);
        assert_eq!(records(&msg), Err(EINVAL), "{kind}");
    }
    let msg = message(4, -115, &[(77, b"x"), (6, b"1")]);
    assert_eq!(records(&msg).map(|all| all.len()), Ok(1));
}

#[test]
fn what_is_of_another_kind_of_record_says_nothing() {
    let msg = message(4, -115, &[(1, b"a"), (10, &word(2)), (9, &word(0))]);
    let client = Client {
        name: b"a",
        hash: &[],
    };
    assert_eq!(records(&msg), Ok(vec![Record::Client(client, Some(2))]));
    let msg = message(4, -115, &[(6, b"1"), (9, &word(1)), (10, &word(0))]);
    let export = ExportId {
        fsid: Fsid::Num(1),
        file_system: [0; 16],
    };
    assert_eq!(records(&msg), Ok(vec![Record::Export(Some(export), 1)]));
}

#[test]
fn the_end_says_whether_all_exports_are_known() {
    let said = |attributes: &[(u16, &[u8])]| match parse(&message(4, 0, attributes)) {
        Ok(Downcall {
            body: Body::Done(Said { epoch, known, .. }),
            ..
        }) => Ok((epoch, known)),
        Ok(_) => panic!("no answer"),
        Err(e) => Err(e),
    };
    let epoch = [12; 16];
    assert_eq!(said(&[(11, b"")]), Ok((None, true)));
    assert_eq!(said(&[(11, b""), (5, &epoch)]), Ok((Some(epoch), true)));
    assert_eq!(said(&[(5, &epoch), (11, b"")]), Ok((Some(epoch), true)));
    assert_eq!(said(&[(5, &epoch)]), Ok((Some(epoch), false)));
    assert_eq!(said(&[(11, b""), (11, b"")]), Err(EINVAL));
    assert_eq!(said(&[(11, b"x")]), Err(EINVAL));
    assert_eq!(said(&[(11, b""), (5, &epoch[..15])]), Err(EINVAL));
}

#[test]
fn a_message_cut_short_is_none() {
    let msg = message(
        4,
        -115,
        &[
            (1, b"abc"),
            (2, &[9; 32]),
            (1, b"d"),
            (6, b"1"),
            (7, &[9; 16]),
        ],
    );
    // Where an attribute ends, so may the message.
    let mut ends = vec![8 + 4 + 3];
    for len in [32, 1, 1, 16] {
        ends.push(ends[ends.len() - 1] + 4 + len);
    }
    assert_eq!(ends.last(), Some(&msg.len()));
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

/// Any record: a name, a principal and on how many exports it held something; or an export, its file system and who held
/// something there.
#[derive(Clone, Debug)]
enum Any {
    Client(Vec<u8>, Option<[u8; 32]>, Option<u32>),
    Export(u32, Option<[u8; 16]>, Option<u32>),
}

fn any_record() -> impl Strategy<Value = Any> {
    let name = proptest::collection::vec(any::<u8>(), 1..=300);
    let number = || any::<Option<u32>>();
    prop_oneof![
        (name, any::<Option<[u8; 32]>>(), number()).prop_map(|(n, h, c)| Any::Client(n, h, c)),
        (any::<u32>(), any::<Option<[u8; 16]>>(), number())
            .prop_map(|(n, s, h)| Any::Export(n, s, h)),
    ]
}

proptest! {
    /// What a message says is what its records are.
    #[test]
    fn records_round_trip(all in proptest::collection::vec(any_record(), 1..60)) {
        let mut values: Vec<(u16, Vec<u8>)> = Vec::new();
        for record in &all {
            let (kind, number) = match record {
                Any::Client(name, hash, number) => {
                    values.push((1, name.clone()));
                    values.extend(hash.map(|hash| (2, hash.to_vec())));
                    (10, number)
                }
                Any::Export(fsid, file_system, number) => {
                    values.push((6, fsid.to_string().into()));
                    values.extend(file_system.map(|uuid| (7, uuid.to_vec())));
                    (9, number)
                }
            };
            values.extend(number.map(|number| (kind, word(number).to_vec())));
        }
        let expected: Vec<_> = all
            .iter()
            .map(|record| match record {
                Any::Client(name, hash, holds) => {
                    let hash = hash.as_ref().map_or(&[][..], |hash| &hash[..]);
                    Record::Client(Client { name, hash }, *holds)
                }
                Any::Export(fsid, file_system, holders) => {
                    let (fsid, file_system) = (Fsid::Num(*fsid), file_system.unwrap_or_default());
                    Record::Export(Some(ExportId { fsid, file_system }), holders.unwrap_or(3))
                }
            })
            .collect();
        let attributes: Vec<_> = values.iter().map(|(kind, value)| (*kind, &value[..])).collect();
        let msg = message(4, -115, &attributes);
        prop_assert_eq!(records(&msg), Ok(expected));
    }

    /// No attributes make the reader panic, or go on for ever.
    #[test]
    fn any_attributes(
        all in proptest::collection::vec(
            (0..14u16, proptest::collection::vec(any::<u8>(), 0..40)), 0..20),
        cut in 0..20usize,
        status in prop_oneof![Just(-115i16), Just(0), Just(-5)],
    ) {
        let attributes: Vec<_> = all.iter().map(|(kind, value)| (*kind, &value[..])).collect();
        let mut msg = message(4, status, &attributes);
        msg.truncate(msg.len().saturating_sub(cut));
        if let Ok(Downcall { body: Body::Records(records), .. }) = parse(&msg) {
            let begin = all.iter().filter(|(kind, _)| matches!(kind, 1 | 6)).count();
            let found = records.iter().count();
            prop_assert!(found >= 1 && found <= begin);
            for record in records.iter() {
                if let Record::Client(client, _) = record {
                    prop_assert!((1..=1024).contains(&client.name.len()));
                }
            }
        }
    }
}
