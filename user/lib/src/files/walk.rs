// SPDX-License-Identifier: GPL-2.0
//! The way to a directory, name by name.

use super::{one, ours, Directory, Error, DIRECTORY_MODE};
use rustix::fs::{self, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

/// How many links there may be on the way (`MAXSYMLINKS` of `include/linux/namei.h`).
const LINKS_MAX: usize = 40;
/// To look at what a name stands for, without opening that.
const LOOK: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const READ: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);

/// Walks from the root directory, or from the current one.
pub(super) fn from_root(path: &Path, make: bool) -> Result<Directory, Error> {
    let path = std::path::absolute(path).map_err(|source| Error::Io {
        path: path.to_owned(),
        source,
    })?;
    let mut walk = Walk {
        at: root()?,
        path: "/".into(),
        left: VecDeque::new(),
        link: None,
        links: 0,
    };
    walk.then(&path);
    walk.finish(make)
}

/// Walks from a directory to what has a name there.
pub(super) fn from(directory: &Directory, name: &str, make: bool) -> Result<Directory, Error> {
    let at = directory.result("", fs::openat(&directory.fd, ".", LOOK, Mode::empty()))?;
    let left = VecDeque::from([OsString::from(one(name)?)]);
    Walk {
        at,
        path: directory.path.clone(),
        left,
        link: None,
        links: 0,
    }
    .finish(make)
}

fn root() -> Result<OwnedFd, Error> {
    fs::open("/", LOOK, Mode::empty()).map_err(|e| Error::Io {
        path: "/".into(),
        source: e.into(),
    })
}

struct Walk {
    /// Where we are, and how that is called.
    at: OwnedFd,
    path: PathBuf,
    /// The names that are left to go.
    left: VecDeque<OsString>,
    /// The link that was followed last, and how many names will be left behind its target.
    link: Option<(PathBuf, usize)>,
    links: usize,
}

impl Walk {
    /// Puts a path before what is left.
    fn then(&mut self, path: &Path) {
        for component in path.components().rev() {
            match component {
                Component::Normal(name) => self.left.push_front(name.to_owned()),
                Component::ParentDir => self.left.push_front("..".into()),
                _ => {}
            }
        }
    }

    fn finish(mut self, make: bool) -> Result<Directory, Error> {
        self.check(true)?;
        while let Some(name) = self.left.pop_front() {
            self.step(&name, make)?;
        }
        self.check(false)?;
        let Self { at, path, .. } = self;
        match fs::openat(&at, ".", READ, Mode::empty()) {
            Ok(fd) => Ok(Directory { fd, path }),
            Err(e) => Err(Error::Io {
                path,
                source: e.into(),
            }),
        }
    }

    /// Goes to a name in the current directory, or takes the way that a link says.
    fn step(&mut self, name: &OsStr, make: bool) -> Result<(), Error> {
        let path = if name == ".." {
            self.path.parent().unwrap_or(Path::new("/")).to_owned()
        } else {
            self.path.join(name)
        };
        let error = |e: Errno| Error::Io {
            path: path.clone(),
            source: e.into(),
        };
        let mut found = fs::openat(&self.at, name, LOOK, Mode::empty());
        if matches!(found, Err(Errno::NOENT)) {
            match &self.link {
                Some((link, behind)) if self.left.len() >= *behind => {
                    return Err(Error::LeadsNowhere {
                        link: link.clone(),
                        path,
                    });
                }
                _ if !make => return Err(Error::Missing { path }),
                _ => {}
            }
            match fs::mkdirat(&self.at, name, DIRECTORY_MODE) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(e) => return Err(error(e)),
            }
            let parent = fs::openat(&self.at, ".", READ, Mode::empty()).map_err(error)?;
            fs::fsync(parent).map_err(error)?;
            found = fs::openat(&self.at, name, LOOK, Mode::empty());
        }
        let found = found.map_err(error)?;
        let stat = fs::fstat(&found).map_err(error)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                (self.at, self.path) = (found, path);
                self.check(true)
            }
            FileType::Symlink => {
                // Everybody may write to a link, says its mode; but nobody can.
                if stat.st_uid != 0 && stat.st_uid != rustix::process::geteuid().as_raw() {
                    return Err(Error::Foreign {
                        path,
                        uid: stat.st_uid,
                    });
                }
                self.links += 1;
                if self.links > LINKS_MAX {
                    return Err(Error::Links { path });
                }
                let target = fs::readlinkat(&found, "", Vec::new()).map_err(error)?;
                let target = OsString::from_vec(target.into_bytes());
                if target.as_bytes().starts_with(b"/") {
                    (self.at, self.path) = (root()?, "/".into());
                }
                self.link = Some((path, self.left.len()));
                self.then(Path::new(&target));
                Ok(())
            }
            _ => Err(Error::Odd {
                path,
                what: "is no directory",
            }),
        }
    }

    fn check(&self, on_the_way: bool) -> Result<(), Error> {
        let stat = fs::fstat(&self.at);
        let stat = stat.map_err(|e| Error::Io {
            path: self.path.clone(),
            source: e.into(),
        })?;
        ours(&stat, &self.path, on_the_way)
    }
}
