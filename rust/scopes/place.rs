// SPDX-License-Identifier: GPL-2.0

//! Where a file is: all that its scope may be written as.
//!
//! A client may name one file by several handles: nfsd takes each form of an export's fsid, whatever exports(5) says
//! of it. So a file has up to four identities: what the handle says, what its export is now, the device of its file
//! system, and the export that its own one is below. A scope has the file if it has one of them.
//!
//! This file makes no kernel calls; it is also compiled and tested on the host.

use crate::scopes::scope::{in_handle, Fsid, Scope};

/// Length of the longest fsid in a file handle, in bytes.
pub(crate) const FSID_MAX: usize = 24;

/// Length of an fsid in a file handle, by its type (`key_len()` in `fs/nfsd/nfsfh.h`).
const FSID_LEN: [usize; 8] = [8, 4, 12, 8, 8, 8, 16, FSID_MAX];

/// The part of a file handle that says which export it is of, as the client has it: its type and its bytes. Other
/// than a [`Fsid`], some have the number of the export's root inode, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Form {
    kind: u8,
    bytes: [u8; FSID_MAX],
}

impl Form {
    /// None is before this.
    pub(crate) const FIRST: Form = Form {
        kind: 0,
        bytes: [0; FSID_MAX],
    };

    /// That of a type (`enum fsid_type` in `fs/nfsd/nfsfh.h`) and the bytes that follow, of which the first ones
    /// count. `None` if there is no such type, or are too few bytes.
    pub(crate) fn new(kind: u8, data: &[u8]) -> Option<Self> {
        // Each lock comes by here: a copy of some length costs more than one of each.
        let bytes = match Self::len(kind)? {
            4 => padded::<4>(data)?,
            8 => padded::<8>(data)?,
            12 => padded::<12>(data)?,
            16 => padded::<16>(data)?,
            _ => padded::<FSID_MAX>(data)?,
        };
        Some(Form { kind, bytes })
    }

    /// The length of the bytes of a type.
    pub(crate) fn len(kind: u8) -> Option<usize> {
        FSID_LEN.get(usize::from(kind)).copied()
    }

    /// That of a file handle; `None` if it is not one of nfsd's.
    pub(crate) fn of_handle(handle: &[u8]) -> Option<Self> {
        let (kind, rest) = in_handle(handle)?;
        Self::new(kind, rest)
    }

    /// The type.
    pub(crate) fn kind(&self) -> u8 {
        self.kind
    }

    /// The bytes; zeros follow a shorter one.
    pub(crate) fn bytes(&self) -> &[u8; FSID_MAX] {
        &self.bytes
    }

    /// All of it, in words.
    pub(crate) fn words(&self) -> impl Iterator<Item = u64> + '_ {
        let words = self.bytes.chunks_exact(8);
        let words = words.map(|word| word.try_into().map_or(0, u64::from_ne_bytes));
        core::iter::once(u64::from(self.kind)).chain(words)
    }

    /// The fsid.
    pub(crate) fn fsid(&self) -> Option<Fsid> {
        Fsid::of_form(self.kind, &self.bytes)
    }
}

/// The first `N` bytes, and zeros; `None` if there are fewer.
fn padded<const N: usize>(data: &[u8]) -> Option<[u8; FSID_MAX]> {
    let mut bytes = [0; FSID_MAX];
    bytes[..N].copy_from_slice(data.get(..N)?);
    Some(bytes)
}

/// The UUID of a file system; zeros for all that have none.
pub(crate) type FileSystem = [u8; 16];

/// An export, as a daemon has it on record when the server has stopped. File systems are exported by other fsids one day,
/// and one by several at a time: so that can be told by the file system, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ExportId {
    /// Its fsid.
    pub(crate) fsid: Fsid,
    /// Its file system.
    pub(crate) file_system: FileSystem,
}

/// Where a file is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// What the handle says that it was named by.
    pub(crate) handle: Option<Fsid>,
    /// The fsid of its export, as it is exported now or was last.
    pub(crate) export: Option<Fsid>,
    /// The device of its file system.
    pub(crate) device: Option<Fsid>,
    /// The fsid of the export that its own one is a part of: what is mounted below an export with `crossmnt`, or is
    /// exported with `nohide`, and has no number of its own.
    pub(crate) above: Option<Fsid>,
    /// Its file system.
    pub(crate) file_system: Option<FileSystem>,
}

impl Place {
    /// One of which only the handle is known.
    pub(crate) fn of_handle(handle: Option<Fsid>) -> Self {
        Place {
            handle,
            ..Place::default()
        }
    }

    /// Its identities, each once.
    pub(crate) fn fsids(&self) -> impl Iterator<Item = Fsid> {
        // For each lock while something is in grace: a loop over all of them would cost more.
        let export = self.export.filter(|_| self.export != self.handle);
        let device = self
            .device
            .filter(|_| self.device != self.handle && self.device != self.export);
        let above = self
            .above
            .filter(|_| ![self.handle, self.export, self.device].contains(&self.above));
        [self.handle, export, device, above].into_iter().flatten()
    }

    /// Its export, if it is known.
    pub(crate) fn export_id(&self) -> Option<ExportId> {
        Some(ExportId {
            fsid: self.shown()?,
            file_system: self.file_system?,
        })
    }

    /// Its export, as lists show it: the same by whatever handle it was reached, if that is known.
    pub(crate) fn shown(&self) -> Option<Fsid> {
        self.export.or(self.handle)
    }
}

impl Scope {
    /// Is what is there of this scope? Never for an address.
    pub(crate) fn covers(&self, place: &Place) -> bool {
        place.fsids().any(|fsid| self.has(&fsid))
    }
}
