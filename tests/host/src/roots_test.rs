// SPDX-License-Identifier: GPL-2.0

use crate::scopes::place::*;
use crate::scopes::roots::*;
use crate::scopes::scope::{Fsid, Scope};
use kernel::code::ENOMEM;

const DISK: Fsid = Fsid::Dev {
    major: 254,
    minor: 32,
};
const UUID: [u8; 16] = [0x0d; 16];

fn export(inode: u64, domain: u64, fsid: Fsid) -> Export {
    let root = Root {
        device: DISK,
        inode,
        address: usize::try_from(inode).unwrap(),
        generation: 0,
    };
    Export {
        root,
        domain,
        fsid,
        below: None,
        how: How::default(),
        file_system: UUID,
    }
}

fn number(n: u32) -> Form {
    Form::new(1, &n.to_ne_bytes()).unwrap()
}

/// FSID_UUID16_INUM.
fn uuid(inode: u64) -> Form {
    let mut bytes = inode.to_ne_bytes().to_vec();
    bytes.extend(UUID);
    Form::new(7, &bytes).unwrap()
}

/// Notes with as much room as it takes.
fn note(roots: &mut Roots, net: u64, form: &Form, export: &Export) {
    roots
        .note(net, Some(form), export, &mut Room::new().ok())
        .unwrap();
}

#[test]
fn forms_are_whole() {
    assert_eq!(Form::new(8, &[0; 24]), None);
    for (kind, len) in [8, 4, 12, 8, 8, 8, 16, 24].into_iter().enumerate() {
        let kind = u8::try_from(kind).unwrap();
        assert!(Form::new(kind, &[1; 24][..len]).is_some());
        assert_eq!(Form::new(kind, &[1; 24][..len - 1]), None);
        // What follows is not the fsid's.
        assert_eq!(
            Form::new(kind, &[1; 24]).unwrap().bytes()[..len],
            [1; 24][..len]
        );
        assert!(Form::new(kind, &[1; 24]).unwrap().bytes()[len..]
            .iter()
            .all(|b| *b == 0));
    }
    assert_eq!(
        Form::of_handle(&[1, 0, 1, 1, 7, 0, 0, 0, 9]),
        Some(number(7))
    );
    assert_eq!(Form::of_handle(&[2, 0, 1, 1, 7, 0, 0, 0, 9]), None);
    assert_eq!(Form::of_handle(&[1, 0, 1]), None);
    assert_eq!(number(7).fsid(), Some(Fsid::Num(7)));
    assert_eq!(uuid(5).fsid(), Some(Fsid::Uuid(UUID)));
}

#[test]
fn a_scope_has_a_place_by_each_identity() {
    let place = Place {
        handle: Some(Fsid::Uuid(UUID)),
        export: Some(Fsid::Num(7)),
        device: Some(DISK),
        above: Some(Fsid::Num(9)),
        file_system: Some(UUID),
    };
    for fsid in [Fsid::Uuid(UUID), Fsid::Num(7), DISK, Fsid::Num(9)] {
        assert!(Scope::Export(fsid).covers(&place));
    }
    assert!(!Scope::Export(Fsid::Num(8)).covers(&place));
    assert!(!Scope::Export(Fsid::Num(7)).covers(&Place::default()));
    assert_eq!(place.shown(), Some(Fsid::Num(7)));
    assert_eq!(Place::of_handle(place.handle).shown(), place.handle);
    let same = Place {
        handle: Some(DISK),
        export: Some(DISK),
        device: Some(DISK),
        above: Some(DISK),
        file_system: None,
    };
    assert_eq!(same.fsids().collect::<Vec<_>>(), [DISK]);
}

#[test]
fn another_form_leads_to_the_export() {
    let mut roots = Roots::default();
    assert_eq!(
        roots.by_form(1, &uuid(2), None),
        Place::of_handle(Some(Fsid::Uuid(UUID)))
    );
    note(&mut roots, 1, &uuid(2), &export(2, 0, Fsid::Num(7)));
    let place = roots.by_form(1, &uuid(2), None);
    assert_eq!(
        (place.export, place.device),
        (Some(Fsid::Num(7)), Some(DISK))
    );
    // Another directory of the file system, and another net namespace, are something else.
    assert_eq!(roots.by_form(1, &uuid(3), None).export, None);
    assert_eq!(roots.by_form(2, &uuid(2), None).export, None);
}

#[test]
fn the_last_fsid_counts() {
    let mut roots = Roots::default();
    note(&mut roots, 1, &uuid(2), &export(2, 9, Fsid::Uuid(UUID)));
    // It is exported anew, and somebody else uses the new handle.
    note(&mut roots, 1, &number(7), &export(2, 9, Fsid::Num(7)));
    assert_eq!(roots.by_form(1, &uuid(2), None).export, Some(Fsid::Num(7)));
    let root = export(2, 9, Fsid::Num(7)).root;
    assert_eq!(
        roots.by_root(1, &root, 9).unwrap().export,
        Some(Fsid::Num(7))
    );
    assert_eq!(roots.by_root(1, &root, 8), None);
}

#[test]
fn domains_may_have_an_fsid_each() {
    let mut roots = Roots::default();
    note(&mut roots, 1, &number(21), &export(2, 5, Fsid::Num(21)));
    note(
        &mut roots,
        1,
        &number(22),
        &export(2, u64::MAX, Fsid::Num(22)),
    );
    // The handle says which.
    assert_eq!(
        roots.by_form(1, &number(21), None).export,
        Some(Fsid::Num(21))
    );
    assert_eq!(
        roots.by_form(1, &number(22), None).export,
        Some(Fsid::Num(22))
    );
    // Or the domain does; or it is the last one.
    note(&mut roots, 1, &uuid(2), &export(2, 5, Fsid::Num(21)));
    assert_eq!(
        roots.by_form(1, &uuid(2), Some(u64::MAX)).export,
        Some(Fsid::Num(22))
    );
    assert_eq!(
        roots.by_form(1, &uuid(2), Some(5)).export,
        Some(Fsid::Num(21))
    );
    assert_eq!(roots.by_form(1, &uuid(2), None).export, Some(Fsid::Num(21)));
}

#[test]
fn exports_of_one_number_of_inode_are_told_apart() {
    // Two subvolumes of a btrfs, and one directory mounted twice.
    let mut roots = Roots::default();
    let subvolume = |address, n| {
        let mut export = export(256, 0, Fsid::Num(n));
        export.root.address = address;
        export
    };
    note(&mut roots, 1, &uuid(1), &subvolume(10, 1));
    note(&mut roots, 1, &uuid(2), &subvolume(20, 2));
    assert_eq!(
        roots.by_form(1, &uuid(1), Some(0)).export,
        Some(Fsid::Num(1))
    );
    note(&mut roots, 1, &number(1), &subvolume(10, 1));
    note(&mut roots, 1, &number(2), &subvolume(10, 2));
    assert_eq!(
        roots.by_form(1, &number(1), Some(0)).export,
        Some(Fsid::Num(1))
    );
    assert_eq!(
        roots.by_form(1, &number(2), None).export,
        Some(Fsid::Num(2))
    );
}

#[test]
fn a_form_may_lead_elsewhere_later() {
    let mut roots = Roots::default();
    note(&mut roots, 1, &number(7), &export(2, 0, Fsid::Num(7)));
    note(&mut roots, 1, &number(7), &export(3, 0, Fsid::Num(7)));
    note(&mut roots, 1, &uuid(2), &export(2, 0, Fsid::Num(8)));
    assert_eq!(
        roots.by_form(1, &number(7), None).export,
        Some(Fsid::Num(7))
    );
    assert_eq!(roots.by_form(1, &uuid(2), None).export, Some(Fsid::Num(8)));
}

#[test]
fn the_device_of_what_was_exported_last() {
    let mut roots = Roots::default();
    assert_eq!(roots.device_of(1, &Fsid::Num(7)), None);
    note(&mut roots, 1, &number(7), &export(5, 1, Fsid::Num(7)));
    note(&mut roots, 1, &number(8), &export(6, 1, Fsid::Num(8)));
    let mut other = export(9, u64::MAX, Fsid::Num(7));
    other.root.device = Fsid::Dev { major: 8, minor: 1 };
    note(&mut roots, 2, &number(7), &other);
    assert_eq!(roots.device_of(1, &Fsid::Num(7)), Some(DISK));
    assert_eq!(roots.device_of(1, &Fsid::Uuid(UUID)), None);
    assert_eq!(roots.device_of(3, &Fsid::Num(7)), None);
    note(&mut roots, 1, &number(7), &other);
    assert_eq!(roots.device_of(1, &Fsid::Num(7)), Some(other.root.device));
    assert!(roots.forget(1, 100));
    assert_eq!(roots.device_of(1, &Fsid::Num(7)), None);
    assert_eq!(roots.device_of(2, &Fsid::Num(7)), Some(other.root.device));
}

#[test]
fn without_room_nothing_is_noted() {
    let mut roots = Roots::default();
    let seven = export(2, 0, Fsid::Num(7));
    assert_eq!(
        roots.note(1, Some(&uuid(2)), &seven, &mut None),
        Err(ENOMEM)
    );
    assert_eq!(roots.by_form(1, &uuid(2), None).export, None);
    note(&mut roots, 1, &uuid(2), &seven);
    // What is there needs none.
    let eight = export(2, 0, Fsid::Num(8));
    assert_eq!(roots.note(1, Some(&uuid(2)), &eight, &mut None), Ok(true));
    assert_eq!(roots.note(1, Some(&uuid(2)), &eight, &mut None), Ok(false));
    assert_eq!(roots.by_form(1, &uuid(2), None).export, Some(Fsid::Num(8)));
}

#[test]
fn a_namespace_is_forgotten_bit_by_bit() {
    let mut roots = Roots::default();
    for inode in 0..10 {
        for net in 1..=3 {
            note(
                &mut roots,
                net,
                &uuid(inode),
                &export(inode, inode, Fsid::Num(7)),
            );
        }
    }
    let mut rounds = 0;
    while !roots.forget(2, 4) {
        rounds += 1;
    }
    assert_eq!(rounds, 2);
    for inode in 0..10 {
        let known = |net| roots.by_form(net, &uuid(inode), None).export.is_some();
        assert_eq!([known(1), known(2), known(3)], [true, false, true]);
        let root = export(inode, inode, Fsid::Num(7)).root;
        assert_eq!(roots.by_root(2, &root, inode), None);
    }
    assert!(roots.forget(9, 1));
}

#[test]
fn an_export_without_a_number_is_a_part_of_the_one_above() {
    let mut roots = Roots::default();
    let uuid_of = |n: u8| Fsid::Uuid([n; 16]);
    let below = |inode, domain, fsid, above: &Export| Export {
        below: Some(above.root),
        how: How {
            crossmnt: true,
            ..How::default()
        },
        ..export(inode, domain, fsid)
    };
    let crossmnt = How {
        crossmnt: true,
        ..How::default()
    };
    let top = Export {
        how: crossmnt,
        ..export(1, 0, Fsid::Num(31))
    };
    let part = below(2, 0, uuid_of(2), &top);
    let deep = below(3, 0, uuid_of(3), &part);
    let own = below(4, 0, Fsid::Num(32), &part);
    let of_own = below(5, 0, uuid_of(5), &own);
    let other = export(6, 0, Fsid::Num(41));
    for (inode, one) in [&top, &part, &deep, &own, &of_own, &other]
        .into_iter()
        .enumerate()
    {
        note(&mut roots, 1, &uuid(inode as u64), one);
    }
    let above = |roots: &Roots, one: &Export| roots.by_root(1, &one.root, 0).unwrap().above;
    assert_eq!(above(&roots, &top), None);
    assert_eq!(above(&roots, &part), Some(Fsid::Num(31)));
    assert_eq!(above(&roots, &deep), Some(Fsid::Num(31)));
    assert_eq!(above(&roots, &own), None, "it is a scope of its own");
    assert_eq!(above(&roots, &of_own), Some(Fsid::Num(32)));
    assert_eq!(roots.by_form(1, &uuid(2), None).above, Some(Fsid::Num(31)));
    let beside = |roots: &Roots, scope| {
        let mut all = vec![];
        while let Some(next) = roots.beside(1, &Scope::Export(scope), all.last().copied()) {
            all.push(next);
        }
        all.iter().map(|one: &Beside| one.fsid).collect::<Vec<_>>()
    };
    // What is a part of the other one is beside, too.
    assert_eq!(beside(&roots, Fsid::Num(31)), [Fsid::Num(32), uuid_of(5)]);
    assert_eq!(beside(&roots, Fsid::Num(32)), []);
    assert_eq!(beside(&roots, Fsid::Num(41)), []);
    assert_eq!(beside(&roots, DISK), [], "all of it is on one");
    // The one above gets another number, or none.
    let renamed = |fsid, how| Export {
        how,
        ..export(1, 0, fsid)
    };
    note(&mut roots, 1, &number(7), &renamed(Fsid::Num(7), crossmnt));
    assert_eq!(above(&roots, &deep), Some(Fsid::Num(7)));
    note(&mut roots, 1, &number(7), &renamed(uuid_of(1), crossmnt));
    assert_eq!(above(&roots, &deep), Some(uuid_of(1)));
    // It does not show what is below any more; or only leads to other exports.
    note(
        &mut roots,
        1,
        &number(7),
        &renamed(uuid_of(1), How::default()),
    );
    assert_eq!(above(&roots, &part), None);
    assert_eq!(above(&roots, &deep), Some(uuid_of(2)));
    let pseudo = How {
        pseudo: true,
        ..crossmnt
    };
    note(&mut roots, 1, &number(7), &renamed(uuid_of(1), pseudo));
    assert_eq!(above(&roots, &part), None);
    // Only what is exported with nohide is shown.
    note(
        &mut roots,
        1,
        &number(7),
        &renamed(uuid_of(1), How::default()),
    );
    let nohide = How {
        nohide: true,
        ..How::default()
    };
    note(
        &mut roots,
        1,
        &uuid(2),
        &Export {
            how: nohide,
            ..part
        },
    );
    assert_eq!(above(&roots, &part), Some(uuid_of(1)));
    // In a circle, which cannot be, it ends.
    note(&mut roots, 1, &number(7), &below(1, 0, uuid_of(1), &deep));
    note(&mut roots, 1, &uuid(2), &part);
    assert!(above(&roots, &deep).is_some());
}
