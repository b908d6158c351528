// SPDX-License-Identifier: GPL-2.0

//! The message format, against offsets of include/uapi/linux/nfsd/cld.h written out by hand.

use crate::nfs4::record::Client;
use crate::tracking::attributes::Record;
use crate::tracking::cld::*;
use kernel::prelude::*;
use proptest::prelude::*;

const STATUS: usize = 2;
const XID: usize = 4;
const NAME: usize = 8;
const HASH: usize = 8 + 2 + 1024;

/// A downcall with this header and zeros behind it.
fn message(version: Version, command: u8, status: i16) -> Vec<u8> {
    let mut msg = vec![0; version.message_len().unwrap_or(NAME)];
    msg[0] = version as u8;
    msg[1] = command;
    msg[STATUS..XID].copy_from_slice(&status.to_ne_bytes());
    msg[XID..NAME].copy_from_slice(&77u32.to_ne_bytes());
    msg
}

/// What a downcall says, to compare.
#[derive(Debug, PartialEq)]
enum Heard<'a> {
    Done(Said),
    Failed(i16),
    Records(Vec<Record<'a>>),
}

/// xid, command, and what it says.
type Parsed<'a> = Result<(u32, u8, Heard<'a>)>;

fn heard(downcall: Downcall<'_>) -> (u32, u8, Heard<'_>) {
    let heard = match downcall.body {
        Body::Done(said) => Heard::Done(said),
        Body::Failed(why) => Heard::Failed(why),
        Body::Records(records) => Heard::Records(records.iter().collect()),
    };
    (downcall.xid, downcall.command, heard)
}

fn about(client: Client<'_>) -> About<'_> {
    About {
        client: Some(client),
        ..About::default()
    }
}

fn parse(version: Version, msg: &[u8]) -> Parsed<'_> {
    let parse = |msg, len| Downcall::parse(version, len, msg).map(heard);
    let whole = parse(msg, msg.len());
    // Of an answer, its beginning is enough.
    if msg.len() >= ANSWER_LEN && !is_record(msg.len(), msg) {
        assert_eq!(parse(&msg[..ANSWER_LEN], msg.len()), whole);
    }
    whole
}

fn record(version: Version, len: u16) -> Vec<u8> {
    let mut msg = message(version, 4, -115);
    msg[NAME..NAME + 2].copy_from_slice(&len.to_ne_bytes());
    msg
}

#[test]
fn lengths_are_those_of_the_structures() {
    assert_eq!(Version::V1.message_len(), Some(1034));
    assert_eq!(Version::V2.message_len(), Some(1067));
    assert_eq!(Version::V3.message_len(), None);
}

#[test]
fn version_is_the_nearest_known() {
    // nfsdcld sends the question back, so a version 3 of its own would come with that.
    for (said, whose, used) in [
        (0, b"nfsd-ha!", Version::V1),
        (1, b"nfsd-ha!", Version::V1),
        (2, b"nfsd-ha!", Version::V2),
        (2, b"nfsd-ha?", Version::V2),
        (3, b"nfsd-ha!", Version::V3),
        (3, b"nfsd-ha?", Version::V2),
        (3, &[0; 8], Version::V2),
        (255, b"nfsd-ha!", Version::V3),
        (255, &[0; 8], Version::V2),
    ] {
        let mut msg = message(Version::V1, 5, 0);
        msg[NAME] = said;
        msg[NAME + 1..NAME + 9].copy_from_slice(whose);
        msg[NAME + 9..NAME + 25].copy_from_slice(&[7; 16]);
        let version = used;
        let epoch = (used == Version::V3).then_some([7; 16]);
        let known = false;
        let said = Heard::Done(Said {
            version,
            epoch,
            known,
        });
        assert_eq!(parse(Version::V1, &msg), Ok((77, 5, said)));
    }
}

#[test]
fn the_question_for_the_version_is_one_of_version_1() {
    let msg = encode(Version::V1, Command::GetVersion, &About::default()).unwrap();
    assert_eq!(msg[..NAME], [1, 5, 0, 0, 0, 0, 0, 0]);
    assert_eq!(&msg[NAME..], b"\0nfsd-ha?");
}

#[test]
fn upcall_has_fields_where_the_daemon_looks() {
    let client = Client {
        name: b"client",
        hash: &[7; 32],
    };
    let mut msg = encode(Version::V2, Command::Create, &about(client)).unwrap();
    set_xid(&mut msg, 0x0102_0304);
    assert_eq!(msg[..4], [2, 0, 0, 0]);
    assert_eq!(msg[XID..NAME], 0x0102_0304u32.to_ne_bytes());
    assert_eq!(msg[NAME..NAME + 2], 6u16.to_ne_bytes());
    assert_eq!(&msg[NAME + 2..NAME + 8], b"client");
    assert!(msg[NAME + 8..HASH].iter().all(|b| *b == 0));
    assert_eq!(msg[HASH], 32);
    assert_eq!(msg[HASH + 1..], [7; 32]);
}

#[test]
fn version_1_sends_no_hash() {
    let client = Client {
        name: b"client",
        hash: &[7; 32],
    };
    let msg = encode(Version::V1, Command::Create, &about(client)).unwrap();
    assert_eq!(msg.len(), NAME + 2 + 6);
}

#[test]
fn upcall_refuses_what_does_not_fit() {
    let encode =
        |version, name, hash| encode(version, Command::Create, &about(Client { name, hash })).err();
    for version in [Version::V1, Version::V2, Version::V3] {
        assert_eq!(encode(version, &[1; 1024], &[1; 32]), None);
        assert_eq!(encode(version, &[1; 1025], &[]), Some(EINVAL));
        assert_eq!(encode(version, &[1; 9], &[1; 33]), Some(EINVAL));
        assert_eq!(encode(version, &[], &[]), Some(EINVAL));
    }
}

#[test]
fn downcall_must_have_its_versions_length() {
    for version in [Version::V1, Version::V2] {
        let msg = message(version, 0, 0);
        assert!(parse(version, &msg).is_ok());
        for len in [0, 1, 7, 8, msg.len() - 1] {
            assert_eq!(parse(version, &msg[..len]), Err(EINVAL), "{len}");
        }
        let long = [&msg[..], &[0]].concat();
        assert_eq!(parse(version, &long), Err(EINVAL));
    }
    let msg = message(Version::V1, 0, 0);
    assert_eq!(parse(Version::V2, &msg), Err(EINVAL));
}

#[test]
fn status_is_zero_or_an_errno() {
    for (status, good) in [
        (0, true),
        (-1, true),
        (-28, true),
        (-4095, true),
        (-4096, false),
        (i16::MIN, false),
    ] {
        assert_eq!(
            parse(Version::V2, &message(Version::V2, 0, status)).is_ok(),
            good
        );
    }
    for status in [1, 115, i16::MAX] {
        assert_eq!(
            parse(Version::V2, &message(Version::V2, 0, status)),
            Err(EINVAL)
        );
    }
}

#[test]
fn record_is_read_whole_if_it_may_be_one() {
    let msg = record(Version::V2, 5);
    let start = &msg[..ANSWER_LEN];
    for (len, is) in [
        (8, true),
        (1034, true),
        (1067, true),
        (32 << 10, true),
        (32 << 10 | 1, false),
    ] {
        assert_eq!(is_record(len, start), is, "{len}");
    }
    for len in 0..NAME {
        assert!(!is_record(len, &start[..len]));
    }
    assert!(!is_record(1067, &message(Version::V2, 4, 0)[..ANSWER_LEN]));
}

#[test]
fn record_belongs_to_grace_start_only() {
    for command in [0, 1, 2, 3, 5, 6, 255] {
        let mut msg = record(Version::V2, 5);
        msg[1] = command;
        assert_eq!(parse(Version::V2, &msg), Err(EINVAL), "{command}");
    }
}

#[test]
fn record_name_has_1_to_1024_bytes() {
    for version in [Version::V1, Version::V2] {
        for (len, good) in [
            (0, false),
            (1, true),
            (1024, true),
            (1025, false),
            (u16::MAX, false),
        ] {
            assert_eq!(parse(version, &record(version, len)).is_ok(), good, "{len}");
        }
    }
}

#[test]
fn record_hash_has_at_most_32_bytes() {
    for (len, good) in [(0, true), (1, true), (32, true), (33, false), (255, false)] {
        let mut msg = record(Version::V2, 5);
        msg[HASH] = len;
        assert_eq!(parse(Version::V2, &msg).is_ok(), good, "{len}");
    }
}

proptest! {
    /// What we send is what a record says when the daemon sends it back; version 1 has no hash.
    #[test]
    fn round_trip(
        name in proptest::collection::vec(any::<u8>(), 1..=1024),
        hash in proptest::collection::vec(any::<u8>(), 0..=32),
        xid: u32,
    ) {
        for (version, hash_back) in [(Version::V1, &[][..]), (Version::V2, &hash)] {
            let client = Client { name: &name, hash: &hash };
            let mut up = encode(version, Command::GraceStart, &about(client)).unwrap();
            set_xid(&mut up, xid);
            let mut msg = up.to_vec();
            let len = version.message_len().unwrap();
            prop_assert!(msg.len() <= len);
            msg.resize(len, 0);
            msg[STATUS..XID].copy_from_slice(&(-115i16).to_ne_bytes());
            let back = Record::Client(Client { name: &name, hash: hash_back }, None);
            prop_assert_eq!(parse(version, &msg), Ok((xid, 4, Heard::Records(vec![back]))));
        }
    }

    /// What we send is answered by what has its status changed, for each command.
    #[test]
    fn answer_round_trip(which in 0..5usize, xid: u32, status in -4095i16..=0, highest: u8) {
        prop_assume!(status != -115);
        let command = Command::ALL[which];
        for version in [Version::V1, Version::V2] {
            let mut msg = encode(version, command, &About::default()).unwrap().to_vec();
            set_xid(&mut msg, xid);
            msg.resize(version.message_len().unwrap(), 0);
            msg[STATUS..XID].copy_from_slice(&status.to_ne_bytes());
            msg[NAME] = highest;
            let version_said = if highest < 2 { Version::V1 } else { Version::V2 };
            let said = match status {
                0 => Heard::Done(Said { version: version_said, epoch: None, known: false }),
                _ => Heard::Failed(-status),
            };
            prop_assert_eq!(parse(version, &msg), Ok((xid, command as u8, said)));
        }
    }

    /// No message makes the parser panic.
    #[test]
    fn any_bytes(msg in proptest::collection::vec(any::<u8>(), 0..1100), full: bool) {
        let mut msg = msg;
        for version in [Version::V3, Version::V1, Version::V2] {
            if let (true, Some(len)) = (full, version.message_len()) {
                msg.resize(len, 0);
            }
            let _ = parse(version, &msg);
        }
    }
}
