// SPDX-License-Identifier: GPL-2.0
//! How long a file system's file handles are.
//!
//! The kernel shows the handle of what inotify watches (`show_mark_fhandle()` of
//! `fs/notify/fdinfo.c`), which is what name_to_handle_at(2) returns, but for a call that needs
//! unsafe code. A server that does not answer keeps who asks waiting, so another thread does.

use super::Unreadable;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// How many names in a directory are looked at.
const NAMES: usize = 16;
/// For how long a server may keep us waiting.
const PATIENCE: Duration = Duration::from_secs(3);

/// The length of the longest handle of a directory and some of what is in it, in bytes, as far as
/// that is on a device; `None` if there are none. A directory's own handle may be a shorter one, as
/// that of an export's root is.
pub(super) fn longest(directory: &Path, device: (u32, u32)) -> Result<Option<usize>, Unreadable> {
    let (sender, receiver) = mpsc::channel();
    let place = directory.to_owned();
    // It may wait for ever, and ends with this process.
    let look = move || drop(sender.send(look(place, device)));
    let started = thread::Builder::new().spawn(look);
    let answer = started.and_then(|_| {
        let late = |_| Err(io::Error::from(ErrorKind::TimedOut));
        receiver.recv_timeout(PATIENCE).unwrap_or_else(late)
    });
    match answer {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        answer => answer.map_err(|error| Unreadable::File {
            path: directory.to_owned(),
            error,
        }),
    }
}

/// The same, without an end to the waiting.
fn look(directory: PathBuf, device: (u32, u32)) -> io::Result<Option<usize>> {
    let watcher = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    let watch = |path: &Path| {
        let flags = WatchFlags::DELETE_SELF | WatchFlags::DONT_FOLLOW;
        inotify::add_watch(&watcher, path, flags)
    };
    watch(&directory)?;
    let names = match fs::read_dir(&directory) {
        // A file that is exported.
        Err(e) if e.kind() == ErrorKind::NotADirectory => None,
        names => Some(names?),
    };
    for entry in names.into_iter().flatten().take(NAMES) {
        match watch(&entry?.path()) {
            // One that we may not read, or that has gone meanwhile.
            Err(Errno::ACCESS | Errno::PERM | Errno::NOENT) | Ok(_) => (),
            Err(e) => return Err(e.into()),
        }
    }
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{}", watcher.as_raw_fd()))?;
    Ok(parse(&text, device))
}

/// The longest handle that proc_pid_fdinfo(5) has of a device.
fn parse(text: &str, (major, minor): (u32, u32)) -> Option<usize> {
    let of = |line: &str| {
        let word = |name: &str| {
            let mut words = line.strip_prefix("inotify ")?.split(' ');
            let digits = words.find_map(|word| word.strip_prefix(name))?;
            u32::from_str_radix(digits, 16).ok()
        };
        // `MKDEV()` of include/linux/kdev_t.h.
        let is_there = word("sdev:")? == (major << 20) | minor;
        let length = word("fhandle-bytes:").filter(|_| is_there)?;
        usize::try_from(length).ok()
    };
    text.lines().filter_map(of).max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{major, minor, stat};

    #[test]
    fn the_longest_of_a_device() {
        let text = "pos:\t0\nflags:\t02004000\nmnt_id:\t15\nino:\t1\n\
            inotify wd:3 ino:2 sdev:2f mask:400 ignored_mask:0 fhandle-bytes:18 fhandle-type:6 f_handle:00\n\
            inotify wd:2 ino:3 sdev:30 mask:400 ignored_mask:0 fhandle-bytes:40 fhandle-type:8 f_handle:00\n\
            inotify wd:1 ino:1 sdev:2f mask:400 ignored_mask:0 fhandle-bytes:14 fhandle-type:5 f_handle:00\n\
            inotify wd:4 ino:9 sdev:2f mask:400 ignored_mask:0 \n";
        assert_eq!(parse(text, (0, 0x2f)), Some(0x18));
        assert_eq!(parse(text, (8, 1)), None);
        assert_eq!(
            parse("inotify wd:1 sdev:800001 fhandle-bytes:8", (8, 1)),
            Some(8)
        );
    }

    #[test]
    fn a_directory_has_one() {
        let machine = super::super::testing::Machine::new();
        machine.write("/d/a", "");
        machine.link("/d/b", "/nowhere");
        let directory = machine.tree().at("/d");
        let device = stat(&directory).unwrap().st_dev;
        let device = (major(device), minor(device));
        let length = longest(&directory, device).unwrap();
        assert!(
            length.is_some_and(|length| (4..=128).contains(&length)),
            "{length:?}"
        );
        assert!(longest(&directory.join("a"), device).unwrap().is_some());
        assert_eq!(longest(&directory, (4095, 1)).unwrap(), None);
        assert_eq!(longest(&machine.tree().at("/none"), device).unwrap(), None);
    }
}
