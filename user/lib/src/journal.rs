// SPDX-License-Identifier: GPL-2.0
//! What is known of a move, so that who repeats it, or turns back, knows it, too: after ^C, a failure, or
//! a reset of this node.
//!
//! For each file system that has moved there are two files, named by where it is mounted, in a directory
//! that is root's only:
//!
//! | file | what is in it |
//! |---|---|
//! | `PATH.json` | a [`Journal`]: what was there before anything was changed |
//! | `PATH.list` | who may reclaim, once that is known: while this is there, nobody makes another list |
//! | `PATH.lock` | locked while a move is at work |
//!
//! It has facts, not progress: which steps are done is seen by looking at addresses, exports and mounts,
//! as an admin may have done some by hand.

mod moment;

pub use moment::Moment;

use crate::exports::{self, Export};
use crate::files::{self, Directory};
use crate::mounts::{escape, unescape, Mount, Source};
use crate::net::connections::Connection;
use crate::net::place::Placed;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fs::File;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Where moves are noted. It is not on a file system that is exported, as a client's root could change what
/// is there.
pub const DIRECTORY: &str = "/var/lib/nfsd-ha/moves";
/// The largest file that is read, in bytes: a list of 100,000 clients with long names.
const FILE_MAX: usize = 256 << 20;
/// As many file systems may have moved.
const MOVES_MAX: usize = 10_000;

/// A journal could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The directory, or a file in it.
    #[error(transparent)]
    Files(#[from] files::Error),
    /// It is not what this program writes.
    #[error("{} is no journal of a move: {source}; remove it if it is of no use", .path.display())]
    NoJournal {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// One is at work at a time.
    #[error("another nfsd-ha is at work on {}: wait until it has ended", .0.display())]
    AtWork(PathBuf),
}

/// Where a file system goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Away from this node.
    Out,
    /// To this node.
    In,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// The step.
    pub name: String,
    /// What there is to say of it.
    pub what: String,
    /// How long it took.
    pub seconds: f64,
}

/// A file system that moves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Journal {
    /// Where to.
    pub direction: Direction,
    /// When it began: seconds of the wall clock.
    pub began: u64,
    /// The same by the time since the boot. Of one that comes back it is when it left from here, until all is done.
    #[serde(default)]
    pub since: Option<Moment>,
    /// Was all done?
    pub finished: bool,
    /// Is it mounted and unmounted with the move?
    pub mounts: bool,
    path: String,
    source: String,
    kind: String,
    options: String,
    exports: Vec<String>,
    /// The addresses that move with it, as they were or will be on this node.
    pub addresses: Vec<Placed>,
    connections: Vec<String>,
    /// What was done by the last run that came to an end.
    pub steps: Vec<Step>,
}

impl Journal {
    /// One that begins now.
    pub fn new(direction: Direction, path: &Path) -> Self {
        let began = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        Self {
            direction,
            began: began.as_secs(),
            since: Moment::now(),
            finished: false,
            mounts: true,
            path: escape(path.as_os_str().as_bytes()),
            source: String::new(),
            kind: String::new(),
            options: String::new(),
            exports: Vec::new(),
            addresses: Vec::new(),
            connections: Vec::new(),
            steps: Vec::new(),
        }
    }

    /// Where the file system is mounted.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(OsString::from_vec(unescape(self.path.as_bytes())))
    }

    /// How it was mounted, if that is known.
    pub fn source(&self) -> Option<Source> {
        (!self.source.is_empty()).then(|| Source {
            device: OsString::from_vec(unescape(self.source.as_bytes())),
            kind: Some(self.kind.clone()),
            options: Some(self.options.clone()),
        })
    }

    /// Notes how it is mounted.
    pub fn set_source(&mut self, mount: &Mount) {
        self.source = escape(mount.source.as_bytes());
        self.kind = mount.kind.clone();
        self.options = mount.all_options();
    }

    /// What is exported on it.
    pub fn exports(&self) -> Vec<Export> {
        self.exports
            .iter()
            .filter_map(|word| exports::from_word(word).ok())
            .collect()
    }

    /// Who was connected to the addresses.
    pub fn connections(&self) -> Vec<Connection> {
        self.connections
            .iter()
            .filter_map(|line| line.parse().ok())
            .collect()
    }

    /// Notes who is connected to the addresses.
    pub fn set_connections(&mut self, connections: &[Connection]) {
        self.connections = connections.iter().map(Connection::to_string).collect();
    }

    /// Notes what is exported on it.
    pub fn set_exports(&mut self, exports: &[Export]) {
        self.exports = exports.iter().map(exports::word).collect();
    }
}

/// A path as a file's name: `/srv/ha` is `srv-ha`; other bytes than letters, digits, dots and underscores are
/// `%HH`.
fn name(path: &Path) -> String {
    let path = path.as_os_str().as_bytes();
    let relative = path.strip_prefix(b"/").unwrap_or(path);
    let mut name = String::new();
    for byte in relative {
        match byte {
            b'/' => name.push('-'),
            b'_' | b'.' => name.push(char::from(*byte)),
            _ if byte.is_ascii_alphanumeric() => name.push(char::from(*byte)),
            _ => name.push_str(&format!("%{byte:02x}")),
        }
    }
    // The root; and a name that begins with a dot would be hidden, or lead elsewhere.
    match name.as_bytes() {
        [] => "-".into(),
        [b'.', ..] => format!("%2e{}", &name[1..]),
        _ => name,
    }
}

/// The journals of this node.
#[derive(Debug)]
pub struct Journals(Directory);

impl Journals {
    /// Opens their directory, which is made if it is not there.
    pub fn open() -> Result<Self, Error> {
        Self::at(Path::new(DIRECTORY))
    }

    fn at(path: &Path) -> Result<Self, Error> {
        Ok(Self(Directory::make(path)?))
    }

    /// Those of all file systems. One that cannot be read is left out.
    pub fn all(&self) -> Result<Vec<Journal>, Error> {
        let names = self.0.names(3 * MOVES_MAX)?;
        let names = names
            .iter()
            .filter_map(|name| name.to_str()?.strip_suffix(".json"));
        Ok(names.filter_map(|name| read(&self.0, name).ok()?).collect())
    }

    /// That of a file system, for whoever is at work on it. Fails with [`Error::AtWork`] if another process
    /// is.
    pub fn of(&self, path: &Path) -> Result<Notes<'_>, Error> {
        let name = name(path);
        let lock = self.0.try_lock(&format!("{name}.lock"))?;
        let lock = lock.ok_or_else(|| Error::AtWork(path.to_owned()))?;
        Ok(Notes {
            directory: &self.0,
            name,
            _lock: lock,
        })
    }

    /// The same for who only looks, and does not mind others.
    pub fn look(&self, path: &Path) -> Result<Option<Journal>, Error> {
        read(&self.0, &name(path))
    }
}

fn read(directory: &Directory, name: &str) -> Result<Option<Journal>, Error> {
    let file = format!("{name}.json");
    let Some(text) = directory.read(&file, FILE_MAX)? else {
        return Ok(None);
    };
    let path = directory.path().join(file);
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(|source| Error::NoJournal { path, source })
}

/// The files of one move.
#[derive(Debug)]
pub struct Notes<'a> {
    directory: &'a Directory,
    name: String,
    _lock: File,
}

impl Notes<'_> {
    /// The journal, if there is one.
    pub fn journal(&self) -> Result<Option<Journal>, Error> {
        read(self.directory, &self.name)
    }

    /// Writes the journal, for good.
    pub fn save(&self, journal: &Journal) -> Result<(), Error> {
        let text = serde_json::to_vec_pretty(journal).expect("strings and numbers");
        Ok(self
            .directory
            .replace(&format!("{}.json", self.name), &text)?)
    }

    /// The list of who may reclaim, if one was made.
    pub fn list(&self) -> Result<Option<Vec<u8>>, Error> {
        Ok(self
            .directory
            .read(&format!("{}.list", self.name), FILE_MAX)?)
    }

    /// Writes the list, for good.
    pub fn save_list(&self, list: &[u8]) -> Result<(), Error> {
        Ok(self
            .directory
            .replace(&format!("{}.list", self.name), list)?)
    }

    /// Where the list is.
    pub fn list_path(&self) -> PathBuf {
        self.directory.path().join(format!("{}.list", self.name))
    }
}

#[cfg(any(test, fuzzing))]
pub mod laws;
#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn journals() -> (tempfile::TempDir, Journals) {
        let directory = tempfile::tempdir().unwrap();
        let journals = Journals::at(&directory.path().join("a/moves")).unwrap();
        (directory, journals)
    }

    #[test]
    fn what_is_noted_is_read_back() {
        let (_directory, journals) = journals();
        let path = Path::new("/srv/ha");
        let notes = journals.of(path).unwrap();
        assert_eq!(notes.journal().unwrap(), None);
        let mut journal = Journal::new(Direction::Out, path);
        journal.addresses = vec![
            Placed::new("192.0.2.50".parse().unwrap(), 24, "eth0"),
            Placed::new("2001:db8::50".parse().unwrap(), 64, "eth0"),
        ];
        let connections = vec!["[2001:db8::50]:2049 [2001:db8::7]:700".parse().unwrap()];
        journal.set_connections(&connections);
        let exports: Vec<Export> = vec![
            "*:/srv/ha(rw,fsid=1234)".parse().unwrap(),
            "[2001:db8::]/32:/srv/ha/x(ro)".parse().unwrap(),
        ];
        journal.set_exports(&exports);
        notes.save(&journal).unwrap();
        assert_eq!(journals.look(path).unwrap(), Some(journal.clone()));
        let read = notes.journal().unwrap().unwrap();
        assert_eq!(
            (read.path(), read.exports(), read.source()),
            (path.to_owned(), exports, None)
        );
        assert_eq!(read.connections(), connections);
        assert_eq!(journals.all().unwrap(), [journal]);
        notes.save_list(b"a list").unwrap();
        assert_eq!(notes.list().unwrap().as_deref(), Some(&b"a list"[..]));
    }

    #[test]
    fn one_is_at_work_at_a_time() {
        let (_directory, journals) = journals();
        let path = Path::new("/srv/ha");
        let notes = journals.of(path).unwrap();
        assert!(matches!(journals.of(path), Err(Error::AtWork(_))));
        assert!(journals.of(Path::new("/srv/hb")).is_ok());
        drop(notes);
        assert!(journals.of(path).is_ok());
    }

    #[test]
    fn what_is_no_journal_is_said() {
        let (directory, journals) = journals();
        std::fs::write(directory.path().join("a/moves/srv-ha.json"), "{").unwrap();
        assert!(matches!(
            journals.look(Path::new("/srv/ha")),
            Err(Error::NoJournal { .. })
        ));
        assert_eq!(journals.all().unwrap(), []);
    }

    #[test]
    fn paths_have_names_of_their_own() {
        for (path, expected) in [
            ("/srv/ha", "srv-ha"),
            ("/srv-ha", "srv%2dha"),
            ("/", "-"),
            ("/..", "%2e."),
            ("/srv/h\u{e4}", "srv-h%c3%a4"),
        ] {
            assert_eq!(name(Path::new(path)), expected);
        }
    }

    proptest! {
        #[test]
        fn any_path_and_source_is_read_back(path in proptest::collection::vec(any::<u8>(), 0..40)) {
            let path = PathBuf::from(OsString::from_vec([b"/".to_vec(), path].concat()));
            prop_assert!(!name(&path).contains('/'));
            let journal = Journal::new(Direction::In, &path);
            let text = serde_json::to_vec(&journal).unwrap();
            prop_assert_eq!(serde_json::from_slice::<Journal>(&text).unwrap().path(), path);
        }

        #[test]
        fn any_bytes_are_a_journal_or_none(text in ".{0,200}") {
            laws::journal(text.as_bytes());
        }

        #[test]
        fn what_looks_like_a_journal_too(path in "[/a.\\\\0-7]{0,9}", export in "[*:/a() ]{0,9}", connection in "192.0.2.1:[0-9]{1,5} 192.0.2.2:9") {
            let mut journal = Journal::new(Direction::Out, Path::new("/"));
            (journal.path, journal.source) = (path.clone(), path);
            (journal.exports, journal.connections) = (vec![export], vec![connection]);
            laws::journal(&serde_json::to_vec(&journal).unwrap());
        }
    }
}
