// SPDX-License-Identifier: GPL-2.0
//! Where the records are, for who writes them: the file, its lock, and its log.

use super::{Error, DEFAULT};
use crate::files::Directory;
use rusqlite::{Connection, OpenFlags};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

/// How long another program's transaction is waited for. An upcall waits, too.
const PATIENCE: Duration = Duration::from_secs(1);
/// What SQLite may keep of the file in memory, in KiB.
const CACHE: i64 = 8 << 10;
/// The room that the log has from the beginning, in bytes: all that is written to it until it is copied to the file,
/// which is after 1000 pages, and then begins anew.
const LOG_ROOM: u64 = 1000 * (4096 + 24) + (64 << 10);

/// Which file it is: device and inode.
pub(super) type Identity = (u64, u64);

/// A place that nobody else writes to as long as this is there.
#[derive(Debug)]
pub(super) struct Place {
    pub directory: Directory,
    /// The file's name there.
    pub name: String,
    /// The file.
    pub file: PathBuf,
    pub lock: File,
}

impl Place {
    /// Takes the lock of records. Makes their directory if that is the one of [`DEFAULT`], and not the file.
    ///
    /// Fails if another program has it, and if others could change what is there.
    pub fn lock(file: &Path) -> Result<Self, Error> {
        let name = file.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| Error::Foreign(file.to_owned()))?;
        let parent = match file.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        // Elsewhere, it may be that its file system is not mounted yet.
        let directory = match Some(parent) == Path::new(DEFAULT).parent() {
            true => Directory::make(parent)?,
            false => Directory::open(parent)?,
        };
        let file = directory.path().join(name);
        let lock = directory.try_lock(&format!("{name}-lock"))?;
        Ok(Self {
            lock: lock.ok_or_else(|| Error::InUse(file.clone()))?,
            name: name.to_owned(),
            directory,
            file,
        })
    }
}

pub(super) fn connect(file: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_NOFOLLOW
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    connection.busy_timeout(PATIENCE)?;
    connection.pragma_update(None, "cache_size", -CACHE)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    Ok(connection)
}

/// A number of a file that a copy of it does not have: of its inode, and when that was made.
pub(super) fn number(file: &Path) -> Result<u32, Error> {
    let metadata = file.symlink_metadata().map_err(|source| Error::File {
        file: file.to_owned(),
        source,
    })?;
    // Not each file system knows. A number that was used before would not tell them apart there.
    let made = metadata.created().unwrap_or(UNIX_EPOCH);
    let made = made.duration_since(UNIX_EPOCH).unwrap_or_default();
    let mixed = (made.as_nanos() as u64).rotate_left(32) ^ metadata.ino();
    Ok((mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32)
}

/// Makes the log as long as it will be. To append to a file, a file system writes and syncs where it is, too: half of
/// what it costs to store a client.
///
/// SQLite does not go by the length of its log, but by checksums in it (`walIndexRecover()` in `wal.c`): zeros behind
/// its end are nothing.
pub(super) fn make_room(log: &Path) -> std::io::Result<()> {
    let mut file = File::options().append(true).open(log)?;
    let length = file.metadata()?.len();
    // Not a hole, of which the same would be true.
    std::io::copy(
        &mut std::io::repeat(0).take(LOG_ROOM.saturating_sub(length)),
        &mut file,
    )?;
    file.sync_all()
}

/// Which file has this name now, if one has.
pub(super) fn identity(file: &Path) -> Result<Option<Identity>, Error> {
    match file.symlink_metadata() {
        Ok(metadata) => Ok(Some((metadata.dev(), metadata.ino()))),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::File {
            file: file.to_owned(),
            source,
        }),
    }
}

pub(super) fn failed(file: &Path) -> impl Fn(rusqlite::Error) -> Error + '_ {
    |source| Error::Sqlite {
        file: file.to_owned(),
        source,
    }
}
