// SPDX-License-Identifier: GPL-2.0
//! Who keeps a file system from being unmounted.
//!
//! A release by the module says that, too, but only when the clients' connections are gone; this look
//! comes before anything is touched. It sees the processes of this PID namespace, as fuser(1) does, loop
//! devices and swap files. What nfsd and lockd have themselves is not in the way.

use crate::mounts::unescape;
use rustix::fs::{AtFlags, StatxFlags, CWD};
use std::ffi::OsString;
use std::fmt;
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// As many are named; more would not help.
const NAMED: usize = 8;

/// Somebody who uses a file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Who: a process and its number, a loop device, or swap.
    pub who: String,
    /// For what, as `open file` or `working directory`.
    pub how: &'static str,
    /// The file, if that is known.
    pub path: Option<PathBuf>,
}

/// `FILE: open file of bash[123]`, as the module says it.
impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(path) = &self.path {
            write!(f, "{}: ", path.display().to_string().escape_debug())?;
        }
        write!(f, "{} of {}", self.how, self.who)
    }
}

/// The device of the file system that a path leads to. What a dead server would have to say is not asked.
fn device(path: &Path) -> Option<(u32, u32)> {
    let flags = AtFlags::STATX_DONT_SYNC | AtFlags::NO_AUTOMOUNT;
    let stat = rustix::fs::statx(CWD, path, flags, StatxFlags::TYPE).ok()?;
    Some((stat.stx_dev_major, stat.stx_dev_minor))
}

/// Who uses the file system on a device; eight of them at most. Processes that end meanwhile are left out.
pub fn of(wanted: (u32, u32)) -> Vec<User> {
    let processes = entries(Path::new("/proc")).filter(|path| {
        path.file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| name.parse::<u32>().is_ok())
    });
    let processes = processes.filter_map(|process| of_process(&process, wanted));
    processes
        .chain(loops(wanted))
        .chain(swap(wanted))
        .take(NAMED)
        .collect()
}

fn entries(directory: &Path) -> impl Iterator<Item = PathBuf> {
    std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
}

/// How a process uses it; one way is enough.
fn of_process(process: &Path, wanted: (u32, u32)) -> Option<User> {
    let uses = |how, link: PathBuf| {
        let there = device(&link) == Some(wanted);
        there.then(|| (how, std::fs::read_link(link).ok()))
    };
    let link = |how, name| uses(how, process.join(name));
    let files = || entries(&process.join("fd")).find_map(|file| uses("open file", file));
    // Each thread may have files and a directory of its own, but few have.
    let (how, path) = link("working directory", "cwd")
        .or_else(|| link("root directory", "root"))
        .or_else(|| link("program", "exe"))
        .or_else(files)
        .or_else(|| mapped(process, wanted).map(|path| ("mapped file", Some(path))))?;
    let name = std::fs::read(process.join("comm")).unwrap_or_default();
    let name = String::from_utf8_lossy(name.trim_ascii_end())
        .escape_debug()
        .to_string();
    let number = process.file_name()?.to_string_lossy();
    Some(User {
        who: format!("{name}[{number}]"),
        how,
        path,
    })
}

/// A file that a process has mapped: `FROM-TO PERMISSIONS OFFSET MAJOR:MINOR INODE PATH` (proc_pid_maps(5)).
fn mapped(process: &Path, wanted: (u32, u32)) -> Option<PathBuf> {
    let file = BufReader::new(std::fs::File::open(process.join("maps")).ok()?);
    let device = format!("{:02x}:{:02x}", wanted.0, wanted.1).into_bytes();
    file.split(b'\n').map_while(Result::ok).find_map(|line| {
        let mut words = line
            .split(|byte| *byte == b' ')
            .filter(|word| !word.is_empty());
        let there = words.nth(3)? == device;
        let path = words.nth(1).unwrap_or_default();
        there.then(|| PathBuf::from(OsString::from_vec(path.to_vec())))
    })
}

fn loops(wanted: (u32, u32)) -> impl Iterator<Item = User> {
    entries(Path::new("/sys/block")).filter_map(move |disk| {
        let file = std::fs::read(disk.join("loop/backing_file")).ok()?;
        let path = PathBuf::from(OsString::from_vec(file.trim_ascii_end().to_vec()));
        let who = disk.file_name()?.to_string_lossy().into_owned();
        (device(&path) == Some(wanted)).then_some(User {
            who,
            how: "backing file",
            path: Some(path),
        })
    })
}

fn swap(wanted: (u32, u32)) -> Vec<User> {
    let text = std::fs::read("/proc/swaps").unwrap_or_default();
    let files = text
        .split(|byte| *byte == b'\n')
        .skip(1)
        .filter_map(|line| line.split(|byte| *byte == b' ').next());
    let paths = files.map(|file| PathBuf::from(OsString::from_vec(unescape(file))));
    paths
        .filter(|path| path.is_absolute() && device(path) == Some(wanted))
        .map(|path| User {
            who: "the kernel".into(),
            how: "swap file",
            path: Some(path),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// This process's own use of a file system.
    fn own(device: (u32, u32)) -> Option<User> {
        of_process(Path::new("/proc/self"), device)
    }

    #[test]
    fn a_process_is_found_by_its_directory_and_files() {
        let here = device(Path::new(".")).unwrap();
        assert_eq!(own(here).unwrap().how, "working directory");
        assert!(of(here).len() <= NAMED);
        // pipefs, memfd: file systems without a name.
        let (pipe, _writer) = rustix::pipe::pipe().unwrap();
        let link = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&pipe));
        let found = own(device(Path::new(&link)).unwrap()).unwrap();
        assert_eq!(found.how, "open file");
        assert!(found.to_string().starts_with("pipe:["), "{found}");
    }

    #[test]
    fn nobody_uses_what_is_not_there() {
        assert_eq!(of((4095, 77)), []);
    }
}
