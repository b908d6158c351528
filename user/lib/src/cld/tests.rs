// SPDX-License-Identifier: GPL-2.0
use super::*;
use proptest::prelude::*;

fn message(version: u8, command: u8, name: &[u8], hash: &[u8]) -> Vec<u8> {
    let mut message = vec![0; length(version)];
    message[..2].copy_from_slice(&[version, command]);
    message[4..8].copy_from_slice(&0x1234_5678u32.to_ne_bytes());
    message[8..10].copy_from_slice(&(name.len() as u16).to_ne_bytes());
    message[10..][..name.len()].copy_from_slice(name);
    if version > 1 {
        message[HEADER + NAME] = hash.len() as u8;
        message[HEADER + NAME + 1..][..hash.len()].copy_from_slice(hash);
    }
    message
}

#[test]
fn a_client_is_read() {
    let one = Owner::new("one").unwrap();
    let read = |message: &[u8]| Upcall::parse(message).unwrap().command;
    assert_eq!(
        read(&message(1, 0, b"one", &[])),
        Command::Create(Client::new(one.clone(), None))
    );
    assert_eq!(
        read(&message(2, 0, b"one", &[7; 32])),
        Command::Create(Client::new(one.clone(), Some([7; 32])))
    );
    assert_eq!(
        read(&message(2, 1, b"one", &[7; 32])),
        Command::Remove(one.clone())
    );
    assert_eq!(read(&message(1, 2, b"one", &[])), Command::Check(one));
    assert_eq!(read(&message(2, 4, b"", &[])), Command::GraceStart);
}

#[test]
fn what_is_wrong_is_answered_if_somebody_would_hear() {
    for odd in [
        &[][..],
        &[2],
        &message(2, 0, b"one", &[])[1..],
        &message(1, 0, b"x", &[])[1..],
    ] {
        assert_eq!(Upcall::parse(odd), Err(NoUpcall::Odd(odd.len())));
    }
    let status = |message: &[u8]| match Upcall::parse(message) {
        Err(NoUpcall::Unknown { answer, .. }) => i16::from_ne_bytes([answer[2], answer[3]]),
        other => panic!("{other:?}"),
    };
    assert_eq!(status(&message(2, 0, b"", &[])), -22);
    assert_eq!(status(&message(2, 77, b"one", &[])), -95);
    let mut long = message(2, 0, b"one", &[]);
    long[8..10].copy_from_slice(&1025u16.to_ne_bytes());
    assert_eq!(status(&long), -22);
}

#[test]
fn the_version_is_told() {
    let upcall = Upcall::parse(&message(1, 5, b"", &[])).unwrap();
    assert_eq!(upcall.answer(Ok(()))[8], VERSION);
    assert_eq!(
        upcall
            .record(&Client::new(Owner::new("x").unwrap(), Some([1; 32])))
            .len(),
        length(1)
    );
}

proptest! {
    #[test]
    fn anything_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..1100)) {
        laws::upcall(&bytes);
    }

    #[test]
    fn what_looks_right_is_too(
        version in 1u8..=2,
        command in 0u8..7,
        name in prop::collection::vec(any::<u8>(), 0..=1024),
        hash in prop::collection::vec(any::<u8>(), 0..=32),
    ) {
        laws::upcall(&message(version, command, &name, &hash));
    }
}
