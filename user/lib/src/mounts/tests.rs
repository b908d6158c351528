// SPDX-License-Identifier: GPL-2.0
use super::*;
use proptest::prelude::*;

const TEXT: &[u8] = b"22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n\
    30 22 8:16 / /srv/ha rw,noatime shared:7 master:3 - ext4 /dev/sdb rw,errors=continue\n\
    31 30 0:45 / /srv/ha/logs rw - tmpfs tmpfs rw,size=1024k\n\
    32 22 8:16 /export /srv/bound\\040here rw - ext4 /dev/sdb rw,errors=continue\n\
    33 22 0:46 / /srv/harbour ro - tmpfs none rw\n\
    34 30 8:32 / /srv/ha ro - xfs /dev/sdc ro,attr2\n\
    35 22 0:47 / /srv/odd\\134\\011 rw - nfs4 [fd77::1]:/x rw,vers=4.2\n";

fn mounts() -> Mounts {
    Mounts::parse(TEXT).unwrap()
}

#[test]
fn what_is_seen_on_a_path_was_mounted_last() {
    let mounts = mounts();
    assert_eq!(mounts.on(Path::new("/srv/ha")).unwrap().device, (8, 32));
    assert_eq!(
        mounts.on(Path::new("/srv/bound here")).unwrap().root,
        Path::new("/export")
    );
    assert_eq!(
        mounts.on(Path::new("/srv/odd\\\t")).unwrap().source,
        "[fd77::1]:/x"
    );
    assert_eq!(mounts.on(Path::new("/srv")), None);
}

#[test]
fn a_path_is_on_the_nearest_mount() {
    let mounts = mounts();
    for (path, point) in [
        ("/srv/ha/logs/x/y", "/srv/ha/logs"),
        ("/srv/ha/x", "/srv/ha"),
        ("/srv/har", "/"),
        ("/srv/harbour", "/srv/harbour"),
    ] {
        assert_eq!(
            mounts.of(Path::new(path)).unwrap().point,
            Path::new(point),
            "{path}"
        );
    }
}

#[test]
fn what_is_below_and_beside_is_found() {
    let mounts = mounts();
    let first = mounts.from((8, 16)).unwrap();
    assert_eq!(first.point, Path::new("/srv/ha"));
    let below: Vec<_> = mounts
        .below(first)
        .map(|mount| mount.point.to_str().unwrap())
        .collect();
    assert_eq!(below, ["/srv/ha/logs"]);
    let also: Vec<_> = mounts.also(first).map(|mount| mount.id).collect();
    assert_eq!(also, [32]);
}

#[test]
fn fstab_has_a_line_for_a_path() {
    let text = b"# /dev/sdb /srv/ha ext4\n\n  LABEL=ha\t/srv/ha ext4 noauto 0 0\n/dev/sdc /srv/h\\040b xfs\nx\n";
    for (path, there) in [
        ("/srv/ha", true),
        ("/srv/h b", true),
        ("/srv", false),
        ("/srv/ha/", true),
    ] {
        assert_eq!(has_line_for(text, Path::new(path)), there, "{path}");
    }
    assert!(!has_line_for(b"#x /srv/ha\n", Path::new("/srv/ha")));
}

#[test]
fn options_are_those_of_both() {
    let mounts = mounts();
    let options = |path| mounts.on(Path::new(path)).unwrap().all_options();
    assert_eq!(
        mounts.from((8, 16)).unwrap().all_options(),
        "rw,noatime,errors=continue"
    );
    assert_eq!(options("/srv/harbour"), "ro");
    assert_eq!(options("/srv/ha"), "ro,attr2");
}

#[test]
fn a_line_that_is_none_is_refused() {
    for line in [
        "22",
        "22 1 254:0 / / rw - ext4",
        "x 1 1:1 / / rw - a b c",
        "1 1 1 / / rw - a b c",
        "1 1 1:1 / / rw a b c",
    ] {
        assert!(Mounts::parse(line.as_bytes()).is_err(), "{line}");
    }
}

#[test]
fn what_a_program_says_is_in_the_error() {
    let said = mount(Path::new("/nowhere/at all"), None)
        .unwrap_err()
        .to_string();
    assert!(
        said.starts_with("mount failed: ") || said.starts_with("cannot run mount"),
        "{said}"
    );
    assert!(matches!(
        run(&mut Command::new("no-such-program")),
        Err(Error::NoCommand { .. })
    ));
    let said = run(Command::new("sh").args(["-c", "echo no; echo a >&2; echo b >&2; exit 3"]));
    assert_eq!(said.unwrap_err().to_string(), "sh failed: a; b");
}

proptest! {
    #[test]
    fn any_bytes_are_taken_or_refused(text in proptest::collection::vec(any::<u8>(), 0..200)) {
        laws::mountinfo(&text);
        laws::fstab(&text);
    }

    #[test]
    fn what_looks_like_mounts_too(lines in "([0-9] [0-9] [0-3]:[0-9] /[a-z]? /[a-z]?/?[a-z]? r[ow](,a)? (x )?- a b [a-z,]{0,3}\n){1,4}") {
        laws::mountinfo(lines.as_bytes());
    }

    #[test]
    fn what_looks_like_fstab_too(lines in "((# ?)?[/a-z]{0,4}[ \t]{0,2}(/srv/h.040a|/x)?[ \t]?\n){0,4}") {
        laws::fstab(lines.as_bytes());
    }

    #[test]
    fn a_path_is_read_back(path in proptest::collection::vec(any::<u8>(), 1..50)) {
        // As mangle_path() writes it.
        let mut line = b"1 2 3:4 / ".to_vec();
        for byte in &path {
            match byte {
                b' ' | b'\t' | b'\n' | b'\\' | b'#' => line.extend(format!("\\{byte:03o}").bytes()),
                _ => line.push(*byte),
            }
        }
        line.extend(b" rw - a b c");
        let mount = Mount::parse(&line).unwrap();
        prop_assert_eq!(mount.point.as_os_str().as_bytes(), &path[..]);
    }
}
