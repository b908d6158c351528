// SPDX-License-Identifier: GPL-2.0

//! Which requests are exempt from a grace period, as nobody held anything where they go.

use crate::scopes::place::{ExportId, Place};
use crate::scopes::scope::{Fsid, Scope};
use crate::scopes::subject::Subject;
use crate::scopes::was_held::*;
use kernel::prelude::*;
use proptest::prelude::*;

const UUID: Fsid = Fsid::Uuid([0xa5; 16]);
const DISK: [u8; 16] = [7; 16];
const BOTH: u32 = NFS4 | NLM;

fn id(fsid: Fsid, file_system: [u8; 16]) -> ExportId {
    ExportId { fsid, file_system }
}

fn held(all: &[(ExportId, u32)]) -> WasHeld {
    let mut held = WasHeld::default();
    for (export, holders) in all {
        held.add(Some(*export), *holders).unwrap();
    }
    held
}

fn place(fsid: Fsid, file_system: [u8; 16]) -> Place {
    Place {
        handle: Some(fsid),
        export: Some(fsid),
        file_system: Some(file_system),
        ..Place::default()
    }
}

/// A request of which only the first file is given.
fn at(place: Place) -> Subject {
    Subject {
        files: [place, Place::default()],
        ..Subject::default()
    }
}

#[test]
fn where_nobody_held_anything_all_are_exempt() {
    let held = held(&[]);
    assert!(held.is_clear());
    assert!(held.exempts(&at(place(Fsid::Num(1), DISK)), BOTH));
}

#[test]
fn an_export_is_known_by_each_of_its_fsids() {
    let held = held(&[(id(Fsid::Num(1), DISK), NFS4)]);
    let one = Some(Fsid::Num(1));
    let free = Place {
        file_system: Some([8; 16]),
        ..Place::default()
    };
    assert!(held.exempts(&at(free), BOTH));
    for place in [
        Place {
            handle: one,
            ..free
        },
        Place {
            export: one,
            ..free
        },
        Place {
            device: one,
            ..free
        },
    ] {
        assert!(!held.exempts(&at(place), BOTH), "{place:?}");
    }
    // What is mounted below it is another one.
    let below = Place { above: one, ..free };
    assert!(held.exempts(&at(below), BOTH));
}

#[test]
fn an_export_is_known_by_its_file_system() {
    let held = held(&[(id(Fsid::Num(1), DISK), NFS4)]);
    assert!(!held.exempts(&at(place(Fsid::Num(2), DISK)), BOTH));
    assert!(held.exempts(&at(place(Fsid::Num(2), [8; 16])), BOTH));
}

#[test]
fn all_file_systems_without_a_uuid_are_as_one() {
    let held = held(&[(id(Fsid::Num(1), [0; 16]), NFS4)]);
    assert!(!held.exempts(&at(place(Fsid::Num(2), [0; 16])), BOTH));
    assert!(held.exempts(&at(place(Fsid::Num(2), DISK)), BOTH));
}

#[test]
fn a_uuid_is_known_by_its_folded_forms() {
    let held = held(&[(id(UUID, DISK), NLM)]);
    let folded: Vec<_> = Scope::Export(UUID).keys().collect();
    assert_eq!(folded.len(), 3);
    // Each byte stands for two, or for four, that are alike.
    for fsid in [UUID, Fsid::Uuid8([0; 8]), Fsid::Uuid4([0; 4])] {
        assert!(folded.contains(&fsid.key()));
        let place = Place {
            export: None,
            ..place(fsid, [8; 16])
        };
        assert!(!held.exempts(&at(place), BOTH), "{fsid}");
    }
    let other = Fsid::Uuid8([1; 8]);
    assert!(held.exempts(&at(place(other, [8; 16])), BOTH));
}

#[test]
fn both_files_of_a_request_count() {
    let held = held(&[(id(Fsid::Num(1), DISK), NFS4)]);
    let (taken, free) = (place(Fsid::Num(1), DISK), place(Fsid::Num(2), [8; 16]));
    for (files, exempt) in [
        ([free, free], true),
        ([free, taken], false),
        ([taken, free], false),
        ([free, Place::default()], true),
        // Nobody knows where that is.
        ([Place::default(), free], false),
        ([free, Place::of_handle(Some(Fsid::Num(3)))], false),
    ] {
        let subject = Subject {
            files,
            ..Subject::default()
        };
        assert_eq!(held.exempts(&subject, BOTH), exempt, "{files:?}");
    }
}

#[test]
fn of_a_file_whose_file_system_is_unknown_nobody_can_say() {
    let held = held(&[]);
    let handle = Some(Fsid::Num(1));
    for place in [
        Place::default(),
        Place::of_handle(handle),
        Place {
            export: handle,
            device: handle,
            above: handle,
            ..Place::of_handle(handle)
        },
    ] {
        assert!(!held.exempts(&at(place), BOTH));
    }
}

#[test]
fn one_that_nobody_knows_may_be_any() {
    let mut held = held(&[]);
    held.add(None, NLM).unwrap();
    assert!(!held.is_clear());
    // Of whom does not matter then.
    for kinds in [NFS4, NLM, BOTH] {
        assert!(!held.exempts(&at(place(Fsid::Num(1), DISK)), kinds));
    }
    held.add(Some(id(Fsid::Num(2), DISK)), NFS4).unwrap();
    assert!(!held.is_clear());
}

#[test]
fn who_held_it_makes_a_difference() {
    let (one, two, three) = (Fsid::Num(1), Fsid::Num(2), Fsid::Num(3));
    let held = held(&[
        (id(one, [1; 16]), NFS4),
        (id(two, [2; 16]), NLM),
        (id(three, [3; 16]), NFS4),
        // Another client of the same.
        (id(three, [3; 16]), NLM),
    ]);
    let exempts = |place, kinds| held.exempts(&at(place), kinds);
    for (place, nfs4, nlm) in [
        (place(one, [1; 16]), false, true),
        (place(two, [2; 16]), true, false),
        (place(three, [3; 16]), false, false),
        // Two exports that are now on one file system.
        (place(one, [2; 16]), false, false),
    ] {
        assert_eq!(exempts(place, NFS4), nfs4);
        assert_eq!(exempts(place, NLM), nlm);
        assert_eq!(exempts(place, BOTH), nfs4 && nlm);
    }
}

#[test]
fn without_memory_it_fails() {
    for allocations in 0..10 {
        let mut held = WasHeld::default();
        kernel::fail_after(allocations);
        let result = held.add(Some(id(UUID, DISK)), NFS4);
        kernel::never_fail();
        if result.is_ok() {
            // Three forms of its fsid, and its file system.
            assert_eq!(allocations, 4);
            return;
        }
        assert_eq!(result, Err(ENOMEM));
    }
    panic!("add() never succeeds");
}

fn fsid() -> impl Strategy<Value = Fsid> {
    prop_oneof![
        (0..3u32).prop_map(Fsid::Num),
        (0..3u8).prop_map(|n| {
            let mut uuid = [0; 16];
            uuid[0] = n;
            Fsid::Uuid(uuid)
        }),
        (0..3u8).prop_map(|n| Fsid::Uuid8([n, 0, 0, 0, 0, 0, 0, 0])),
        (0..3u8).prop_map(|n| Fsid::Uuid4([n, 0, 0, 0])),
        (0..3u32).prop_map(|major| Fsid::Dev { major, minor: 1 }),
    ]
}

fn file_system() -> impl Strategy<Value = [u8; 16]> {
    (0..4u8).prop_map(|n| [n; 16])
}

fn anywhere() -> impl Strategy<Value = Place> {
    let fsid = || proptest::option::of(fsid());
    let system = proptest::option::weighted(0.9, file_system());
    (fsid(), fsid(), fsid(), fsid(), system).prop_map(|(handle, export, device, above, system)| {
        Place {
            handle,
            export,
            device,
            above,
            file_system: system,
        }
    })
}

proptest! {
    /// It is as if each export were compared with each file.
    #[test]
    fn like_a_list(
        all in proptest::collection::vec((fsid(), file_system(), 1..4u32), 0..4),
        files: [bool; 2],
        places in [anywhere(), anywhere()],
        kinds in 1..4u32,
    ) {
        let all: Vec<_> = all.into_iter().map(|(f, s, holders)| (id(f, s), holders)).collect();
        let held = held(&all);
        let is_held = |place: &Place| {
            let Some(system) = place.file_system else {
                return true;
            };
            all.iter().any(|(export, holders)| {
                let own = [place.handle, place.export, place.device];
                let by_fsid = own.iter().flatten().any(|f| Scope::Export(export.fsid).has(f));
                holders & kinds != 0 && (by_fsid || export.file_system == system)
            })
        };
        let files = [0, 1].map(|n| if files[n] { places[n] } else { Place::default() });
        let subject = Subject { files, ..Subject::default() };
        let second = files[1] == Place::default() || !is_held(&files[1]);
        prop_assert_eq!(held.exempts(&subject, kinds), !is_held(&files[0]) && second);
    }
}
