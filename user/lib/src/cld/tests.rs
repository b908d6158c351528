// SPDX-License-Identifier: GPL-2.0
use super::laws::{fixed_message, records, Told};
use super::*;
use proptest::prelude::*;

#[test]
fn a_client_is_read() {
    let one = Owner::new("one").unwrap();
    let read = |message: &[u8]| Upcall::parse(message).unwrap().command;
    assert_eq!(
        read(&fixed_message(1, 0, b"one", &[])),
        Command::Create(Client::new(one.clone(), None))
    );
    assert_eq!(
        read(&fixed_message(2, 0, b"one", &[7; 32])),
        Command::Create(Client::new(one.clone(), Some([7; 32])))
    );
    assert_eq!(
        read(&fixed_message(2, 1, b"one", &[7; 32])),
        Command::Remove(one.clone())
    );
    assert_eq!(read(&fixed_message(1, 2, b"one", &[])), Command::Check(one));
    assert_eq!(read(&fixed_message(2, 4, b"", &[])), Command::GraceStart);
    let mut done = fixed_message(1, 3, b"", &[]);
    done[8..16].copy_from_slice(&1_795_000_000i64.to_ne_bytes());
    let started = 1_795_000_000;
    assert_eq!(read(&done), Command::GraceDone { started });
}

#[test]
fn what_is_wrong_is_answered_if_somebody_would_hear() {
    for odd in [
        &[][..],
        &[2],
        &fixed_message(2, 0, b"one", &[])[1..],
        &fixed_message(1, 0, b"x", &[])[1..],
        &[1; 8],
        &[0; 1034],
        &[4; 1067],
    ] {
        assert_eq!(Upcall::parse(odd), Err(NoUpcall::Odd(odd.len())));
    }
    let status = |message: &[u8]| match Upcall::parse(message) {
        Err(NoUpcall::Unknown { answer, .. }) => i16::from_ne_bytes([answer[2], answer[3]]),
        other => panic!("{other:?}"),
    };
    assert_eq!(status(&fixed_message(2, 0, b"", &[])), -22);
    // Hold, Unhold and AllHeld are of version 3 only.
    for (version, command) in [(2, 77), (1, 6), (2, 6), (1, 7), (2, 7), (1, 8), (2, 8)] {
        assert_eq!(status(&fixed_message(version, command, b"one", &[])), -95);
    }
    let mut long = fixed_message(2, 0, b"one", &[]);
    long[8..10].copy_from_slice(&1025u16.to_ne_bytes());
    assert_eq!(status(&long), -22);
}

#[test]
fn the_version_is_told() {
    for version in [1, 2] {
        let asked = fixed_message(version, 5, b"", &[]);
        let told = Upcall::parse(&asked).unwrap().answer(Ok(()), [5; 16]);
        let mut two = asked.clone();
        two[8] = 2;
        assert_eq!(told, two);
    }
}

#[test]
fn version_3_is_told_to_who_asks_for_it() {
    for version in [1, 2] {
        let mut asked = fixed_message(version, 5, b"", &[]);
        asked[8..17].copy_from_slice(b"\0nfsd-ha?");
        let told = |epoch| Upcall::parse(&asked).unwrap().answer(Ok(()), epoch);
        let mut three = asked.clone();
        three[8..17].copy_from_slice(b"\x03nfsd-ha!");
        assert_eq!(told([0; 16]), three, "no server has started yet");
        three[17..33].copy_from_slice(b"0123456789abcdef");
        assert_eq!(told(*b"0123456789abcdef"), three);
    }
}

#[test]
fn another_question_is_none() {
    let mut asked = fixed_message(1, 5, b"", &[]);
    asked[9..17].copy_from_slice(b"nfsd-ha?");
    for (at, byte) in (9..17).flat_map(|at| [(at, 0), (at, 0xff), (at, b'!')]) {
        let mut other = asked.clone();
        other[at] = byte;
        let told = Upcall::parse(&other).unwrap().answer(Ok(()), [5; 16]);
        other[8] = 2;
        assert_eq!(told, other);
    }
    // In its place only.
    asked.copy_within(9..17, 8);
    assert_eq!(Upcall::parse(&asked).unwrap().answer(Ok(()), [5; 16])[8], 2);
    // And of this command only.
    asked[8..17].copy_from_slice(b"\x08\0fsd-ha?");
    asked[1] = 4;
    assert_eq!(
        Upcall::parse(&asked).unwrap().answer(Ok(()), [5; 16]),
        asked
    );
}

#[test]
fn a_record_is_a_message_each() {
    let start = Upcall::parse(&fixed_message(1, 4, b"", &[])).unwrap();
    let clients = ["one", "two"].map(|name| Client::new(Owner::new(name).unwrap(), Some([1; 32])));
    let expected = [&b"one"[..], b"two"].map(|name| {
        let mut record = fixed_message(1, 4, name, &[]);
        record[2..4].copy_from_slice(&(-115i16).to_ne_bytes());
        record
    });
    let clients = clients.map(|client| Told::Client(client, None));
    assert_eq!(records(&start, &clients), expected);
}

proptest! {
    #[test]
    fn anything_is_read_or_refused(
        version in 0u8..5,
        bytes in prop::collection::vec(any::<u8>(), 0..1100),
    ) {
        laws::upcall(&bytes);
        laws::upcall(&[&[version], &bytes[..]].concat());
    }

    #[test]
    fn what_looks_right_is_too(
        version in 1u8..=2,
        command in 0u8..10,
        name in prop::collection::vec(any::<u8>(), 0..=1024),
        hash in prop::collection::vec(any::<u8>(), 0..=32),
    ) {
        laws::upcall(&fixed_message(version, command, &name, &hash));
    }

    #[test]
    fn any_field_of_the_old_versions_is_taken_as_ever(
        version in 1u8..=2,
        command in 0u8..10,
        status in any::<i16>(),
        body in prop::collection::vec(any::<u8>(), 60),
        question in any::<bool>(),
    ) {
        let mut message = fixed_message(version, command, b"", &[]);
        message[2..4].copy_from_slice(&status.to_ne_bytes());
        message[8..68].copy_from_slice(&body);
        if question {
            message[9..17].copy_from_slice(b"nfsd-ha?");
        }
        laws::upcall(&message);
    }
}
