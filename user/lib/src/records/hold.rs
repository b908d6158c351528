// SPDX-License-Identifier: GPL-2.0
//! What clients hold something on: exports, as the kernel tells of them.

use crate::owner::Owner;
use rusqlite::types::ValueRef;
use rusqlite::Row;
use std::collections::BTreeMap;
use std::fmt;

/// The longest name of an export, in bytes.
const NAME_MAX: usize = 64;

/// An export's fsid as the kernel has written it: 1 to 64 bytes of visible ASCII.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExportName(String);

impl ExportName {
    /// A name of these bytes; `None` if they are none.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let is_one =
            (1..=NAME_MAX).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic);
        let text = std::str::from_utf8(bytes).ok().filter(|_| is_one)?;
        Some(Self(text.to_owned()))
    }

    /// It as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ExportName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl serde::Serialize for ExportName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// The UUID of a file system (`s_uuid` of its superblock).
pub type FileSystem = uuid::Uuid;

/// Somebody has state on an export, or is about to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// A client of NFSv4; `None`: clients of NLM.
    pub owner: Option<Owner>,
    /// Which export.
    pub export: ExportName,
    /// The file system that it is on, if that is known.
    pub file_system: Option<FileSystem>,
}

impl Hold {
    /// That of a row: name, export and file system. `None` if one of them is not as it should be.
    pub(super) fn of_row(row: &Row<'_>) -> rusqlite::Result<Option<Self>> {
        let values = (row.get_ref(0)?, row.get_ref(1)?, row.get_ref(2)?);
        let (ValueRef::Blob(name), ValueRef::Text(export), ValueRef::Blob(file_system)) = values
        else {
            return Ok(None);
        };
        let owner = match name {
            [] => Some(None),
            name => Owner::new(name).ok().map(Some),
        };
        let file_system = match file_system {
            [] => Some(None),
            uuid => FileSystem::from_slice(uuid).ok().map(Some),
        };
        let hold = |((owner, export), file_system)| Self {
            owner,
            export,
            file_system,
        };
        let parts = owner.zip(ExportName::new(export)).zip(file_system);
        Ok(parts.map(hold))
    }
}

/// Who held something on an export.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holders {
    /// A client of NFSv4, or several.
    pub nfs4: bool,
    /// A client of NLM, or several.
    pub nlm: bool,
}

/// All exports that somebody held something on, each with its file system, if that is known.
pub type Held = BTreeMap<(ExportName, Option<FileSystem>), Holders>;
