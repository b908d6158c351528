// SPDX-License-Identifier: GPL-2.0
//! A recorder's talk with the kernel (`rust/nlm/clients.rs`).

use super::{Control, Error, NlmClients, Refusal, COMMAND_MAX};
use crate::scope::Fsid;
use rustix::fs::OFlags;
use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

/// `nlm_clients`, open: from the first acknowledgement until it is closed, a client's first lock on an export
/// waits for the next.
#[derive(Debug)]
pub struct Recorder {
    file: File,
    path: PathBuf,
}

impl Recorder {
    /// Opens the file; nobody waits yet.
    pub fn open(control: &Control) -> Result<Self, Error> {
        let path = control.path("nlm_clients");
        let nonblocking = OFlags::NONBLOCK.bits() as i32;
        match OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(nonblocking)
            .open(&path)
        {
            Ok(file) => Ok(Self { file, path }),
            Err(source) => Err(Error::Open { file: path, source }),
        }
    }

    /// Can so many exports be excepted in [`Recorder::stored`]? There is room for a hundred with a UUID, and for more with
    /// a number.
    pub fn can_except(exports: &BTreeSet<Fsid>) -> bool {
        command(u64::MAX, exports).len() <= COMMAND_MAX
    }

    /// Says that all up to a change is on stable storage, but for what is new on some exports: clients there
    /// get no new lock until it is. Returns who has come since, without what they hold.
    pub fn stored(&mut self, change: u64, except: &BTreeSet<Fsid>) -> Result<NlmClients, Error> {
        let command = command(change, except);
        let file = || self.path.clone();
        self.file
            .write_all(command.as_bytes())
            .map_err(|source| Error::Refused {
                file: file(),
                refusal: Refusal::of(&source),
                answer: String::new(),
                source,
            })?;
        let mut text = String::new();
        self.file
            .read_to_string(&mut text)
            .map_err(|source| Error::Open {
                file: file(),
                source,
            })?;
        NlmClients::parse(&text).map_err(|line| Error::Malformed { file: file(), line })
    }
}

fn command(change: u64, except: &BTreeSet<Fsid>) -> String {
    let mut command = format!("{change} news");
    for (n, scope) in except.iter().enumerate() {
        command.push_str(if n == 0 { " except " } else { " " });
        command.push_str(&scope.to_string());
    }
    command
}

/// For poll(): it is readable when somebody has come or gone since [`Recorder::stored`].
impl AsFd for Recorder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_exports_as_fit_can_be_excepted() {
        let uuids = |number: u64| -> BTreeSet<Fsid> {
            let uuid = |n| format!("{n:032x}").parse().unwrap();
            (0..number).map(uuid).collect()
        };
        assert_eq!(command(7, &BTreeSet::new()), "7 news");
        let two = BTreeSet::from([Fsid::Number(9), Fsid::Number(1234)]);
        assert_eq!(command(7, &two), "7 news except 9 1234");
        assert!(Recorder::can_except(&uuids(100)));
        assert!(!Recorder::can_except(&uuids(110)));
    }
}
