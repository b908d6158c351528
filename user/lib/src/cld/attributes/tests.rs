// SPDX-License-Identifier: GPL-2.0
use crate::cld::laws::{self, message, records, told, Told};
use crate::cld::{Command, NoUpcall, Upcall, UPCALL_MAX};
use crate::owner::Owner;
use crate::records::Client;
use proptest::prelude::*;
use rustix::io::Errno;

const NAME: (u16, &[u8]) = (1, b"one");
const PRINCIPAL: (u16, &[u8]) = (2, &[7; 32]);
const EXPORT: (u16, &[u8]) = (6, b"1234");
const FILE_SYSTEM: (u16, &[u8]) = (7, b"0123456789abcdef");
const ADDRESS: (u16, &[u8]) = (4, b"2001:db8::1");

fn minor() -> (u16, [u8; 4]) {
    (3, 2u32.to_ne_bytes())
}

fn client(name: &[u8]) -> Client {
    Client::new(Owner::new(name).unwrap(), None)
}

fn read(command: u8, attributes: &[(u16, &[u8])]) -> Command {
    Upcall::parse(&message(command, attributes))
        .unwrap()
        .command
}

/// The status that a message is refused with, in a header alone.
fn refused(message: &[u8]) -> i16 {
    match Upcall::parse(message) {
        Err(NoUpcall::Unknown { answer, .. }) => {
            assert_eq!(
                (&answer[..2], &answer[4..]),
                (&message[..2], &message[4..8])
            );
            i16::from_ne_bytes([answer[2], answer[3]])
        }
        other => panic!("{other:?}"),
    }
}

fn start() -> Upcall {
    Upcall::parse(&message(4, &[])).unwrap()
}

#[test]
fn each_command_is_read() {
    let (kind, minor) = minor();
    let all = Client {
        principal: Some([7; 32]),
        minor: Some(2),
        address: "2001:db8::1".parse().ok(),
        ..client(b"one")
    };
    let attributes = [NAME, PRINCIPAL, (kind, &minor), ADDRESS];
    assert_eq!(read(0, &attributes), Command::Create(all.clone()));
    let backwards: Vec<_> = attributes.into_iter().rev().collect();
    assert_eq!(read(0, &backwards), Command::Create(all));
    assert_eq!(read(0, &[NAME]), Command::Create(client(b"one")));
    assert_eq!(
        read(1, &[NAME]),
        Command::Remove(Owner::new("one").unwrap())
    );
    let epoch = *b"0123456789abcdef";
    let done = read(3, &[(5, &epoch)]);
    assert_eq!(done, Command::EpochDone { epoch });
    assert_eq!(read(4, &[]), Command::GraceStart);
    let longest = [b'x'; 1024];
    assert_eq!(read(0, &[(1, &longest)]), Command::Create(client(&longest)));
}

#[test]
fn an_answer_is_a_header() {
    let epoch = [9; 16];
    for upcall in [
        message(0, &[NAME]),
        message(1, &[NAME]),
        message(3, &[(5, &epoch)]),
        message(6, &[EXPORT]),
        message(7, &[NAME, EXPORT]),
        message(8, &[(5, &epoch), (8, &[0; 8])]),
    ] {
        let answer = Upcall::parse(&upcall).unwrap().answer(Ok(()), [9; 16]);
        assert_eq!(answer, upcall[..8]);
    }
    assert_eq!(start().answer(Ok(()), [9; 16]), message(4, &[(5, &epoch)]));
    let mut failed = message(4, &[]);
    failed[2..4].copy_from_slice(&(-5i16).to_ne_bytes());
    assert_eq!(start().answer(Err(Errno::IO), [9; 16]), failed);
    // An upcall has no status, and none of its is answered.
    failed[2..4].copy_from_slice(&1i16.to_ne_bytes());
    let answer = Upcall::parse(&failed).unwrap().answer(Ok(()), [9; 16]);
    assert_eq!(answer, message(4, &[(5, &epoch)]));
}

#[test]
fn what_it_cannot_do_is_not_supported() {
    // Check and GetVersion are of the old versions only.
    for command in [2, 5, 9, 255] {
        assert_eq!(refused(&message(command, &[NAME])), -95);
        assert_eq!(refused(&message(command, &[(1, b"")])), -95);
    }
}

#[test]
fn attributes_of_another_length_are_refused() {
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
        let value = |length: usize| vec![b'1'; length];
        for length in [
            0, 1, 3, 4, 5, 7, 8, 15, 16, 17, 31, 32, 33, 64, 65, 1024, 1025,
        ] {
            let value = value(length);
            // Also where nobody needs it.
            let start = message(4, &[(kind, &value)]);
            if good.contains(&length) {
                assert_eq!(
                    Upcall::parse(&start).unwrap().command,
                    Command::GraceStart,
                    "type {kind}, {length} bytes"
                );
            } else {
                assert_eq!(refused(&start), -22, "type {kind}, {length} bytes");
            }
        }
    }
}

#[test]
fn what_is_missing_or_there_twice_is_refused() {
    let (kind, minor) = minor();
    let epoch = [9; 16];
    let all = [
        NAME,
        PRINCIPAL,
        (kind, &minor[..]),
        ADDRESS,
        (5, &epoch[..]),
        EXPORT,
        FILE_SYSTEM,
        (8, &[0; 8]),
        (9, &[3, 0, 0, 0]),
        (10, &[0; 4]),
        (11, b""),
    ];
    for command in [0, 1, 3, 4, 6, 7, 8] {
        for twice in all {
            let attributes = [&all[..], &[twice]].concat();
            assert_eq!(refused(&message(command, &attributes)), -22);
        }
    }
    for (command, needed) in [(0, 1), (1, 1), (3, 5), (6, 6), (7, 6), (8, 5), (8, 8)] {
        let others = all.into_iter().filter(|(kind, _)| *kind != needed);
        assert_eq!(refused(&message(command, &others.collect::<Vec<_>>())), -22);
        read(command, &all);
    }
}

#[test]
fn unknown_attributes_are_passed_over() {
    for kind in [0, 12, 13, 0x100, 0xffff] {
        for value in [&b""[..], b"x", &[0xff; 3000]] {
            let attributes = [(kind, value), NAME, (kind, b"again")];
            assert_eq!(read(0, &attributes), Command::Create(client(b"one")));
        }
    }
}

#[test]
fn what_only_people_look_at_costs_nobody_a_record() {
    for address in [
        &b"host"[..],
        b"192.0.2.50\0",
        b" 192.0.2.50",
        b"192.0.2.50:2049",
        b"fe80::1%eth0",
        b"\xff",
    ] {
        let created = read(0, &[NAME, (4, address)]);
        assert_eq!(created, Command::Create(client(b"one")), "{address:?}");
    }
    for (minor, kept) in [
        (0, Some(0)),
        (255, Some(255)),
        (256, None),
        (u32::MAX, None),
    ] {
        let Command::Create(client) = read(0, &[NAME, (3, &minor.to_ne_bytes())]) else {
            panic!("no Create");
        };
        assert_eq!(client.minor, kept);
    }
}

#[test]
fn each_truncation_is_refused_or_says_less() {
    let (kind, minor) = minor();
    let whole = message(0, &[NAME, PRINCIPAL, (kind, &minor), ADDRESS]);
    // Where an attribute ends, behind the name.
    let ends = [8 + 7, 8 + 7 + 36, 8 + 7 + 36 + 8, whole.len()];
    for length in 0..=whole.len() {
        let cut = &whole[..length];
        laws::upcall(cut);
        if length < 8 {
            assert_eq!(Upcall::parse(cut), Err(NoUpcall::Odd(length)));
        } else if ends.contains(&length) {
            assert!(Upcall::parse(cut).is_ok(), "{length} bytes");
        } else {
            assert_eq!(refused(cut), -22, "{length} bytes");
        }
    }
}

#[test]
fn the_longest_upcall_is_taken() {
    let filled = |length: usize| {
        let value = vec![0; length - message(0, &[NAME, (12, b"")]).len()];
        message(0, &[NAME, (12, &value)])
    };
    assert!(Upcall::parse(&filled(4096)).is_ok());
    assert_eq!(Upcall::parse(&filled(4097)), Err(NoUpcall::Odd(4097)));
    assert_eq!(UPCALL_MAX, 4096);
}

#[test]
fn clients_fill_a_downcall_to_its_last_byte() {
    assert!(records(&start(), &[]).is_empty());
    // 31 clients of 4 + 1020 bytes behind the header, and one for the rest.
    for (rest, lengths) in [
        (1012, vec![32768]),
        (1013, vec![8 + 31 * 1024, 8 + 4 + 1013]),
    ] {
        let mut clients: Vec<_> = (0..31)
            .map(|n| Told::Client(client(&[n; 1020]), None))
            .collect();
        clients.push(Told::Client(client(&vec![99; rest]), None));
        let downcalls = records(&start(), &clients);
        let found: Vec<_> = downcalls.iter().map(Vec::len).collect();
        assert_eq!(found, lengths);
        assert_eq!(told(&downcalls), clients);
    }
}

#[test]
fn ten_thousand_clients_take_some_downcalls() {
    let clients: Vec<_> = (0..10_000u32)
        .map(|n| {
            Told::Client(
                Client {
                    principal: (n % 2 == 0).then_some([n as u8; 32]),
                    minor: (n % 3 == 0).then_some((n % 256) as u8),
                    address: (n % 5 == 0).then_some(std::net::Ipv4Addr::from(n).into()),
                    ..client(
                        &format!("client-{n}")
                            .repeat(1 + n as usize % 70)
                            .into_bytes(),
                    )
                },
                (n % 7 == 0).then_some(n),
            )
        })
        .collect();
    let downcalls = records(&start(), &clients);
    assert_eq!(told(&downcalls), clients);
    // There was no room for one client more in any of them.
    let (last, full) = downcalls.split_last().unwrap();
    assert!(full.iter().all(|full| full.len() > 32768 - 1200) && last.len() > 8);
    assert!(downcalls.len() > 100);
}

prop_compose! {
    fn any_client()(
        name in prop::collection::vec(any::<u8>(), 1..=1024),
        principal in any::<Option<[u8; 32]>>(),
        minor in any::<Option<u8>>(),
        address in any::<Option<std::net::IpAddr>>(),
    ) -> Client {
        Client { principal, minor, address, ..client(&name) }
    }
}

prop_compose! {
    /// Some attributes, often such as there are.
    fn any_attribute()(
        kind in prop_oneof![1u16..=12, any::<u16>()],
        length in prop_oneof![Just(0), Just(4), Just(8), Just(16), Just(32), 0usize..1030],
        byte in any::<u8>(),
    ) -> (u16, Vec<u8>) {
        (kind, vec![byte; length])
    }
}

proptest! {
    #[test]
    fn clients_are_told_as_they_were_stored(
        clients in prop::collection::vec(any_client(), 0..80)
    ) {
        let clients: Vec<_> = clients.into_iter().map(|client| Told::Client(client, None)).collect();
        prop_assert_eq!(told(&records(&start(), &clients)), clients);
    }

    #[test]
    fn hostile_attributes_are_taken_or_refused(
        command in 0u8..10,
        name in prop::option::of(prop::collection::vec(any::<u8>(), 0..1030)),
        attributes in prop::collection::vec(any_attribute(), 0..5),
        cut in prop::option::of(0usize..4100),
        changed in prop::option::of((0usize..4100, any::<u8>())),
    ) {
        let name = name.iter().map(|name| (1, &name[..]));
        let others = attributes.iter().map(|(kind, value)| (*kind, &value[..]));
        let mut upcall = message(command, &name.chain(others).collect::<Vec<_>>());
        upcall.truncate(cut.unwrap_or(usize::MAX));
        if let Some((at, byte)) = changed {
            upcall.get_mut(at).into_iter().for_each(|one| *one = byte);
        }
        laws::upcall(&upcall);
    }
}

mod holds;
