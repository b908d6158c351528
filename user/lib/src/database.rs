// SPDX-License-Identifier: GPL-2.0
//! nfsdcld's database: who is on record, and so may reclaim after a restart.
//!
//! nfsdcld (`utils/nfsdcld/sqlite.c` of nfs-utils) has a table for each epoch: `rec-` and 16 hexadecimal
//! digits, with the client's name in `id` and the hash of its principal, if it has one, in `princhash`.
//! Both epochs count: who had not reclaimed yet may do so.
//!
//! That of another server comes from a disk that others may have written to, and nothing of it is
//! trusted. Only files that are plain are read, without following links, and copied with what SQLite
//! needs to complete or take back a transaction, up to a bound. A name of a table becomes a part of SQL
//! only if it is one of nfsdcld's own. Views, triggers and virtual tables are not looked into. The bytes
//! that come out are names of clients, or are passed over. Time and memory have bounds.

use crate::owner::Owner;
use rusqlite::limits::Limit;
use rusqlite::types::ValueRef;
use rusqlite::{config::DbConfig, Connection, OpenFlags};
use rustix::fs::{self, Mode, OFlags};
use rustix::io::Errno;
use std::fs::{File, Permissions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The database's name in its directory.
const NAME: &str = "main.sqlite";
/// What belongs to it: a rollback journal, or a log of what is not in it yet.
const JOURNALS: [&str; 2] = ["main.sqlite-journal", "main.sqlite-wal"];
/// The longest file, in bytes: some millions of clients.
const FILE_MAX: u64 = 1 << 30;
/// The longest value, in bytes; names have 1024, and a table's definition some hundred.
const VALUE_MAX: i32 = 16 << 10;
/// How long reading may take.
const TIME_MAX: Duration = Duration::from_secs(60);
/// SQLite looks at the time each time it has done so many steps.
const STEPS: i32 = 10_000;
/// How long a writer may keep us waiting.
const PATIENCE: Duration = Duration::from_secs(5);
/// What SQLite may take of memory, in bytes.
const MEMORY_MAX: u32 = 64 << 20;
/// Tables of nfsdcld's at a time: the current epoch, the one before, and what is being made.
const TABLES_MAX: usize = 16;
/// The end of a rollback journal that names another file (`aJournalMagic` of SQLite's `pager.c`).
const JOURNAL_MAGIC: [u8; 8] = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];

/// Why a database cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is none.
    #[error("there is no {}: --database says in which directory it is", .0.display())]
    Absent(PathBuf),
    /// It is not what nfsdcld has written.
    #[error("{} {why}, so nfsdcld has not written it: who else can write there?", .file.display())]
    Odd {
        /// The file.
        file: PathBuf,
        /// What is odd.
        why: &'static str,
    },
    /// It cannot be read, or not be copied.
    #[error("cannot read {}: {source}", .file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// SQLite cannot read it.
    #[error("cannot read {}: {source}: is it a database of nfsdcld?", .file.display())]
    Sqlite {
        /// The file.
        file: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
}

/// A database that is open.
#[derive(Debug)]
pub struct Database {
    connection: Connection,
    file: PathBuf,
    /// A copy's place, which goes with it.
    _copy: Option<tempfile::TempDir>,
}

impl Database {
    /// That of this server's nfsdcld, which may be writing.
    pub fn of_own(directory: &Path) -> Result<Self, Error> {
        let file = directory.join(NAME);
        let failed = |source| Error::File {
            file: file.clone(),
            source,
        };
        let open = open_directory(directory)?;
        // What is odd is said in the same way.
        find(&open, directory, NAME)?.ok_or_else(|| Error::Absent(file.clone()))?;
        let real = directory.canonicalize().map_err(failed)?.join(NAME);
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        Self::open(&real, file, flags, None, TIME_MAX)
    }

    /// That of another server, as it was when it crashed: a copy is read.
    pub fn of_other(directory: &Path) -> Result<Self, Error> {
        Self::within(directory, TIME_MAX)
    }

    fn within(directory: &Path, time: Duration) -> Result<Self, Error> {
        let file = directory.join(NAME);
        let failed = |source| Error::File {
            file: file.clone(),
            source,
        };
        let from = open_directory(directory)?;
        // Nobody else gets into it.
        let copy = tempfile::Builder::new()
            .prefix("nfsd-ha-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir()
            .map_err(failed)?;
        for name in std::iter::once(NAME).chain(JOURNALS) {
            match find(&from, directory, name)? {
                Some(mut original) => {
                    copy_file(
                        &mut original,
                        &directory.join(name),
                        &copy.path().join(name),
                    )?;
                }
                None if name == NAME => return Err(Error::Absent(file)),
                None => {}
            }
        }
        let path = copy.path().join(NAME);
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

    /// Tells of each client on record: its name, and the hash of its principal in hexadecimal digits. One
    /// may come twice.
    pub fn each(&self, mut tell: impl FnMut(Owner, Option<String>)) -> Result<(), Error> {
        let failed = |source| Error::Sqlite {
            file: self.file.clone(),
            source,
        };
        for table in self.tables().map_err(failed)? {
            self.each_of(&table, &mut tell).map_err(failed)?;
        }
        Ok(())
    }

    fn tables(&self) -> rusqlite::Result<Vec<String>> {
        let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND rootpage > 0";
        let mut statement = self.connection.prepare(sql)?;
        let names = statement.query_map((), |row| match row.get_ref(0)? {
            ValueRef::Text(name) => Ok(String::from_utf8_lossy(name).into_owned()),
            _ => Ok(String::new()),
        })?;
        let ours = names.filter(|name| name.as_ref().map_or(true, |name| is_epoch(name)));
        ours.take(TABLES_MAX).collect()
    }

    fn each_of(
        &self,
        table: &str,
        tell: &mut impl FnMut(Owner, Option<String>),
    ) -> rusqlite::Result<()> {
        // Only letters, digits and a dash are in it.
        debug_assert!(is_epoch(table));
        let prepare = |columns| {
            self.connection
                .prepare(&format!("SELECT {columns} FROM \"{table}\""))
        };
        // Older ones have no principals.
        let mut statement = prepare("id, princhash").or_else(|_| prepare("id, NULL"))?;
        let mut rows = statement.query(())?;
        while let Some(row) = rows.next()? {
            let Ok(owner) = Owner::new(bytes(row.get_ref(0)?)) else {
                continue;
            };
            let hash = sha256(bytes(row.get_ref(1)?));
            tell(owner, hash);
        }
        Ok(())
    }
}

/// Is this the name of a table of nfsdcld's with records?
fn is_epoch(name: &str) -> bool {
    let digits = name.strip_prefix("rec-").unwrap_or_default();
    digits.len() == 16 && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
}

fn bytes(value: ValueRef<'_>) -> &[u8] {
    match value {
        ValueRef::Blob(bytes) | ValueRef::Text(bytes) => bytes,
        _ => &[],
    }
}

/// The digits of a SHA-256; nothing if it is none.
fn sha256(hash: &[u8]) -> Option<String> {
    (hash.len() == 32).then(|| crate::owner::digits(hash))
}

fn open_directory(directory: &Path) -> Result<OwnedFd, Error> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match fs::open(directory, flags, Mode::empty()) {
        Ok(open) => Ok(open),
        Err(Errno::NOENT | Errno::NOTDIR) => Err(Error::Absent(directory.join(NAME))),
        Err(e) => Err(Error::File {
            file: directory.to_owned(),
            source: e.into(),
        }),
    }
}

/// Opens a plain file, if it is there.
fn find(directory: &OwnedFd, path: &Path, name: &str) -> Result<Option<File>, Error> {
    let file = path.join(name);
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let found = match fs::openat(directory, name, flags, Mode::empty()) {
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

fn copy_file(original: &mut File, name: &Path, to: &Path) -> Result<(), Error> {
    let mut copy = || -> io::Result<bool> {
        let mut copy = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(to)?;
        io::copy(&mut original.take(FILE_MAX), &mut copy)?;
        // SQLite removes the file that a journal names, whatever it is, when it has rolled it back. nfsdcld
        // has no transaction of several databases, for which this was made.
        let length = copy.metadata()?.len();
        let mut end = [0; JOURNAL_MAGIC.len()];
        if to.ends_with(JOURNALS[0]) && length >= 2 * end.len() as u64 {
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

#[cfg(any(test, fuzzing))]
pub mod laws;
#[cfg(test)]
mod tests;
