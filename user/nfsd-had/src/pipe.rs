// SPDX-License-Identifier: GPL-2.0
//! The kernel's end of the conversation: the pipe `nfsd/cld` of rpc_pipefs.
//!
//! It is there as long as a server runs, and comes and goes with that. Each read is one message, or nothing
//! (`rpc_pipe_read()` in `net/sunrpc/rpc_pipe.c`); each write is one answer.

use nfsd_ha::cld::UPCALL_MAX;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The pipe, open.
#[derive(Debug)]
pub struct Pipe(File);

impl Pipe {
    /// The next message, if one has come.
    pub fn read(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut message = [0; UPCALL_MAX];
        match self.0.read(&mut message) {
            Ok(0) => Ok(None),
            Ok(length) => Ok(Some(message[..length].to_vec())),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Answers. Fails if nobody waits for that any more.
    pub fn write(&mut self, answer: &[u8]) -> io::Result<()> {
        self.0.write(answer).map(drop)
    }
}

impl AsFd for Pipe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The place where the pipe comes and goes.
#[derive(Debug)]
pub struct Place {
    pipe: PathBuf,
    directory: PathBuf,
    /// What tells of that, if this machine has one more of these for us.
    news: Option<OwnedFd>,
    watched: bool,
}

impl Place {
    /// That of a mount of rpc_pipefs.
    pub fn new(pipefs: &Path) -> Self {
        let directory = pipefs.join("nfsd");
        Self {
            pipe: directory.join("cld"),
            directory,
            news: None,
            watched: false,
        }
    }

    /// Begins to watch it, unless that was done, or rpc_pipefs is not mounted.
    pub fn watch(&mut self) -> io::Result<()> {
        if self.watched {
            return Ok(());
        }
        let news = match self.news.take() {
            Some(news) => news,
            None => inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?,
        };
        let flags = WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::ONLYDIR;
        let added = inotify::add_watch(self.news.insert(news), &self.directory, flags);
        match added {
            Ok(_) => self.watched = true,
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(e) => return Err(e.into()),
        }
        Ok(())
    }

    /// Is it watched? Else one has to look again and again.
    pub fn is_watched(&self) -> bool {
        self.watched
    }

    /// For poll(): it is readable when something has come or gone.
    pub fn news(&self) -> Option<&OwnedFd> {
        self.news.as_ref()
    }

    /// Forgets what has happened there: it is looked for.
    pub fn seen(&mut self) -> io::Result<()> {
        let Some(news) = &self.news else {
            return Ok(());
        };
        let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(news, &mut buffer);
        loop {
            match events.next() {
                // The file system is unmounted.
                Ok(event) if event.events().contains(inotify::ReadFlags::IGNORED) => {
                    self.watched = false;
                }
                Ok(_) => {}
                Err(Errno::WOULDBLOCK) => return Ok(()),
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// Opens the pipe, if it is there.
    pub fn open(&self) -> io::Result<Option<Pipe>> {
        let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW;
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(flags.bits() as i32)
            .open(&self.pipe);
        match opened {
            Ok(file) => Ok(Some(Pipe(file))),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            // Its server is about to go.
            Err(e) if e.raw_os_error() == Some(Errno::NXIO.raw_os_error()) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Is this the pipe that is there now? That of another server is another one.
    pub fn has(&self, pipe: &Pipe) -> bool {
        let same = || {
            let (ours, there) = (pipe.0.metadata()?, self.pipe.symlink_metadata()?);
            io::Result::Ok((ours.dev(), ours.ino()) == (there.dev(), there.ino()))
        };
        same().unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{poll, PollFd, PollFlags, Timespec};
    use std::fs;

    #[test]
    fn the_pipe_is_found_with_a_watch_and_without() {
        for watch in [true, false] {
            let directory = tempfile::tempdir().unwrap();
            let mut place = Place::new(directory.path());
            if watch {
                place.watch().unwrap();
            }
            assert!(!place.is_watched(), "rpc_pipefs is not mounted");
            assert!(place.open().unwrap().is_none());
            let nfsd = directory.path().join("nfsd");
            fs::create_dir(&nfsd).unwrap();
            if watch {
                place.watch().unwrap();
            }
            assert_eq!(place.is_watched(), watch);
            for _ in 0..2 {
                fs::write(nfsd.join("cld"), "").unwrap();
                let pipe = place.open().unwrap().unwrap();
                assert!(place.has(&pipe));
                fs::remove_file(nfsd.join("cld")).unwrap();
                assert!(!place.has(&pipe));
                if let Some(news) = place.news() {
                    let mut news = [PollFd::new(news, PollFlags::IN)];
                    assert_eq!(poll(&mut news, Some(&Timespec::default())), Ok(1));
                }
                place.seen().unwrap();
            }
        }
    }
}
