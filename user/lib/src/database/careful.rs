// SPDX-License-Identifier: GPL-2.0
//! Files of SQLite that nobody trusts, opened so that what is in them does no harm.

use super::Error;
use rusqlite::limits::Limit;
use rusqlite::{config::DbConfig, Connection, OpenFlags};
use rustix::fs::{self, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::{File, Permissions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What daemons call their databases, each in a directory of its own.
pub(super) const NAMES: [&str; 2] = ["main.sqlite", "records.sqlite"];
/// A rollback journal. Its name is that of the file, and this.
pub(super) const JOURNAL: &str = "-journal";
/// A log of what is not in the file yet. What SQLite has beside it (`-shm`) is made anew from it.
pub(super) const LOG: &str = "-wal";
/// What a copy is called.
const COPY: &str = "copy.sqlite";
/// The longest file, in bytes: some millions of clients.
pub(super) const FILE_MAX: u64 = 1 << 30;
/// The longest value, in bytes; names have 1024, and a table's definition some hundred.
const VALUE_MAX: i32 = 16 << 10;
/// How long reading may take.
pub(super) const TIME_MAX: Duration = Duration::from_secs(60);
/// SQLite looks at the time each time it has done so many steps.
const STEPS: i32 = 10_000;
/// How long a writer may keep us waiting.
const PATIENCE: Duration = Duration::from_secs(5);
/// What SQLite may take of memory, in bytes.
const MEMORY_MAX: u32 = 64 << 20;
/// The end of a rollback journal that names another file (`aJournalMagic` of SQLite's `pager.c`).
pub(super) const JOURNAL_MAGIC: [u8; 8] = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];

/// A file of SQLite that is open to be read.
#[derive(Debug)]
pub(crate) struct Careful {
    /// Where SQLite has it open.
    pub connection: Connection,
    /// What people call it.
    pub file: PathBuf,
    /// A copy's place, which goes with it.
    _copy: Option<tempfile::TempDir>,
}

impl Careful {
    /// Opens a file where it is: one that only those can change whom we trust, and who may be writing.
    pub fn in_place(real: &Path, file: PathBuf) -> Result<Self, Error> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        Self::open(real, file, flags, None, TIME_MAX)
    }

    /// Opens a copy of a file and of what belongs to it, with which SQLite may do what it likes.
    pub fn copied(place: &Place, time: Duration) -> Result<Self, Error> {
        let file = place.file("");
        let mut original = place.find("")?.ok_or_else(|| Error::Absent(file.clone()))?;
        // Nobody else gets into it.
        let copy = tempfile::Builder::new()
            .prefix("nfsd-ha-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir()
            .map_err(|source| Error::File {
                file: file.clone(),
                source,
            })?;
        let path = copy.path().join(COPY);
        copy_file(&mut original, &file, &path)?;
        for suffix in [JOURNAL, LOG] {
            if let Some(mut original) = place.find(suffix)? {
                let to = copy.path().join(format!("{COPY}{suffix}"));
                copy_file(&mut original, &place.file(suffix), &to)?;
            }
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        Self::open(&path, file, flags, Some(copy), time)
    }

    fn open(
        path: &Path,
        file: PathBuf,
        flags: OpenFlags,
        copy: Option<tempfile::TempDir>,
        time: Duration,
    ) -> Result<Self, Error> {
        let open = || {
            let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let connection = Connection::open_with_flags(path, flags)?;
            connection.busy_timeout(PATIENCE)?;
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false)?;
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
            connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, VALUE_MAX);
            connection.set_limit(Limit::SQLITE_LIMIT_SQL_LENGTH, VALUE_MAX);
            connection.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0);
            connection.set_limit(Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 16);
            connection.pragma_update(None, "hard_heap_limit", MEMORY_MAX)?;
            connection.pragma_update(None, "cell_size_check", true)?;
            connection.pragma_update(None, "mmap_size", 0)?;
            let began = Instant::now();
            connection.progress_handler(STEPS, Some(move || began.elapsed() > time));
            Ok(connection)
        };
        match open() {
            Ok(connection) => Ok(Self {
                connection,
                file,
                _copy: copy,
            }),
            Err(source) => Err(Error::Sqlite { file, source }),
        }
    }

    /// Is this a table that has rows of its own? A view or a virtual table has not.
    pub fn has_table(&self, name: &str) -> rusqlite::Result<bool> {
        let sql = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND rootpage > 0 AND name = ?1";
        let tables: i64 = self.connection.query_row(sql, (name,), |row| row.get(0))?;
        Ok(tables > 0)
    }
}

/// Where a database is: its directory stays open.
#[derive(Debug)]
pub(crate) struct Place {
    directory: OwnedFd,
    path: PathBuf,
    name: OsString,
}

impl Place {
    /// Finds the database that an admin has named: the file, or the directory that it is in.
    pub fn of(path: &Path) -> Result<Self, Error> {
        if let Some(directory) = open_directory(path)? {
            return Self::within(directory, path);
        }
        let absent = || Error::Absent(path.to_owned());
        let name = path.file_name().ok_or_else(absent)?.to_owned();
        let path = match path.parent() {
            Some(parent) if parent != Path::new("") => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        Ok(Self {
            directory: open_directory(&path)?.ok_or_else(absent)?,
            path,
            name,
        })
    }

    fn within(directory: OwnedFd, path: &Path) -> Result<Self, Error> {
        let mut place = Self {
            directory,
            path: path.to_owned(),
            name: OsString::new(),
        };
        let mut there = Vec::new();
        for name in NAMES {
            place.name = name.into();
            if place.find("")?.is_some() {
                there.push(name);
            }
        }
        match there[..] {
            [name] => {
                place.name = name.into();
                Ok(place)
            }
            [] => Err(Error::Absent(path.join(NAMES[0]))),
            _ => Err(Error::Several(path.to_owned())),
        }
    }

    /// The file, or what belongs to it.
    pub fn file(&self, suffix: &str) -> PathBuf {
        self.path.join(self.name_of(suffix))
    }

    fn name_of(&self, suffix: &str) -> OsString {
        let mut name = self.name.clone();
        name.push(OsStr::new(suffix));
        name
    }

    /// Opens the file, or what belongs to it, if that is there. Fails if it is no plain one.
    pub fn find(&self, suffix: &str) -> Result<Option<File>, Error> {
        let file = self.file(suffix);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = fs::openat(&self.directory, self.name_of(suffix), flags, Mode::empty());
        let found = match opened {
            Ok(found) => File::from(found),
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => {
                return Err(Error::Odd {
                    file,
                    why: "is a link",
                })
            }
            Err(e) => {
                return Err(Error::File {
                    file,
                    source: e.into(),
                })
            }
        };
        match found.metadata() {
            Ok(metadata) if !metadata.is_file() => Err(Error::Odd {
                file,
                why: "is no plain file",
            }),
            Ok(metadata) if metadata.len() > FILE_MAX => Err(Error::Odd {
                file,
                why: "has more than 1 GiB",
            }),
            Ok(_) => Ok(Some(found)),
            Err(source) => Err(Error::File { file, source }),
        }
    }
}

/// Opens a directory; `None` if it is something else.
fn open_directory(path: &Path) -> Result<Option<OwnedFd>, Error> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match fs::open(path, flags, Mode::empty()) {
        Ok(open) => Ok(Some(open)),
        Err(Errno::NOTDIR) => Ok(None),
        Err(Errno::NOENT) => Err(Error::Absent(path.to_owned())),
        Err(e) => Err(Error::File {
            file: path.to_owned(),
            source: e.into(),
        }),
    }
}

fn copy_file(original: &mut File, name: &Path, to: &Path) -> Result<(), Error> {
    let mut copy = || -> io::Result<bool> {
        let mut copy = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(to)?;
        io::copy(&mut original.take(FILE_MAX), &mut copy)?;
        // SQLite removes the file that a journal names, whatever it is, when it has rolled it back. No daemon
        // has a transaction of several databases, for which this was made.
        let length = copy.metadata()?.len();
        let mut end = [0; JOURNAL_MAGIC.len()];
        let is_journal = to.to_string_lossy().ends_with(JOURNAL);
        if is_journal && length >= 2 * end.len() as u64 {
            copy.seek(SeekFrom::End(-(end.len() as i64)))?;
            copy.read_exact(&mut end)?;
        }
        Ok(end != JOURNAL_MAGIC)
    };
    match copy() {
        Ok(true) => Ok(()),
        Ok(false) => Err(Error::Odd {
            file: name.to_owned(),
            why: "names another file",
        }),
        Err(source) => Err(Error::File {
            file: name.to_owned(),
            source,
        }),
    }
}
