// SPDX-License-Identifier: GPL-2.0
//! What can be wrong with the records, and what to do about it.

use super::VERSION;
use crate::files;
use rusqlite::ffi::ErrorCode;
use rustix::io::Errno;
use std::io;
use std::path::PathBuf;

/// Why records cannot be read or stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is none.
    #[error("there is no {}", .0.display())]
    Absent(PathBuf),
    /// Its directory, or who else can write there.
    #[error(transparent)]
    Place(#[from] files::Error),
    /// Another daemon has it.
    #[error("another nfsd-had uses {}: end that one first", .0.display())]
    InUse(PathBuf),
    /// It is of a newer program.
    #[error(
        "{} has version {version} of the records, and this program knows {VERSION}: install a newer one",
        .file.display()
    )]
    Newer {
        /// The file.
        file: PathBuf,
        /// Its version.
        version: i64,
    },
    /// It is of an older program.
    #[error(
        "{} has version {version} of the records, this program writes {VERSION}: end all that use it, then run \
         nfsd-ha records upgrade --records {}",
        .file.display(), .file.display()
    )]
    Older {
        /// The file.
        file: PathBuf,
        /// Its version.
        version: i64,
    },
    /// It is something else.
    #[error("{} has no records of nfsd-had: name another file, or move this one away", .0.display())]
    Foreign(PathBuf),
    /// It, or its log, was removed or replaced while it was open.
    #[error("{} was taken away or replaced: put it back, or start nfsd-had again", .0.display())]
    Moved(PathBuf),
    /// It cannot be looked at.
    #[error("cannot look at {}: {source}", .file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// SQLite cannot read or write it.
    #[error("{}: {source}{}", .file.display(), advice(.source))]
    Sqlite {
        /// The file.
        file: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
}

fn advice(error: &rusqlite::Error) -> &'static str {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => ": make room",
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            ": end what has it locked (fuser says what has it open)"
        }
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            ": its file system must be mounted, and be writable"
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            ": it is damaged: stop nfsd-had, keep the file, and see nfsd-ha records check"
        }
        _ => "",
    }
}

impl Error {
    /// What the kernel is told: the negative number of it is the status of an answer.
    pub fn errno(&self) -> Errno {
        match self {
            Self::Absent(_) | Self::Moved(_) => Errno::STALE,
            Self::InUse(_) => Errno::BUSY,
            Self::Place(_) | Self::Newer { .. } | Self::Older { .. } | Self::Foreign(_) => {
                Errno::INVAL
            }
            Self::File { .. } => Errno::IO,
            Self::Sqlite { source, .. } => match source.sqlite_error_code() {
                Some(ErrorCode::DiskFull) => Errno::NOSPC,
                Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Errno::BUSY,
                Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
                    Errno::ROFS
                }
                Some(ErrorCode::OutOfMemory) => Errno::NOMEM,
                _ => Errno::IO,
            },
        }
    }
}
