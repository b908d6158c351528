// SPDX-License-Identifier: GPL-2.0
//! What can be wrong with a directory or a file.

use std::io;
use std::path::PathBuf;

/// Why a directory or a file is not used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel says no.
    #[error("{}: {source}", path.display())]
    Io {
        /// What it is about.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// It is not there.
    #[error("{} is not there", path.display())]
    Missing {
        /// The first part of the way that is missing.
        path: PathBuf,
    },
    /// A link leads to what is not there.
    #[error("{} leads to {}, which is not there: is its file system mounted?", link.display(), path.display())]
    LeadsNowhere {
        /// The link.
        link: PathBuf,
        /// The first part of its target that is missing.
        path: PathBuf,
    },
    /// It is somebody else's, who could lead us to any place.
    #[error(
        "{} belongs to user {uid}: it must be root's, and so must all directories above it; \
         move it away and make a new one",
        path.display()
    )]
    Foreign {
        /// The directory, file or link.
        path: PathBuf,
        /// Whose it is.
        uid: u32,
    },
    /// Others may write there.
    #[error("others than its owner may write to {}: chmod go-w {}", path.display(), path.display())]
    Writable {
        /// The directory or file.
        path: PathBuf,
    },
    /// It is not what it should be.
    #[error("{} {what}: remove it", path.display())]
    Odd {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// There are more names in a directory than anybody needs.
    #[error("there are more than {most} files in {}", path.display())]
    TooMany {
        /// The directory.
        path: PathBuf,
        /// How many there may be.
        most: usize,
    },
    /// There are links to links without an end.
    #[error("{}: too many links", path.display())]
    Links {
        /// Where it was given up.
        path: PathBuf,
    },
}
