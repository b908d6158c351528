// SPDX-License-Identifier: GPL-2.0
//! Which daemons run, and who has a file open.
//!
//! A process may call itself what it likes, so what counts is the program that it runs
//! (`/proc/PID/exe`, proc(5)), and that this is where the system's daemons are.

use super::{Tree, Unreadable};
use rustix::fs::OFlags;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Where distributions have daemons.
const DIRECTORIES: [&str; 5] = ["/sbin", "/usr/sbin", "/usr/local/sbin", "/bin", "/usr/bin"];
/// How many descriptors are looked at for an open file.
const DESCRIPTORS: u32 = 100_000;

/// The processes, each as its directory in procfs.
fn all(tree: &Tree) -> Result<impl Iterator<Item = String>, Unreadable> {
    let is_number = |name: &String| name.bytes().all(|c| c.is_ascii_digit());
    Ok(tree
        .names("/proc")?
        .into_iter()
        .filter(is_number)
        .map(|pid| format!("/proc/{pid}")))
}

/// Does a process run this daemon? Then its arguments, without the first one.
pub(super) fn daemon(tree: &Tree, name: &str) -> Result<Option<Vec<String>>, Unreadable> {
    for process in all(tree)? {
        let Some(program) = tree.link(format!("{process}/exe")) else {
            continue;
        };
        // After an upgrade, the kernel adds this to what the daemon has been started from.
        let program = program
            .to_string_lossy()
            .trim_end_matches(" (deleted)")
            .to_owned();
        let (program, directory) = (Path::new(&program), Path::new(&program).parent());
        let is_system = DIRECTORIES.iter().any(|d| directory == Some(Path::new(d)));
        if is_system && program.file_name() == Some(OsStr::new(name)) {
            let line = tree.text(format!("{process}/cmdline"))?.unwrap_or_default();
            return Ok(Some(
                line.split_terminator('\0')
                    .skip(1)
                    .map(str::to_owned)
                    .collect(),
            ));
        }
    }
    Ok(None)
}

/// Has one of root's processes this file open for writing?
pub(crate) fn writes(tree: &Tree, file: &Path) -> Result<bool, Unreadable> {
    let root = tree.owner("/proc");
    for process in all(tree)?.filter(|process| tree.owner(process) == root) {
        for fd in tree.names(format!("{process}/fd")).unwrap_or_default() {
            if tree.link(format!("{process}/fd/{fd}")).as_deref() != Some(file) {
                continue;
            }
            // O_WRONLY and O_RDWR are 1 and 2 (open(2)).
            if flags(tree, &process, &fd)?.is_some_and(|flags| flags & 3 != 0) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// A file that a process has open.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Open {
    /// Its directory in procfs has this name.
    pub(super) pid: String,
    pub(super) file: PathBuf,
}

/// The first file of some that a process has open, or runs. The kernel's threads have none here, and
/// of very many descriptors not all are looked at. A directory does not count, nor what was opened
/// with O_PATH: no server learns of these.
pub(super) fn opens(
    tree: &Tree,
    is_one: impl Fn(&Path) -> bool,
) -> Result<Option<Open>, Unreadable> {
    let mut left = DESCRIPTORS;
    for process in all(tree)? {
        let open = |file| {
            let pid = process.trim_start_matches("/proc/").to_owned();
            Ok(Some(Open { pid, file }))
        };
        let is_file = |file: &PathBuf| file.is_absolute() && is_one(file);
        if let Some(program) = tree.link(format!("{process}/exe")).filter(is_file) {
            return open(program);
        }
        for fd in tree.names(format!("{process}/fd")).unwrap_or_default() {
            if left == 0 {
                return Ok(None);
            }
            left -= 1;
            let Some(file) = tree.link(format!("{process}/fd/{fd}")).filter(is_file) else {
                continue;
            };
            let flags = flags(tree, &process, &fd)?;
            let other = (OFlags::DIRECTORY | OFlags::PATH).bits();
            if flags.is_some_and(|flags| flags & other == 0) {
                return open(file);
            }
        }
    }
    Ok(None)
}

/// The flags of a descriptor (proc_pid_fdinfo(5)).
fn flags(tree: &Tree, process: &str, fd: &str) -> Result<Option<u32>, Unreadable> {
    let info = tree
        .text(format!("{process}/fdinfo/{fd}"))?
        .unwrap_or_default();
    let flags = info
        .lines()
        .find_map(|line| line.strip_prefix("flags:"))
        .map(str::trim);
    Ok(flags.and_then(|flags| u32::from_str_radix(flags, 8).ok()))
}

#[cfg(test)]
mod tests {
    use super::super::testing::Machine;
    use super::*;

    #[test]
    fn a_daemon_is_found_by_its_program() {
        let machine = Machine::new();
        machine.process(7, "/usr/sbin/nfsdcld", &["nfsdcld", "-s", "/x"]);
        machine.process(8, "/home/mallory/rpc.statd", &["rpc.statd"]);
        machine.process(9, "/usr/sbin/rpcbind (deleted)", &["/usr/sbin/rpcbind"]);
        let args = |name| daemon(&machine.tree(), name).unwrap();
        assert_eq!(
            args("nfsdcld"),
            Some(vec!["-s".to_owned(), "/x".to_owned()])
        );
        assert_eq!(args("rpc.statd"), None);
        assert_eq!(args("rpcbind"), Some(vec![]));
    }

    #[test]
    fn a_writer_is_found_by_its_file() {
        let machine = Machine::new();
        let file = Path::new("/proc/fs/nfsd/nlm_clients");
        machine.process(7, "/usr/bin/cat", &["cat"]);
        machine.link("/proc/7/fd/3", "/proc/fs/nfsd/nlm_clients");
        machine.write("/proc/7/fdinfo/3", "pos:\t0\nflags:\t0100000\n");
        assert!(!writes(&machine.tree(), file).unwrap());
        machine.write("/proc/7/fdinfo/3", "pos:\t0\nflags:\t0100002\n");
        assert!(writes(&machine.tree(), file).unwrap());
    }

    #[test]
    fn an_open_file_is_found() {
        let machine = Machine::new();
        let find = || opens(&machine.tree(), |file| file.starts_with("/m")).unwrap();
        let flags = |flags: &str| machine.write("/proc/7/fdinfo/3", format!("flags:\t{flags}\n"));
        machine.process(7, "/usr/bin/cat", &["cat"]);
        machine.link("/proc/7/fd/1", "pipe:[1]");
        machine.link("/proc/7/fd/3", "/m/a");
        assert_eq!(find(), None, "it was closed meanwhile");
        for other in [OFlags::DIRECTORY, OFlags::PATH] {
            flags(&format!("{:o}", other.bits()));
            assert_eq!(find(), None);
        }
        flags("0100000");
        let (pid, file) = ("7".to_owned(), "/m/a".into());
        assert_eq!(find(), Some(Open { pid, file }));
        machine.remove("/proc/7");
        machine.process(8, "/m/bin/x", &["x"]);
        assert_eq!(find().unwrap().pid, "8");
    }
}
