// SPDX-License-Identifier: GPL-2.0
//! The machine's files, below a directory that stands for `/`.

use crate::{control, exports, mounts};
use rustix::fs::OFlags;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The longest file that is read, in bytes: a list of 5,000 clients has less than a megabyte.
const MAX: u64 = 64 << 20;

/// A directory that stands for `/`. Paths are those of the machine.
#[derive(Clone, Debug)]
pub struct Tree(PathBuf);

/// Something is there that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// A file.
    #[error("cannot read {}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file of the module's.
    #[error(transparent)]
    Control(#[from] control::Error),
    /// What is exported.
    #[error(transparent)]
    Exports(#[from] exports::Error),
    /// What is mounted.
    #[error(transparent)]
    Mounts(#[from] mounts::Error),
}

impl Unreadable {
    fn new(path: impl Into<PathBuf>, error: io::Error) -> Self {
        Self::File {
            path: path.into(),
            error,
        }
    }
}

impl Tree {
    /// The machine's own files are those of `Tree::new("/")`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self(root.into())
    }

    /// Where a file is.
    pub(crate) fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.0.join(path.strip_prefix("/").unwrap_or(path))
    }

    pub(crate) fn exists(&self, path: impl AsRef<Path>) -> bool {
        fs::symlink_metadata(self.at(path)).is_ok()
    }

    /// The first bytes of a file, `None` if it is not there. It must be a regular one, as all of
    /// procfs and sysfs are: who may write in its directory may have put a pipe there, which would
    /// keep us waiting.
    pub(crate) fn head(
        &self,
        path: impl AsRef<Path>,
        bytes: u64,
    ) -> Result<Option<Vec<u8>>, Unreadable> {
        let path = path.as_ref();
        let read = || {
            let file = open(&self.at(path))?;
            let mut data = Vec::new();
            file.take(bytes).read_to_end(&mut data)?;
            Ok(data)
        };
        match read() {
            Ok(data) => Ok(Some(data)),
            Err(e) if is_absent(&e) => Ok(None),
            Err(e) => Err(Unreadable::new(path, e)),
        }
    }

    /// A text file, with other bytes than UTF-8 replaced; `None` if it is not there. One with more
    /// than 64 MiB is an error.
    pub(crate) fn text(&self, path: impl AsRef<Path>) -> Result<Option<String>, Unreadable> {
        let path = path.as_ref();
        match self.head(path, MAX + 1)? {
            Some(data) if data.len() as u64 > MAX => {
                Err(Unreadable::new(path, ErrorKind::FileTooLarge.into()))
            }
            data => Ok(data.map(|data| String::from_utf8_lossy(&data).into_owned())),
        }
    }

    /// A file that is one word or number, without the newline.
    pub(crate) fn word(&self, path: impl AsRef<Path>) -> Result<Option<String>, Unreadable> {
        Ok(self.text(path)?.map(|text| text.trim().to_owned()))
    }

    /// The names in a directory, sorted; none if it is not there. One that is no UTF-8 is left out:
    /// nothing that is looked for has such a name.
    pub(crate) fn names(&self, path: impl AsRef<Path>) -> Result<Vec<String>, Unreadable> {
        let path = path.as_ref();
        let entries = match fs::read_dir(self.at(path)) {
            Ok(entries) => entries,
            Err(e) if is_absent(&e) => return Ok(Vec::new()),
            Err(e) => return Err(Unreadable::new(path, e)),
        };
        let mut names: Vec<_> = entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        names.sort();
        Ok(names)
    }

    /// Where a link leads, as it is written; `None` if it is not one, or may not be read.
    pub(crate) fn link(&self, path: impl AsRef<Path>) -> Option<PathBuf> {
        fs::read_link(self.at(path)).ok()
    }

    /// A path without links, if it is there.
    pub(crate) fn real(&self, path: impl AsRef<Path>) -> Option<PathBuf> {
        let (root, real) = (
            self.0.canonicalize().ok()?,
            self.at(path).canonicalize().ok()?,
        );
        Some(Path::new("/").join(real.strip_prefix(root).ok()?))
    }

    /// The owner of a file or directory.
    pub(crate) fn owner(&self, path: impl AsRef<Path>) -> Option<u32> {
        fs::metadata(self.at(path)).ok().map(|data| data.uid())
    }
}

fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits() as i32)
        .open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("it is no regular file")),
    }
}

/// Is there no such file, or is it one of a process or mount that has gone meanwhile?
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
        || error.raw_os_error() == Some(3)
}
