// SPDX-License-Identifier: GPL-2.0
//! What clients hold something on.

use super::*;
use crate::records::{ExportName, FileSystem, Hold};

#[test]
fn what_is_held_is_read() {
    let hold = |owner: Option<&str>, file_system| Hold {
        owner: owner.map(|name| Owner::new(name).unwrap()),
        export: ExportName::new(b"1234").unwrap(),
        file_system,
    };
    let uuid = Some(FileSystem::from_bytes(*b"0123456789abcdef"));
    for (attributes, hold) in [
        (&[NAME, EXPORT, FILE_SYSTEM][..], hold(Some("one"), uuid)),
        (&[FILE_SYSTEM, EXPORT, NAME], hold(Some("one"), uuid)),
        (&[NAME, EXPORT], hold(Some("one"), None)),
        (&[EXPORT, FILE_SYSTEM], hold(None, uuid)),
        (&[EXPORT], hold(None, None)),
    ] {
        assert_eq!(read(6, attributes), Command::Hold(hold.clone()));
        assert_eq!(read(7, attributes), Command::Unhold(hold));
    }
    let epoch = *b"fedcba9876543210";
    for until in [0, 1_800_000_000, u64::MAX] {
        let said = read(8, &[(5, &epoch), (8, &until.to_ne_bytes())]);
        assert_eq!(said, Command::AllHeld { epoch, until });
    }
}

#[test]
fn an_export_is_visible_text() {
    for export in [&[b'~'; 64][..], b"!", b"dev:8:1", b"uuid8:0123456789abcdef"] {
        read(6, &[(6, export)]);
    }
    for export in [
        &b"12 4"[..],
        b"1234\0",
        b"\n",
        b"\x7f",
        "é".as_bytes(),
        b"\xff",
    ] {
        // Also where nobody needs it.
        for command in [0, 4, 6, 7] {
            assert_eq!(refused(&message(command, &[NAME, (6, export)])), -22);
        }
    }
}

#[test]
fn what_was_held_is_told_in_the_end() {
    let export = |name: &str, file_system, holders| {
        let export = ExportName::new(name.as_bytes()).unwrap();
        let owner = None;
        Told::Export(
            Hold {
                owner,
                export,
                file_system,
            },
            holders,
        )
    };
    let all = [
        Told::Client(client(b"one"), Some(1)),
        Told::Client(client(b"two"), Some(0)),
        export(
            "1234",
            Some(FileSystem::from_bytes(*b"0123456789abcdef")),
            1,
        ),
        export("1234", None, 2),
        export("dev:8:1", None, 3),
    ];
    let downcalls = records(&start(), &all);
    let (one, nobody, all_held) = (1u32.to_ne_bytes(), [0; 4], 3u32.to_ne_bytes());
    let (nfs4, nlm) = (1u32.to_ne_bytes(), 2u32.to_ne_bytes());
    let mut expected = message(
        4,
        &[
            NAME,
            (10, &one),
            (1, b"two"),
            (10, &nobody),
            EXPORT,
            FILE_SYSTEM,
            (9, &nfs4),
            EXPORT,
            (9, &nlm),
            (6, b"dev:8:1"),
            (9, &all_held),
        ],
    );
    expected[2..4].copy_from_slice(&(-115i16).to_ne_bytes());
    assert_eq!(downcalls, [expected]);
    assert_eq!(told(&downcalls), all);
    let end = message(4, &[(5, &[9; 16]), (11, b"")]);
    assert_eq!(start().answer_known([9; 16]), end);
}

prop_compose! {
    fn any_hold()(
        name in prop::option::of(prop::collection::vec(any::<u8>(), 1..=1024)),
        export in "[!-~]{1,64}",
        file_system in any::<Option<[u8; 16]>>(),
    ) -> Hold {
        let owner = name.map(|name| Owner::new(name).unwrap());
        let file_system = file_system.map(FileSystem::from_bytes);
        Hold { owner, export: ExportName::new(export.as_bytes()).unwrap(), file_system }
    }
}

proptest! {
    #[test]
    fn holds_are_read_as_they_were_written(hold in any_hold(), until in any::<u64>()) {
        let (export, until) = (hold.export.as_str().as_bytes(), until.to_ne_bytes());
        let name = hold.owner.iter().map(|owner| (1, owner.bytes()));
        let uuid = hold.file_system.iter().map(|uuid| (7, &uuid.as_bytes()[..]));
        let attributes: Vec<_> = uuid.chain([(6, export)]).chain(name).collect();
        for command in [6, 7] {
            laws::upcall(&message(command, &attributes));
            let read = read(command, &attributes);
            prop_assert_eq!(read, if command == 6 { Command::Hold(hold.clone()) } else { Command::Unhold(hold.clone()) });
        }
        laws::upcall(&message(8, &[(5, &[7; 16]), (8, &until)]));
    }

    #[test]
    fn exports_are_told_as_they_were_held(
        clients in prop::collection::vec((any_client(), any::<u32>()), 0..40),
        exports in prop::collection::vec((any_hold(), 1u32..=3), 0..40),
    ) {
        let clients = clients.into_iter().map(|(client, holds)| Told::Client(client, Some(holds)));
        let exports = exports
            .into_iter()
            .map(|(hold, holders)| Told::Export(Hold { owner: None, ..hold }, holders));
        let all: Vec<_> = clients.chain(exports).collect();
        prop_assert_eq!(told(&records(&start(), &all)), all);
    }
}
