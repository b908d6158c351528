// SPDX-License-Identifier: GPL-2.0
//! What must hold of an upcall: see [`crate::laws`].
//!
//! What the numbers mean is written out once more here, from the two headers.

use super::*;
use crate::records::{ExportName, FileSystem, Holders};

const INVAL: i16 = -22;
const OPNOTSUPP: i16 = -95;

/// An epoch that answers tell.
const EPOCH: [u8; 16] = *b"epoch seventy 7\0";

/// An upcall of version 1 or 2. `hash` is for version 2; its length goes before it, whatever it is.
pub(super) fn fixed_message(version: u8, command: u8, name: &[u8], hash: &[u8]) -> Vec<u8> {
    let mut message = header(version, command);
    message.resize(if version == 1 { 1034 } else { 1067 }, 0);
    message[8..10].copy_from_slice(&(name.len() as u16).to_ne_bytes());
    message[10..][..name.len()].copy_from_slice(name);
    if version == 2 {
        message[1034] = hash.len() as u8;
        message[1035..][..hash.len()].copy_from_slice(hash);
    }
    message
}

/// An upcall of version 3.
pub(super) fn message(command: u8, attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut message = header(3, command);
    for (kind, value) in attributes {
        message.extend(kind.to_ne_bytes());
        message.extend((value.len() as u16).to_ne_bytes());
        message.extend(*value);
    }
    message
}

fn header(version: u8, command: u8) -> Vec<u8> {
    let mut header = vec![version, command, 0, 0];
    header.extend(0x1234_5678u32.to_ne_bytes());
    header
}

/// The attributes behind a header, as they are.
pub(super) fn attributes(message: &[u8]) -> Option<Vec<(u16, &[u8])>> {
    let number = |at: usize| {
        Some(u16::from_ne_bytes([
            *message.get(at)?,
            *message.get(at + 1)?,
        ]))
    };
    let mut all = Vec::new();
    let mut at = 8;
    while at < message.len() {
        let (kind, length) = (number(at)?, usize::from(number(at + 2)?));
        all.push((kind, message.get(at + 4..at + 4 + length)?));
        at += 4 + length;
    }
    Some(all)
}

/// The value of a type; `None` if there is none, or not one.
fn one<'a>(all: &[(u16, &'a [u8])], kind: u16) -> Option<&'a [u8]> {
    let values: Vec<_> = all.iter().filter(|(one, _)| *one == kind).collect();
    match values[..] {
        [(_, value)] => Some(value),
        _ => None,
    }
}

/// What an upcall of version 3 asks for, or the errno that it is answered with.
fn expected(message: &[u8]) -> Result<Command, i16> {
    if ![0, 1, 3, 4, 6, 7, 8].contains(&message[1]) {
        return Err(OPNOTSUPP);
    }
    let all = attributes(message).ok_or(INVAL)?;
    for (kind, lengths) in [
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
        let there = all.iter().any(|(one, _)| *one == kind);
        if there && !one(&all, kind).is_some_and(|value| lengths.contains(&value.len())) {
            return Err(INVAL);
        }
    }
    let visible = |value: &[u8]| value.iter().all(|byte| (b'!'..=b'~').contains(byte));
    if !one(&all, 6).is_none_or(visible) {
        return Err(INVAL);
    }
    let owner = || Owner::new(one(&all, 1).ok_or(INVAL)?).map_err(|_| INVAL);
    let epoch = || {
        one(&all, 5)
            .map(|epoch| epoch.try_into().unwrap())
            .ok_or(INVAL)
    };
    let hold = || {
        one(&all, 6).ok_or(INVAL).map(|export| Hold {
            owner: one(&all, 1).map(|name| Owner::new(name).unwrap()),
            export: ExportName::new(export).unwrap(),
            file_system: one(&all, 7).map(|uuid| FileSystem::from_bytes(uuid.try_into().unwrap())),
        })
    };
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    Ok(match message[1] {
        0 => Command::Create(Client {
            owner: owner()?,
            principal: one(&all, 2).map(|hash| hash.try_into().unwrap()),
            minor: one(&all, 3)
                .map(|minor| u32::from_ne_bytes(minor.try_into().unwrap()))
                .and_then(|minor| (minor <= 255).then_some(minor as u8)),
            address: one(&all, 4).and_then(|address| text(address).parse().ok()),
        }),
        1 => Command::Remove(owner()?),
        3 => Command::EpochDone { epoch: epoch()? },
        6 => Command::Hold(hold()?),
        7 => Command::Unhold(hold()?),
        8 => Command::AllHeld {
            epoch: epoch()?,
            until: u64::from_ne_bytes(one(&all, 8).ok_or(INVAL)?.try_into().unwrap()),
        },
        _ => Command::GraceStart,
    })
}

/// An upcall that asks for this; by `version`, if there is a choice.
fn encoded(command: &Command, version: u8) -> Vec<u8> {
    let (number, client) = match command {
        Command::Create(client) => (0, client.clone()),
        Command::Remove(owner) => (1, Client::new(owner.clone(), None)),
        Command::Check(owner) => (2, Client::new(owner.clone(), None)),
        Command::EpochDone { epoch } => return message(3, &[(5, epoch)]),
        Command::Hold(hold) => return message(6, &attributes_of(hold)),
        Command::Unhold(hold) => return message(7, &attributes_of(hold)),
        Command::AllHeld { epoch, until } => {
            return message(8, &[(8, &until.to_ne_bytes()), (5, epoch)]);
        }
        Command::GraceDone { started } => {
            let mut message = fixed_message(version, 3, &[], &[]);
            message[8..16].copy_from_slice(&started.to_ne_bytes());
            return message;
        }
        Command::GraceStart if version == 3 => return message(4, &[]),
        Command::GraceStart => return fixed_message(version, 4, &[], &[]),
        Command::GetVersion { question } => {
            let mut message = fixed_message(version, 5, &[], &[]);
            message[9..17].copy_from_slice(if *question { b"nfsd-ha?" } else { &[0; 8] });
            return message;
        }
    };
    let (name, principal) = (client.owner.bytes(), client.principal);
    if version != 3 {
        return fixed_message(
            version,
            number,
            name,
            principal.as_ref().map_or(&[], |hash| hash),
        );
    }
    let minor = client.minor.map(|minor| u32::from(minor).to_ne_bytes());
    let address = client.address.map(|address| address.to_string());
    let known = [
        Some((1, name)),
        principal.as_ref().map(|hash| (2, &hash[..])),
        minor.as_ref().map(|minor| (3, &minor[..])),
        address.as_ref().map(|address| (4, address.as_bytes())),
    ];
    message(number, &known.into_iter().flatten().collect::<Vec<_>>())
}

/// The name, the export and the file system, as far as they are known.
fn attributes_of(hold: &Hold) -> Vec<(u16, &[u8])> {
    let name = hold.owner.as_ref().map(|owner| (1, owner.bytes()));
    let export = Some((6, hold.export.as_str().as_bytes()));
    let uuid = hold
        .file_system
        .as_ref()
        .map(|uuid| (7, &uuid.as_bytes()[..]));
    [name, export, uuid].into_iter().flatten().collect()
}

/// A record of a GraceStart: a client, and on how many exports it held something; or such an export, as the Hold of it
/// would be, and by whom it was held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Client(Client, Option<u32>),
    Export(Hold, u32),
}

/// What is told in answers of version 3.
pub(super) fn told(downcalls: &[Vec<u8>]) -> Vec<Told> {
    let mut records: Vec<Vec<(u16, &[u8])>> = Vec::new();
    for downcall in downcalls {
        assert!(downcall.len() <= 32768);
        assert_eq!(
            downcall[..4],
            [&[3, 4][..], &(-115i16).to_ne_bytes()].concat()
        );
        let all = attributes(downcall).unwrap();
        assert!(
            [1, 6].contains(&all[0].0),
            "a downcall begins with a record"
        );
        for attribute in all {
            match attribute {
                (1 | 6, _) => records.push(vec![attribute]),
                _ => records.last_mut().unwrap().push(attribute),
            }
        }
    }
    let number = |record: &[_], kind| {
        one(record, kind).map(|value| u32::from_ne_bytes(value.try_into().unwrap()))
    };
    let read = |record: &Vec<(u16, _)>| {
        let (is_client, of_answers) = (record[0].0 == 1, [9, 10]);
        let upcall: Vec<_> = record
            .iter()
            .copied()
            .filter(|(kind, _)| !of_answers.contains(kind))
            .collect();
        match expected(&message(if is_client { 0 } else { 6 }, &upcall)) {
            Ok(Command::Create(client)) => Told::Client(client, number(record, 10)),
            Ok(Command::Hold(hold)) => Told::Export(hold, number(record, 9).unwrap()),
            other => panic!("{other:?}"),
        }
    };
    records.iter().map(read).collect()
}

/// The answers with some records. In the old versions, there are clients only.
pub(super) fn records(upcall: &Upcall, records: &[Told]) -> Vec<Vec<u8>> {
    let mut downcalls = upcall.downcalls();
    let full = records.iter().filter_map(|record| match record {
        Told::Client(client, holds) => downcalls.add(client, *holds),
        Told::Export(hold, holders) => {
            let holders = Holders {
                nfs4: holders & 1 != 0,
                nlm: holders & 2 != 0,
            };
            downcalls.add_export(&hold.export, hold.file_system, holders)
        }
    });
    let mut answers: Vec<_> = full.collect();
    answers.extend(downcalls.rest());
    answers
}

/// What is read can be answered, and written again so that it means the same.
pub fn upcall(input: &[u8]) {
    match input {
        [1, ..] if input.len() == 1034 => fixed(input),
        [2, ..] if input.len() == 1067 => fixed(input),
        [3, ..] if (8..=4096).contains(&input.len()) => version_3(input),
        _ => assert_eq!(Upcall::parse(input), Err(NoUpcall::Odd(input.len()))),
    }
}

/// A message of version 1 or 2: each answer is the upcall, changed in a few places.
fn fixed(input: &[u8]) {
    let status = |errno: i16| [&input[..2], &errno.to_ne_bytes(), &input[4..]].concat();
    let upcall = match Upcall::parse(input) {
        Ok(upcall) => upcall,
        Err(NoUpcall::Unknown { answer, .. }) => {
            let errno = if input[1] > 5 { OPNOTSUPP } else { INVAL };
            return assert_eq!(answer, status(errno));
        }
        Err(odd) => panic!("{odd}"),
    };
    let again = Upcall::parse(&encoded(&upcall.command, input[0])).unwrap();
    assert_eq!(again.command, upcall.command);
    let mut told = input.to_vec();
    match upcall.command {
        Command::GetVersion { question: true } => {
            assert_eq!(&input[9..17], b"nfsd-ha?");
            told[8..].fill(0);
            told[8..17].copy_from_slice(b"\x03nfsd-ha!");
            told[17..33].copy_from_slice(&EPOCH);
        }
        Command::GetVersion { question: false } => {
            assert_ne!(&input[9..17], b"nfsd-ha?");
            told[8] = 2;
        }
        _ => assert_eq!(upcall.answer(Err(Errno::NOSPC), EPOCH), status(-28)),
    }
    assert_eq!(upcall.answer(Ok(()), EPOCH), told);
    // What is known of the client besides is not for them.
    let client = Client {
        minor: Some(2),
        address: "192.0.2.50".parse().ok(),
        ..Client::new(Owner::new("one").unwrap(), Some([7; HASH]))
    };
    let mut record = status(-115);
    record[8..13].copy_from_slice(&[&3u16.to_ne_bytes()[..], b"one"].concat());
    if input[0] == 2 {
        record[1034..].copy_from_slice(&[&[32][..], &[7; 32]].concat());
    }
    assert_eq!(
        records(
            &upcall,
            &[
                Told::Client(client.clone(), None),
                held(None),
                Told::Client(client, Some(7)),
            ]
        ),
        [record.clone(), record]
    );
    assert_eq!(
        upcall.answer_known(EPOCH),
        upcall.answer(Ok(()), EPOCH),
        "nobody has asked for exports"
    );
}

/// A message of version 3: answers have its header and no more, but for what they tell.
fn version_3(input: &[u8]) {
    let status = |errno: i16| [&input[..2], &errno.to_ne_bytes(), &input[4..8]].concat();
    let upcall = match (Upcall::parse(input), expected(input)) {
        (Ok(upcall), Ok(command)) => {
            assert_eq!(upcall.command, command);
            upcall
        }
        (Err(NoUpcall::Unknown { answer, .. }), Err(errno)) => {
            return assert_eq!(answer, status(errno));
        }
        other => panic!("{other:?}"),
    };
    let again = Upcall::parse(&encoded(&upcall.command, 3)).unwrap();
    assert_eq!(again.command, upcall.command);
    // What a newer kernel tells besides is passed over.
    let newer = [input, &message(0, &[(12, b"new")])[8..]].concat();
    if newer.len() <= UPCALL_MAX {
        assert_eq!(Upcall::parse(&newer), Ok(upcall.clone()));
    }
    let mut done = status(0);
    if upcall.command == Command::GraceStart {
        done.extend(&message(0, &[(5, &EPOCH)])[8..]);
    }
    assert_eq!(upcall.answer(Ok(()), EPOCH), done);
    assert_eq!(upcall.answer(Err(Errno::NOSPC), EPOCH), status(-28));
    let start = Upcall::parse(&message(4, &[])).unwrap();
    let known = message(4, &[(5, &EPOCH), (11, b"")]);
    assert_eq!(start.answer_known(EPOCH)[8..], known[8..]);
    let record = match upcall.command {
        Command::Create(client) => Told::Client(client, Some(2)),
        Command::Hold(hold) => held(Some(hold)),
        _ => return,
    };
    let all = [record.clone(), held(None), record];
    assert_eq!(told(&records(&start, &all)), all);
}

/// An export as it is told of, that of a Hold without its name, or another one.
fn held(hold: Option<Hold>) -> Told {
    let other = || Hold {
        owner: None,
        export: ExportName::new(b"1234").unwrap(),
        file_system: None,
    };
    let hold = hold.unwrap_or_else(other);
    Told::Export(
        Hold {
            owner: None,
            ..hold
        },
        3,
    )
}
