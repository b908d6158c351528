// SPDX-License-Identifier: GPL-2.0

use super::*;
use rustix::fs::{Gid, Uid};
use std::os::unix::fs::{symlink, PermissionsExt};

/// A directory for a test. Root runs these tests, so that there is somebody with less rights.
fn place() -> tempfile::TempDir {
    assert!(
        rustix::process::geteuid().is_root(),
        "these tests want to be root"
    );
    tempfile::tempdir().unwrap()
}

const STRANGER: u32 = 65534;

fn give_away(path: &Path) {
    let (uid, gid) = (Uid::from_raw(STRANGER), Gid::from_raw(STRANGER));
    fs::chownat(
        fs::CWD,
        path,
        Some(uid),
        Some(gid),
        AtFlags::SYMLINK_NOFOLLOW,
    )
    .unwrap();
}

fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

#[test]
fn a_directory_is_made_for_root_only() {
    let place = place();
    let made = Directory::make(place.path().join("a/b")).unwrap();
    let mode = made.path().metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    assert!(Directory::open(place.path().join("a/b")).is_ok());
    assert!(matches!(
        Directory::open(place.path().join("a/c")),
        Err(Error::Missing { .. })
    ));
    assert!(matches!(made.child("x"), Err(Error::Missing { .. })));
}

#[test]
fn a_part_of_the_way_that_is_a_strangers_is_refused() {
    for part in ["a", "a/b", "a/b/c"] {
        let place = place();
        let path = place.path().join("a/b/c");
        Directory::make(&path).unwrap();
        give_away(&place.path().join(part));
        let refused = Directory::open(&path);
        assert!(
            matches!(refused, Err(Error::Foreign { uid: STRANGER, .. })),
            "{part}: {refused:?}"
        );
    }
}

#[test]
fn a_part_that_others_may_write_to_is_refused() {
    let place = place();
    let path = place.path().join("a/b");
    Directory::make(&path).unwrap();
    for (part, bits, fine) in [
        ("a", 0o755, true),
        ("a", 0o775, false),
        ("a", 0o757, false),
        ("a", 0o1777, true),    // as /tmp: what is root's there cannot be moved
        ("a/b", 0o1777, false), // but things can be added
        ("a/b", 0o755, true),
    ] {
        mode(&place.path().join(part), bits);
        assert_eq!(Directory::open(&path).is_ok(), fine, "{part} {bits:o}");
    }
}

#[test]
fn links_of_root_are_followed_and_what_they_lead_to_is_looked_at() {
    let place = place();
    let base = Directory::make(place.path().join("base")).unwrap();
    Directory::make(place.path().join("disk/nsm")).unwrap();
    let link = place.path().join("base/1234");
    symlink("../disk/nsm", &link).unwrap();
    let there = base.child("1234").unwrap();
    assert_eq!(there.path(), place.path().join("disk/nsm"));
    assert!(base.make_child("1234").is_ok());
    // What is behind a link may be made; what it leads to not.
    assert!(Directory::make(link.join("more")).is_ok());

    give_away(&place.path().join("disk"));
    assert!(matches!(base.child("1234"), Err(Error::Foreign { .. })));
    std::fs::rename(place.path().join("disk"), place.path().join("away")).unwrap();
    assert!(matches!(
        base.child("1234"),
        Err(Error::LeadsNowhere { .. })
    ));
    assert!(matches!(
        base.make_child("1234"),
        Err(Error::LeadsNowhere { .. })
    ));
    assert!(!place.path().join("disk").exists());

    give_away(&link);
    assert!(
        matches!(base.child("1234"), Err(Error::Foreign { .. })),
        "a stranger's link"
    );
    std::fs::remove_file(&link).unwrap();
    symlink("1234", &link).unwrap();
    assert!(
        matches!(base.child("1234"), Err(Error::Links { .. })),
        "a link to itself"
    );
    std::fs::remove_file(&link).unwrap();
    std::fs::write(&link, "").unwrap();
    assert!(
        matches!(base.child("1234"), Err(Error::Odd { .. })),
        "a file"
    );
}

#[test]
fn a_file_is_what_it_seems_to_be() {
    let place = place();
    let directory = Directory::open(place.path()).unwrap();
    let path = |name: &str| place.path().join(name);
    std::fs::write(path("good"), "text").unwrap();
    mode(&path("good"), 0o644);
    assert_eq!(
        directory.read("good", 4).unwrap().as_deref(),
        Some(&b"text"[..])
    );
    assert!(
        matches!(directory.read("good", 3), Err(Error::Odd { .. })),
        "too long"
    );
    assert_eq!(directory.read("none", 3).unwrap(), None);

    symlink("good", path("link")).unwrap();
    fs::mkfifoat(fs::CWD, path("pipe"), Mode::RUSR | Mode::WUSR).unwrap();
    std::fs::create_dir(path("directory")).unwrap();
    std::fs::hard_link(path("good"), path("twice")).unwrap();
    for name in ["link", "pipe", "directory", "twice", "good"] {
        let refused = directory.read(name, 100);
        assert!(
            matches!(refused, Err(Error::Odd { .. })),
            "{name}: {refused:?}"
        );
    }
    std::fs::remove_file(path("twice")).unwrap();
    give_away(&path("good"));
    assert!(matches!(
        directory.read("good", 100),
        Err(Error::Foreign { .. })
    ));
    for name in ["", ".", "..", "a/b", "../good"] {
        assert!(directory.read(name, 100).is_err(), "{name:?}");
    }
}

#[test]
fn a_new_file_never_goes_through_a_link() {
    let place = place();
    let directory = Directory::open(place.path()).unwrap();
    std::fs::write(place.path().join("victim"), "safe").unwrap();
    symlink("victim", place.path().join("new")).unwrap();
    symlink("victim", place.path().join(".new.new")).unwrap();
    assert!(directory.create("new", b"evil").is_err());
    assert!(directory.lock("new").is_err());
    directory.replace("new", b"good").unwrap();
    assert_eq!(std::fs::read(place.path().join("victim")).unwrap(), b"safe");
    assert_eq!(
        directory.read("new", 100).unwrap().as_deref(),
        Some(&b"good"[..])
    );
    let mut names = directory.names(10).unwrap();
    names.sort();
    assert_eq!(names, ["new", "victim"]);
    assert!(matches!(directory.names(1), Err(Error::TooMany { .. })));
}

#[test]
fn a_version_changes_with_the_names() {
    let place = place();
    let directory = Directory::open(place.path()).unwrap();
    let mut before = directory.version().unwrap();
    assert_eq!(directory.version().unwrap(), before);
    directory.create("a", b"").unwrap();
    for change in [&|| directory.replace("a", b"x") as _, &|| {
        directory.remove("a") as _
    }] as [&dyn Fn() -> Result<(), Error>; 2]
    {
        // On old kernels a directory's time has the steps of the timer.
        std::thread::sleep(std::time::Duration::from_millis(20));
        change().unwrap();
        let now = directory.version().unwrap();
        assert_ne!(now, before);
        before = now;
    }
}

#[test]
fn a_lock_is_one_users_at_a_time() {
    let place = place();
    let directory = Directory::open(place.path()).unwrap();
    let first = directory.try_lock("lock").unwrap();
    assert!(first.is_some());
    assert!(directory.try_lock("lock").unwrap().is_none());
    drop(first);
    assert!(directory.try_lock("lock").unwrap().is_some());
}
