// SPDX-License-Identifier: GPL-2.0
//! Lists in files.

use super::{Held, List, ListError};
use crate::control::Released;
use rustix::fs::{self, Mode, OFlags};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// The longest list, in bytes: a million clients with long names.
const LIST_MAX: u64 = 256 << 20;

/// Why a file with a list cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// It cannot be read or changed.
    #[error("{}: {source}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is a link, a directory, a pipe or so.
    #[error("{} is no plain file: write the list to a new file in a directory of root's", .path.display())]
    NotPlain {
        /// The file.
        path: PathBuf,
    },
    /// It is no list.
    #[error("{}: {source}", .path.display())]
    List {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ListError,
    },
}

/// Reads a list, such as from standard input, at most 256 MiB.
pub fn read(from: impl Read, path: &Path) -> Result<List, FileError> {
    let mut bytes = Vec::new();
    let read = from.take(LIST_MAX + 1).read_to_end(&mut bytes);
    let failed = |source| FileError::File {
        path: path.to_owned(),
        source,
    };
    if read.map_err(failed)? as u64 > LIST_MAX {
        return Err(failed(io::Error::new(
            io::ErrorKind::FileTooLarge,
            "longer than 256 MiB",
        )));
    }
    List::parse(&bytes).map_err(|source| FileError::List {
        path: path.to_owned(),
        source,
    })
}

/// A list in a file that may be changed.
///
/// Its directory stays open, so that the file that is changed is in the directory that was found at
/// first, and no link is followed there.
#[derive(Debug)]
pub struct ListFile {
    directory: OwnedFd,
    name: OsString,
    path: PathBuf,
    /// What it says.
    pub list: List,
}

impl ListFile {
    /// Opens and reads a list. Fails also if it could not be changed.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let failed = |e: rustix::io::Errno| match e {
            rustix::io::Errno::LOOP => FileError::NotPlain {
                path: path.to_owned(),
            },
            e => FileError::File {
                path: path.to_owned(),
                source: e.into(),
            },
        };
        let name = path.file_name().ok_or_else(|| FileError::NotPlain {
            path: path.to_owned(),
        })?;
        let parent = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory =
            fs::open(parent.unwrap_or(Path::new(".")), flags, Mode::empty()).map_err(failed)?;
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(fs::openat(&directory, name, flags, Mode::empty()).map_err(failed)?);
        if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
            return Err(FileError::NotPlain {
                path: path.to_owned(),
            });
        }
        let list = read(file, path)?;
        Ok(Self {
            directory,
            name: name.to_owned(),
            path: path.to_owned(),
            list,
        })
    }

    /// Notes that what was released is what is listed, if it is; says whether it is. If it is not,
    /// somebody took something after the list was written, and it is not known who: the grace period of
    /// those who are listed will end by its time.
    pub fn confirm(&mut self, released: &Released) -> Result<bool, FileError> {
        let same = self
            .list
            .held
            .is_some_and(|held| held.is(&Held::of_release(released)));
        if !same || !released.left.is_empty() {
            return Ok(false);
        }
        self.list.released = true;
        self.replace(self.list.to_string().as_bytes())
            .map_err(|source| FileError::File {
                path: self.path.clone(),
                source,
            })?;
        Ok(true)
    }

    /// Gives the file another content, at once and for good.
    fn replace(&self, content: &[u8]) -> io::Result<()> {
        let mut new = self.name.clone();
        new.push(".new");
        let result = self.write_as(&new, content);
        if result.is_err() {
            let _ = fs::unlinkat(&self.directory, &new, fs::AtFlags::empty());
        }
        result
    }

    fn write_as(&self, new: &OsStr, content: &[u8]) -> io::Result<()> {
        // One that was interrupted has left it.
        let _ = fs::unlinkat(&self.directory, new, fs::AtFlags::empty());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let mode = Mode::RUSR | Mode::WUSR;
        let file = fs::openat(&self.directory, new, flags | OFlags::CLOEXEC, mode)?;
        let mut file = File::from(file);
        file.write_all(content)?;
        file.sync_all()?;
        fs::renameat(&self.directory, new, &self.directory, &self.name)?;
        fs::fsync(&self.directory)?;
        Ok(())
    }
}
