// SPDX-License-Identifier: GPL-2.0
//! Directories that only root can change, and the files in them.
//!
//! This program runs as root, in directories whose names an admin chose. Who may change one of them, or
//! one on the way to it, can lead root to any other place with a link. So a path is walked name by
//! name, each is opened without following links (`O_NOFOLLOW`), and all that is found must be root's, or
//! that of the user whom we run as, and writable by nobody else. A link is followed if it is one of
//! theirs, and what it leads to is walked in the same way. After that the directory is known by its open
//! file, and files in it by one name behind that: nobody else can have changed what is there.
//!
//! A directory that is writable by others but sticky, as `/tmp`, may be on the way: what is root's in
//! there can be neither removed nor renamed by others.

mod error;
mod walk;

pub use error::Error;

use rustix::fs::{self, AtFlags, FileType, FlockOperation, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The mode of new directories: who uses the server is nobody's business.
const DIRECTORY_MODE: Mode = Mode::RWXU;
/// The mode of new files.
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);
/// What all files are opened with: not a link, not as a terminal, not waiting for the other end of a pipe.
const CAREFUL: OFlags = OFlags::NOFOLLOW
    .union(OFlags::NOCTTY)
    .union(OFlags::NONBLOCK)
    .union(OFlags::CLOEXEC);

/// A directory that only root and we can change. It stays open, and so keeps its file system from being
/// unmounted.
#[derive(Debug)]
pub struct Directory {
    fd: OwnedFd,
    path: PathBuf,
}

/// Which directory it is, and when something in it was last made, removed or renamed. It also changes
/// when another file system is mounted there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    directory: (u64, u64),
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Directory {
    /// Opens a directory.
    ///
    /// Fails with [`Error::Missing`], and with [`Error::Foreign`] or [`Error::Writable`] if somebody else
    /// could change it or a part of the way.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        walk::from_root(path.as_ref(), false)
    }

    /// Opens a directory, and makes what is missing of it, for good. Fails as [`Directory::open`] does.
    pub fn make(path: impl AsRef<Path>) -> Result<Self, Error> {
        walk::from_root(path.as_ref(), true)
    }

    /// Opens a directory in this one, which may be a link to another place.
    ///
    /// Fails as [`Directory::open`] does, and with [`Error::LeadsNowhere`] if it is a link to what is not
    /// there.
    pub fn child(&self, name: &str) -> Result<Self, Error> {
        walk::from(self, name, false)
    }

    /// The same, but makes it if it is missing. A link's target is never made.
    pub fn make_child(&self, name: &str) -> Result<Self, Error> {
        walk::from(self, name, true)
    }

    /// Where it was found, without links.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Which it is, and when it last changed.
    pub fn version(&self) -> Result<Version, Error> {
        let stat = self.result("", fs::fstat(&self.fd))?;
        Ok(Version {
            directory: (stat.st_dev, stat.st_ino),
            modified: (stat.st_mtime, stat.st_mtime_nsec as i64),
            changed: (stat.st_ctime, stat.st_ctime_nsec as i64),
        })
    }

    /// The names in it, in no order, without `.` and `..`; not more than `most` of them.
    pub fn names(&self, most: usize) -> Result<Vec<OsString>, Error> {
        let entries = self.result("", fs::Dir::read_from(&self.fd))?;
        let mut names = Vec::new();
        for entry in entries {
            let entry = self.result("", entry)?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(OsStr::from_bytes(name).to_owned());
            }
            if names.len() > most {
                return Err(Error::TooMany {
                    path: self.path.clone(),
                    most,
                });
            }
        }
        Ok(names)
    }

    /// Reads a file of at most `most` bytes; `None` if there is none. Fails with [`Error::Odd`] if it is
    /// no plain file, or has another name somewhere, or is longer.
    pub fn read(&self, name: &str, most: usize) -> Result<Option<Vec<u8>>, Error> {
        let Some(file) = self.find(name)? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        let read = file.take(most as u64 + 1).read_to_end(&mut bytes);
        read.map_err(|e| self.error(name, e))?;
        if bytes.len() > most {
            return Err(self.odd(name, "is too long"));
        }
        Ok(Some(bytes))
    }

    /// Opens a file to read it; `None` if there is none. Fails as [`Directory::read`] does.
    pub fn find(&self, name: &str) -> Result<Option<File>, Error> {
        match fs::openat(
            &self.fd,
            one(name)?,
            OFlags::RDONLY | CAREFUL,
            Mode::empty(),
        ) {
            Ok(fd) => self.checked(name, fd).map(Some),
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::LOOP) => Err(self.odd(name, "is a link")),
            Err(e) => Err(self.error(name, e)),
        }
    }

    /// Makes a new file with this content. It is on the disk after [`File::sync_all`] and
    /// [`Directory::sync`]. Nothing is left of it if this fails.
    pub fn create(&self, name: &str, content: &[u8]) -> Result<File, Error> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | CAREFUL;
        let fd = self.result(name, fs::openat(&self.fd, one(name)?, flags, FILE_MODE))?;
        let mut file = File::from(fd);
        if let Err(e) = file.write_all(content) {
            let _ = self.remove(name);
            return Err(self.error(name, e));
        }
        Ok(file)
    }

    /// Gives a file this content, at once and for good, whether it was there or not.
    pub fn replace(&self, name: &str, content: &[u8]) -> Result<(), Error> {
        let new = format!(".{name}.new");
        self.remove(&new)?; // of one who was interrupted
        let file = self.create(&new, content)?;
        let renamed = file
            .sync_all()
            .map_err(|e| self.error(&new, e))
            .and_then(|()| {
                let renamed = fs::renameat(&self.fd, new.as_str(), &self.fd, one(name)?);
                self.result(name, renamed)
            });
        if renamed.is_err() {
            let _ = self.remove(&new);
        }
        renamed?;
        self.sync()
    }

    /// Removes a file, if it is there.
    pub fn remove(&self, name: &str) -> Result<(), Error> {
        match fs::unlinkat(&self.fd, one(name)?, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(e) => Err(self.error(name, e)),
        }
    }

    /// Moves a file to another directory of the same file system, in place of what has this name there.
    pub fn move_to(&self, name: &str, other: &Self) -> Result<(), Error> {
        self.result(name, fs::renameat(&self.fd, one(name)?, &other.fd, name))
    }

    /// Returns when names that were made, removed or renamed here are on the disk.
    pub fn sync(&self) -> Result<(), Error> {
        self.result("", fs::fsync(&self.fd))
    }

    /// Returns when all of its file system is on the disk.
    pub fn sync_file_system(&self) -> Result<(), Error> {
        self.result("", fs::syncfs(&self.fd))
    }

    /// Locks a file, which is made if it is not there, until the result is closed; waits for who has it.
    pub fn lock(&self, name: &str) -> Result<File, Error> {
        let file = self.lock_file(name)?;
        self.result(name, fs::flock(&file, FlockOperation::LockExclusive))?;
        Ok(file)
    }

    /// The same, but `None` if somebody else has it.
    pub fn try_lock(&self, name: &str) -> Result<Option<File>, Error> {
        let file = self.lock_file(name)?;
        match fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(file)),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(e) => Err(self.error(name, e)),
        }
    }

    /// A file that nobody else can open, and lock to keep us waiting.
    fn lock_file(&self, name: &str) -> Result<File, Error> {
        let flags = OFlags::RDWR | OFlags::CREATE | CAREFUL;
        let fd = self.result(name, fs::openat(&self.fd, one(name)?, flags, FILE_MODE))?;
        self.checked(name, fd)
    }

    /// The file, if it is one that nobody else has made or can change, under this name only.
    fn checked(&self, name: &str, fd: OwnedFd) -> Result<File, Error> {
        let stat = self.result(name, fs::fstat(&fd))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(self.odd(name, "is no plain file"));
        }
        if stat.st_nlink != 1 {
            return Err(self.odd(name, "has another name somewhere"));
        }
        ours(&stat, &self.path.join(name), false)?;
        Ok(File::from(fd))
    }

    fn odd(&self, name: &str, what: &'static str) -> Error {
        Error::Odd {
            path: self.path.join(name),
            what,
        }
    }

    fn error(&self, name: &str, source: impl Into<std::io::Error>) -> Error {
        let path = if name.is_empty() {
            self.path.clone()
        } else {
            self.path.join(name)
        };
        Error::Io {
            path,
            source: source.into(),
        }
    }

    fn result<T>(&self, name: &str, result: rustix::io::Result<T>) -> Result<T, Error> {
        result.map_err(|e| self.error(name, e))
    }
}

/// A name, if it is one and not a way to another place.
fn one(name: &str) -> Result<&str, Error> {
    if matches!(name, "" | "." | "..") || name.contains(['/', '\0']) {
        return Err(Error::Odd {
            path: name.into(),
            what: "is no name of a file",
        });
    }
    Ok(name)
}

/// Fails unless only root and we can change it. A sticky directory of others may be on the way.
fn ours(stat: &Stat, path: &Path, on_the_way: bool) -> Result<(), Error> {
    let (uid, mode) = (stat.st_uid, Mode::from_raw_mode(stat.st_mode));
    if uid != 0 && uid != rustix::process::geteuid().as_raw() {
        return Err(Error::Foreign {
            path: path.to_owned(),
            uid,
        });
    }
    let others_write = mode.intersects(Mode::WGRP | Mode::WOTH);
    if others_write && !(on_the_way && mode.contains(Mode::SVTX)) {
        return Err(Error::Writable {
            path: path.to_owned(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
