// SPDX-License-Identifier: GPL-2.0
//! Does nfsd-had run? It holds a lock beside its records, and to look at the locks of this machine is in nobody's way.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Does an nfsd-had use these records? If nobody may know, the answer is no.
pub fn is_in_use(file: &Path) -> bool {
    let mut lock = file.as_os_str().to_owned();
    lock.push("-lock");
    let (Ok(lock), Ok(locks)) = (fs::metadata(lock), fs::read_to_string("/proc/locks")) else {
        return false;
    };
    has_lock(&locks, lock.ino())
}

/// Has the file with this inode a lock of flock(2) by these lines of proc_locks(5)? They name its file system as the
/// kernel does, which for some is not as stat(2) does.
fn has_lock(locks: &str, inode: u64) -> bool {
    let inode = inode.to_string();
    locks.lines().any(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        words.next() == Some("FLOCK")
            && words.next() == Some("ADVISORY")
            && words.next() == Some("WRITE")
            && words.nth(1).and_then(|file| file.rsplit(':').next()) == Some(&inode)
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
        let locked = |inode| has_lock(locks, inode);
        assert!(locked(29));
        assert!(![7, 9, 30, 8, 0].into_iter().any(locked));
    }
}
