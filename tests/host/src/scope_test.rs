// SPDX-License-Identifier: GPL-2.0

use crate::scopes::scope::*;
use crate::scopes::wish::{self, Wish};
use kernel::code::EINVAL;
use proptest::prelude::*;
use std::net::IpAddr;

const UUID: &str = "0d7bb6e8-0c1e-4e6a-9d61-3f9a1f6c1b1d";

fn export(text: &str) -> Fsid {
    match Scope::parse(text) {
        Ok(Scope::Export(fsid)) => fsid,
        other => panic!("{text}: {other:?}"),
    }
}

/// A handle as nfsd makes it (`mk_fsid()`), with a fileid behind it.
fn handle(kind: u8, fsid: &[u8]) -> Vec<u8> {
    let mut handle = vec![1, 0, kind, 0x81];
    handle.extend(fsid);
    handle.extend([7; 12]);
    handle
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|w| w.to_ne_bytes()).collect()
}

#[test]
fn scopes_are_read_and_shown() {
    for (text, shown) in [
        ("0", "0"),
        ("1234", "1234"),
        ("4294967295", "4294967295"),
        ("0x4d2", "1234"),
        ("0xFFFFFFFF", "4294967295"),
        (UUID, UUID),
        ("0D7BB6E80C1E4E6A9D613F9A1F6C1B1D", UUID),
        ("dev:8:1", "dev:8:1"),
        ("dev:4095:1048575", "dev:4095:1048575"),
        ("ip:192.0.2.1", "ip:192.0.2.1"),
        ("ip:2001:db8::1", "ip:2001:db8::1"),
        ("ip:::ffff:192.0.2.1", "ip:192.0.2.1"),
    ] {
        assert_eq!(Scope::parse(text).unwrap().to_string(), shown);
    }
}

#[test]
fn nonsense_is_refused() {
    for text in [
        "",
        " ",
        "-1",
        "+1",
        "01",
        "0x",
        "0x100000000",
        "0x+1",
        "4294967296",
        "1.5",
        "12a",
        "x",
        "dev:",
        "dev:8",
        "dev:8:",
        "dev::1",
        "dev:-8:1",
        "dev:8:1:2",
        "dev:4096:0",
        "dev:0:1048576",
        "ip:",
        "ip:1.2.3",
        "ip:1.2.3.4.5",
        "ip:256.1.1.1",
        "ip:fe80::1%eth0",
        "ip:host",
        "IP:1.2.3.4",
        "0d7bb6e8-0c1e-4e6a-9d61-3f9a1f6c1b1",
        "0d7bb6e8-0c1e-4e6a-9d61-3f9a1f6c1b1dd",
        "0d7bb6e80-c1e-4e6a-9d61-3f9a1f6c1b1d",
        "gd7bb6e8-0c1e-4e6a-9d61-3f9a1f6c1b1d",
        "0d7bb6e8_0c1e_4e6a_9d61_3f9a1f6c1b1d",
        "0d7bb6e80c1e4e6a9d613f9a1f6c1b1-",
        "1 2",
        "1234 ",
    ] {
        assert_eq!(Scope::parse(text), Err(EINVAL), "{text:?}");
    }
}

#[test]
fn one_command_a_write() {
    assert_eq!(command(b"1234\n"), Ok("1234"));
    assert_eq!(command(b"1234 60"), Ok("1234 60"));
    let bad: [&[u8]; 9] = [
        b"",
        b"\n",
        b"1234\n\n",
        b"1234\n5678",
        b"12\0",
        b"1234\r\n",
        b"\t1",
        b"12\xff",
        b"\n1",
    ];
    for data in bad {
        assert_eq!(command(data), Err(EINVAL), "{data:?}");
    }
}

#[test]
fn grace_commands() {
    let scope = Scope::parse("1234").unwrap();
    for (words, seconds, local) in [
        ("", None, false),
        (" 0", Some(0), false),
        (" 3600", Some(3600), false),
        (" local", None, true),
        (" 1 local", Some(1), true),
        (" 3600 local", Some(3600), true),
    ] {
        let wish = Wish::Grace { seconds, local };
        assert_eq!(wish::parse(&format!("1234{words}")), Ok((scope, wish)));
    }
    assert_eq!(wish::parse("1234 listed"), Ok((scope, Wish::Listed)));
    for line in [
        "1234 3601",
        "1234 -1",
        "1234 +1",
        "1234 ",
        "1234  1",
        " 1234",
        "1234 1 1",
        "1234 x",
        "1234 99999999999",
        "1234 0 local",
        "1234 00 local",
        "1234 3601 local",
        "1234  local",
        "1234 local ",
        "1234 local local",
        "1234 local 60",
        "1234 60 local 60",
        "1234 60 local local",
        "1234 listed local",
        "1234 60 listed",
        "1234 LOCAL",
        "ip:192.0.2.1 local",
        "ip:192.0.2.1 60 local",
        "local",
        "",
    ] {
        assert_eq!(wish::parse(line), Err(EINVAL), "{line:?}");
    }
}

#[test]
fn fsids_of_handles() {
    let of = |kind, fsid: &[u8]| Fsid::of_handle(&handle(kind, fsid));
    assert_eq!(of(1, &words(&[1234])), Some(Fsid::Num(1234)));
    let dev = Some(Fsid::Dev { major: 8, minor: 1 });
    assert_eq!(of(0, &[0, 8, 0, 1, 9, 9, 9, 9]), dev);
    assert_eq!(of(2, &[0, 0, 0, 8, 0, 0, 0, 1, 9, 9, 9, 9]), dev);
    // new_encode_dev(MKDEV(259, 0x12345))
    let encoded = 0x45 | 259 << 8 | 0x12300 << 12;
    let big = Some(Fsid::Dev {
        major: 259,
        minor: 0x12345,
    });
    assert_eq!(of(3, &words(&[encoded, 9])), big);
    let Fsid::Uuid(uuid) = export(UUID) else {
        panic!();
    };
    assert_eq!(of(6, &uuid), Some(export(UUID)));
    let mut with_inode = vec![9; 8];
    with_inode.extend(uuid);
    assert_eq!(of(7, &with_inode), Some(export(UUID)));
    assert_eq!(of(8, &uuid), None);
    assert_eq!(Fsid::of_handle(&[]), None);
    assert_eq!(Fsid::of_handle(&[1, 0, 1, 0, 1, 2, 3]), None);
    // The handles of old that had no version.
    assert_eq!(Fsid::of_handle(&[0xca, 0, 1, 0, 1, 2, 3, 4]), None);
}

#[test]
fn a_uuid_has_the_forms_of_its_handles() {
    let Fsid::Uuid(uuid) = export(UUID) else {
        panic!();
    };
    // As mk_fsid() folds it, word by word.
    let w: Vec<u32> = uuid
        .chunks(4)
        .map(|c| u32::from_ne_bytes(c.try_into().unwrap()))
        .collect();
    let half = handle(5, &words(&[w[0] ^ w[2], w[1] ^ w[3]]));
    let quarter = handle(4, &words(&[99, w[0] ^ w[1] ^ w[2] ^ w[3]]));
    let scope = Scope::parse(UUID).unwrap();
    let other = Scope::parse("1d7bb6e8-0c1e-4e6a-9d61-3f9a1f6c1b1d").unwrap();
    for handle in [half, quarter, handle(6, &uuid)] {
        let fsid = Fsid::of_handle(&handle).unwrap();
        assert!(scope.has(&fsid), "{fsid}");
        assert!(!other.has(&fsid), "{fsid}");
        assert!(scope.keys().any(|key| key == fsid.key()));
    }
}

#[test]
fn an_fsid_is_read_as_it_is_shown() {
    for text in [
        "0",
        "4294967295",
        UUID,
        "uuid8:0123456789abcdef",
        "uuid4:01234567",
        "dev:8:1",
    ] {
        assert_eq!(Fsid::parse(text).unwrap().to_string(), text);
    }
    assert_eq!(
        Fsid::parse("uuid4:0102ABff"),
        Some(Fsid::Uuid4([1, 2, 0xab, 0xff]))
    );
    for text in [
        "",
        "x",
        "01",
        "ip:192.0.2.1",
        "uuid8:",
        "uuid8:0123456789abcde",
        "uuid8:0123456789abcdef0",
        "uuid8:0123456789abcdeg",
        "uuid8:+123456789abcdef",
        "uuid8:0x23456789abcdef",
        "uuid8:0123456789abcd\u{e9}",
        "uuid8:01234567",
        "uuid4:0123456",
        "uuid4:0123456789abcdef",
        "uuid4:+1+2+3+4",
        "uuid4: 1 2 3 4",
        "uuid16:0123",
        "UUID4:01234567",
        " uuid4:01234567",
    ] {
        assert_eq!(Fsid::parse(text), None, "{text:?}");
    }
}

/// Each one that something exported can have.
fn any_fsid() -> impl Strategy<Value = Fsid> {
    prop_oneof![
        any::<u32>().prop_map(Fsid::Num),
        any::<[u8; 16]>().prop_map(Fsid::Uuid),
        any::<[u8; 8]>().prop_map(Fsid::Uuid8),
        any::<[u8; 4]>().prop_map(Fsid::Uuid4),
        any::<u32>().prop_map(Fsid::of_device),
    ]
}

proptest! {
    #[test]
    fn each_fsid_is_read_as_it_is_shown(fsid in any_fsid()) {
        prop_assert_eq!(Fsid::parse(&format!("{fsid}")), Some(fsid));
    }

    #[test]
    fn any_text_is_no_fsid_or_one_that_is_shown_so(text in "(uuid[48]:)?\\PC{0,40}") {
        if let Some(fsid) = Fsid::parse(&text) {
            prop_assert_eq!(Fsid::parse(&fsid.to_string()), Some(fsid));
        }
    }

    #[test]
    fn any_text_is_refused_or_shown_as_what_it_means(text in "\\PC{0,40}") {
        if let Ok(scope) = Scope::parse(&text) {
            prop_assert_eq!(Scope::parse(&scope.to_string()), Ok(scope));
        }
    }

    #[test]
    fn any_handle_is_read(handle in proptest::collection::vec(any::<u8>(), 0..130)) {
        if let Some(fsid) = Fsid::of_handle(&handle) {
            prop_assert!(handle.len() >= 8 && handle[0] == 1 && handle[2] <= 7);
            prop_assert!(!fsid.to_string().is_empty());
        }
    }

    #[test]
    fn numbers_addresses_and_devices(n: u32, a: IpAddr, major in 0..4096u32, minor in 0..1048576u32) {
        prop_assert_eq!(export(&n.to_string()), Fsid::Num(n));
        prop_assert_eq!(export(&format!("{n:#x}")), Fsid::Num(n));
        prop_assert_eq!(Scope::parse(&format!("ip:{a}")), Ok(Scope::Server(a.to_canonical())));
        prop_assert_eq!(export(&format!("dev:{major}:{minor}")), Fsid::Dev { major, minor });
    }

    #[test]
    fn keys_differ(a: u32, b: u32, uuid: [u8; 16]) {
        let fsids = [Fsid::Num(a), Fsid::Num(b), Fsid::Uuid(uuid), Fsid::Dev { major: a & 0xfff, minor: b & 0xfffff }];
        for x in &fsids {
            for y in &fsids {
                prop_assert_eq!(x == y, x.key() == y.key());
            }
        }
    }
}
