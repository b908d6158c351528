// SPDX-License-Identifier: GPL-2.0
//! Does nfsd-had run? It holds a lock beside its records, and to look at the locks of this machine is in nobody's way.

use crate::mounts::Mounts;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Does an nfsd-had use these records? If nobody may know, the answer is no.
pub fn is_in_use(file: &Path) -> bool {
    let mut lock = file.as_os_str().to_owned();
    lock.push("-lock");
    let (Ok(file), Ok(locks)) = (fs::metadata(&lock), fs::read_to_string("/proc/locks")) else {
        return false;
    };
    has_lock(&locks, device(Path::new(&lock)), file.ino())
}

/// The device of the file system that a file is on, as proc_locks(5) and mountinfo name it: for some, as btrfs, that is
/// not as stat(2) does.
fn device(file: &Path) -> Option<(u32, u32)> {
    let real = file.canonicalize().ok()?;
    Some(Mounts::read().ok()?.of(&real)?.device)
}

/// Has the file with this inode a lock of flock(2) by these lines of proc_locks(5)? If its device is not known, it may
/// be any.
fn has_lock(locks: &str, device: Option<(u32, u32)>, inode: u64) -> bool {
    let hex = |number: &str| u32::from_str_radix(number, 16).ok();
    let is_it = |word: &str| match word.split(':').collect::<Vec<_>>()[..] {
        [major, minor, number] => {
            number.parse() == Ok(inode)
                && device.is_none_or(|device| hex(major).zip(hex(minor)) == Some(device))
        }
        _ => false,
    };
    locks.lines().any(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        words.next() == Some("FLOCK")
            && words.next() == Some("ADVISORY")
            && words.next() == Some("WRITE")
            && words.nth(1).is_some_and(is_it)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::Store;

    #[test]
    fn a_daemon_that_runs_is_seen() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("records.sqlite");
        assert!(!is_in_use(&file));
        let daemon = Store::open(&file).unwrap();
        assert!(is_in_use(&file));
        drop(daemon);
        assert!(!is_in_use(&file));
    }

    #[test]
    fn it_is_a_lock_of_that_file() {
        let locks = "1: POSIX  ADVISORY  WRITE 1 00:1f:7 0 EOF\n2: FLOCK  ADVISORY  WRITE 17 fe:01:29 0 EOF\n\
            2: -> FLOCK  ADVISORY  WRITE 18 fe:01:30 0 EOF\n3: FLOCK ADVISORY READ 1 00:1f:8 0 EOF\n4:\n";
        let device = Some((0xfe, 1));
        for device in [device, None] {
            let locked = |inode| has_lock(locks, device, inode);
            assert!(locked(29));
            assert!(![7, 9, 30, 8, 0].into_iter().any(locked));
        }
        assert!(![(0xfe, 0), (0, 1), (0xfe, 29)]
            .into_iter()
            .any(|other| has_lock(locks, Some(other), 29)));
    }
}
