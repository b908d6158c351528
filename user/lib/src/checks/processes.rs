// SPDX-License-Identifier: GPL-2.0
//! Which daemons run.
//!
//! A process may call itself what it likes, so what counts is the program that it runs
//! (`/proc/PID/exe`, proc(5)), and that this is where the system's daemons are.

use super::{Tree, Unreadable};
use std::ffi::OsStr;
use std::path::Path;

/// Where distributions have daemons.
const DIRECTORIES: [&str; 5] = ["/sbin", "/usr/sbin", "/usr/local/sbin", "/bin", "/usr/bin"];

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
            let info = tree
                .text(format!("{process}/fdinfo/{fd}"))?
                .unwrap_or_default();
            let flags = info
                .lines()
                .find_map(|line| line.strip_prefix("flags:"))
                .map(str::trim);
            // O_WRONLY and O_RDWR are 1 and 2 (open(2)).
            if flags.is_some_and(|flags| {
                u32::from_str_radix(flags, 8).is_ok_and(|flags| flags & 3 != 0)
            }) {
                return Ok(true);
            }
        }
    }
    Ok(false)
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
}
