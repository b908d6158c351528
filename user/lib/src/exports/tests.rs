// SPDX-License-Identifier: GPL-2.0
use super::*;
use proptest::prelude::*;
use std::os::unix::fs::symlink;

const OPTIONS: &str = "rw,sync,wdelay,hide,nocrossmnt,secure,no_root_squash,no_all_squash,no_subtree_check,\
    secure_locks,acl,no_pnfs,fsid=1234,anonuid=65534,anongid=65534,sec=sys,rw,secure,no_root_squash,no_all_squash";

fn written(text: &[u8]) -> Vec<Export> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, text).unwrap();
    read(file.path()).unwrap()
}

#[test]
fn a_table_is_read() {
    let text = format!(
        "/srv/ha\t*({OPTIONS})\n/srv/with\\040space\tfd77::/64(ro,fsid=0x10)\nnonsense\n\
         relative\t*(ro)\n/srv/x\t-u(ro)\n/srv/x\t192.0.2.0/24(ro)\n/srv/x\t@group()\n"
    );
    let exports = written(text.as_bytes());
    let specs: Vec<_> = exports
        .iter()
        .map(|export| export.spec().into_string().unwrap())
        .collect();
    assert_eq!(
        specs,
        [
            "*:/srv/ha",
            "[fd77::]/64:/srv/with space",
            "192.0.2.0/24:/srv/x",
            "@group:/srv/x"
        ]
    );
    assert_eq!(exports[0].fsid(), Some(Fsid::Number(1234)));
    assert_eq!(exports[0].options, OPTIONS);
    assert_eq!(exports[1].fsid(), Some(Fsid::Number(16)));
    assert_eq!(exports[2].fsid(), None);
}

#[test]
fn an_fsid_is_written_in_several_ways() {
    let uuid = "0d7bb6e8-0c1e-4e6a-9d61-3f9a1f6c1b1d";
    let colons = "0d7bb6e8:0c1e4e6a:9d613f9a:1f6c1b1d";
    for (value, fsid) in [
        ("0", "0"),
        ("root", "0"),
        ("-1", "4294967295"),
        ("4294967295", "4294967295"),
        ("010", "8"),
        (uuid, uuid),
        (colons, uuid),
        (&uuid.replace('-', ""), uuid),
    ] {
        let export: Export = format!("*:/x(ro,fsid=7,fsid={value},sec=sys)")
            .parse()
            .unwrap();
        assert_eq!(
            export.fsid().map(|fsid| fsid.to_string()).as_deref(),
            Some(fsid),
            "{value}"
        );
    }
}

#[test]
fn what_is_no_table_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    assert!(read(&directory.path().join("none")).unwrap().is_empty());
    assert!(matches!(read(directory.path()), Err(Error::NoTable(_))));
    let link = directory.path().join("link");
    symlink("/etc/passwd", &link).unwrap();
    assert!(matches!(read(&link), Err(Error::File { .. })));
    let large = directory.path().join("large");
    std::fs::File::create(&large)
        .unwrap()
        .set_len(ETAB_MAX + 1)
        .unwrap();
    assert!(matches!(read(&large), Err(Error::NoTable(_))));
}

#[test]
fn people_write_exports_as_for_exportfs() {
    for (text, client, path, options) in [
        ("*:/srv/ha", "*", "/srv/ha", ""),
        (":/srv/ha", "*", "/srv/ha", ""),
        (
            "192.0.2.0/24:/a:b(rw,fsid=1)",
            "192.0.2.0/24",
            "/a:b",
            "rw,fsid=1",
        ),
        ("[2001:db8::]/32:/a(rw)", "2001:db8::/32", "/a", "rw"),
        ("[2001:db8::1]:/a", "2001:db8::1", "/a", ""),
        ("host.example:/(x)/y(ro)", "host.example", "/(x)/y", "ro"),
    ] {
        let export: Export = text.parse().unwrap();
        assert_eq!(
            (&*export.client, &*export.path, &*export.options),
            (client, Path::new(path), options)
        );
        if !text.starts_with(':') {
            assert_eq!(export.to_string(), text);
        }
    }
    for text in [
        "",
        "*",
        "/srv/ha",
        "*:srv",
        "-u:/srv",
        "a b:/srv",
        "*:/srv(ro\n)",
        "[::1:/x",
        "[::1]x",
    ] {
        assert!(text.parse::<Export>().is_err(), "{text:?}");
    }
}

#[test]
fn exports_of_a_file_system_are_those_on_its_mounts() {
    let exports =
        written(b"/srv/ha\t*(ro)\n/srv/ha/a\th(ro)\n/srv/bound\t*(ro)\n/srv/harbour\t*(ro)\n");
    let mounts = Mounts::parse(
        b"1 0 8:1 / / rw - ext4 /dev/sda rw\n2 1 8:16 / /srv/ha rw - ext4 /dev/sdb rw\n\
          3 1 8:16 /x /srv/bound rw - ext4 /dev/sdb rw\n",
    );
    let mounts = mounts.unwrap();
    let paths = |device| -> Vec<_> {
        on(&exports, &mounts, device)
            .map(|export| export.path.to_str().unwrap())
            .collect()
    };
    assert_eq!(paths((8, 16)), ["/srv/ha", "/srv/ha/a", "/srv/bound"]);
    assert_eq!(paths((8, 1)), ["/srv/harbour"]);
}

proptest! {
    #[test]
    fn any_bytes_are_taken_or_left_out(text in proptest::collection::vec(any::<u8>(), 0..200)) {
        laws::etab(&text);
        laws::caches(&text);
        laws::word_of_list(&String::from_utf8_lossy(&text));
        laws::spec(&String::from_utf8_lossy(&text));
    }

    #[test]
    fn what_looks_like_an_export_too(
        client in "[-*a:/0-9\\[\\]@]{0,6}", path in "(/[a-z: (]{0,3}){0,2}", options in "([a-z=,()]|fsid=){0,4}",
    ) {
        laws::etab(format!("{path}\t{client}({options})\n").as_bytes());
        laws::spec(&format!("{client}:{path}({options})"));
        laws::spec(&format!("[{client}]{client}:{path}"));
    }

    #[test]
    fn what_is_written_is_read_back(
        client in "[*]|[a-z0-9.@]{1,9}(/[0-9]{1,2})?|[0-9a-f]{1,4}::(%[a-z0-9.]{1,5})?(/[0-9]{1,3})?",
        path in proptest::collection::vec(any::<u8>(), 0..30),
        options in "[a-z_=,0-9]{0,30}",
    ) {
        let path = PathBuf::from(OsString::from_vec([b"/".to_vec(), path].concat()));
        let export = Export { client, path, options };
        prop_assert_eq!(from_word(&word(&export)), Ok(export.clone()));
        let mut line = Vec::new();
        for byte in export.path.as_os_str().as_bytes() {
            match byte {
                b'"' | b'\\' | b'#' | 0..=32 | 127 => line.extend(format!("\\{byte:03o}").bytes()),
                _ => line.push(*byte),
            }
        }
        line.extend(format!("\t{}({})", export.client, export.options).bytes());
        prop_assert_eq!(Export::parse(&line), Some(export));
    }
}
