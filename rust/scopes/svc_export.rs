// SPDX-License-Identifier: GPL-2.0

//! An export of nfsd's, and a reference to one.
//!
//! C source: `struct svc_export` in `fs/nfsd/export.h`.

use crate::base::private::{self, auth_domain, svc_export};
use crate::base::recent::mix;
use crate::base::vfs::Path;
use crate::scopes::roots::{Export, How, Root};
use crate::scopes::scope::Fsid;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ptr::{addr_of_mut, NonNull};
use kernel::bindings;
use kernel::prelude::*;
use kernel::str::CStr;

/// A client, or many, as exports(5) knows them (`struct auth_domain`).
///
/// # Invariants
///
/// It is valid for `'a`, and has a name as long as that.
#[derive(Clone, Copy)]
pub(crate) struct Domain<'a>(NonNull<auth_domain>, PhantomData<&'a auth_domain>);

impl<'a> Domain<'a> {
    /// The domain at a pointer, unless that is null.
    ///
    /// # Safety
    ///
    /// The pointer is null, or somebody has a reference to the domain for `'a`.
    pub(crate) unsafe fn from_raw(domain: *mut auth_domain) -> Option<Self> {
        // INVARIANT: By this function's requirement; sunrpc gives each its name when it makes it.
        Some(Domain(NonNull::new(domain)?, PhantomData))
    }

    /// Its name.
    pub(crate) fn name(self) -> &'a CStr {
        // SAFETY: The domain is valid, and its name, which ends with a zero, stays as long as it.
        unsafe { CStr::from_char_ptr((*self.0.as_ptr()).name) }
    }

    /// A number that stands for it.
    pub(crate) fn number(self) -> u64 {
        let bytes = self.name().to_bytes().iter();
        bytes.fold(0, |number, byte| mix(number, u64::from(*byte) + 1))
    }
}

/// A directory, or a file, as the root of an export. The number of an inode does not change.
pub(crate) fn root(path: Path<'_>) -> Root {
    let inode = path.inode();
    let (number, generation) = path.numbers();
    Root {
        device: Fsid::of_device(inode.device),
        inode: number,
        address: inode.address,
        generation,
    }
}

/// What an export is, and leads to.
struct Made<'a> {
    flags: u32,
    number: u32,
    path: Path<'a>,
    domain: Option<Domain<'a>>,
    uuid: Option<&'a [u8; 16]>,
    /// All that a note of it depends on.
    words: [u64; 7],
}

/// An export of nfsd's (`struct svc_export`). What is read of it here never changes: for a change, there is a new one.
///
/// # Invariants
///
/// It is valid for `'a`.
#[derive(Clone, Copy)]
pub(crate) struct SvcExport<'a>(NonNull<svc_export>, PhantomData<&'a svc_export>);

impl<'a> SvcExport<'a> {
    /// The export at a pointer, unless that is null.
    ///
    /// # Safety
    ///
    /// The pointer is null, or the export is valid for `'a`.
    pub(crate) unsafe fn from_raw(export: *mut svc_export) -> Option<Self> {
        // INVARIANT: By this function's requirement.
        Some(SvcExport(NonNull::new(export)?, PhantomData))
    }

    #[inline]
    fn made(self) -> Made<'a> {
        let raw = self.0.as_ptr();
        // SAFETY: The export is valid, and has references to its client and to its path, which is that of a file or a
        // directory. Its UUID is null or has 16 bytes. nfsd has set all this before others could find it.
        unsafe {
            let (flags, number) = ((*raw).ex_flags as u32, (*raw).ex_fsid as u32);
            let uuid = (*raw).ex_uuid.cast::<[u8; 16]>().as_ref();
            // Not its address: that of a UUID that has gone is given to another one.
            let uuid_words = uuid.map_or(0, |uuid| u128::from_ne_bytes(*uuid));
            Made {
                flags,
                number,
                path: Path::from_raw((*raw).ex_path),
                domain: Domain::from_raw((*raw).ex_client),
                uuid,
                words: [
                    raw as u64,
                    (*raw).ex_path.dentry as u64,
                    (*raw).ex_path.mnt as u64,
                    (*raw).ex_client as u64,
                    uuid_words as u64,
                    (uuid_words >> 64) as u64,
                    u64::from(flags) << 32 | u64::from(number),
                ],
            }
        }
    }

    /// Its fsid, as it was when the export was made (`mk_fsid()` in `fs/nfsd/nfsfh.h`).
    pub(crate) fn fsid(self) -> Fsid {
        let made = self.made();
        if made.flags & private::NFSEXP_FSID != 0 {
            return Fsid::Num(made.number);
        }
        match made.uuid {
            Some(uuid) => Fsid::Uuid(*uuid),
            None => self.device(),
        }
    }

    /// The device that it is on.
    pub(crate) fn device(self) -> Fsid {
        Fsid::of_device(self.path().inode().device)
    }

    /// Does it only lead to other exports (`NFSEXP_V4ROOT`)?
    pub(crate) fn is_pseudo_root(self) -> bool {
        self.made().flags & private::NFSEXP_V4ROOT != 0
    }

    /// What it is, but for what it is below.
    pub(crate) fn describe(self) -> Export {
        Export {
            root: root(self.path()),
            domain: self.made().domain.map_or(0, Domain::number),
            fsid: self.fsid(),
            below: None,
            how: self.how(),
            file_system: self.path().inode().file_system,
        }
    }

    /// Is it the root of a file system that is mounted somewhere?
    pub(crate) fn is_mount(self) -> bool {
        self.path().is_mounted()
    }

    /// Has it a number (`fsid=`)?
    pub(crate) fn has_number(self) -> bool {
        matches!(self.fsid(), Fsid::Num(_))
    }

    /// Does it show what is mounted below it?
    pub(crate) fn is_crossmnt(self) -> bool {
        self.how().crossmnt
    }

    /// How it is exported.
    fn how(self) -> How {
        let has = |flag| self.made().flags & flag != 0;
        How {
            crossmnt: has(private::NFSEXP_CROSSMOUNT),
            nohide: has(private::NFSEXP_NOHIDE),
            pseudo: self.is_pseudo_root(),
            asked: false,
        }
    }

    /// Where it is.
    pub(crate) fn path(self) -> Path<'a> {
        self.made().path
    }

    /// All that a note of it depends on.
    pub(crate) fn words(self) -> [u64; 7] {
        self.made().words
    }
}

/// A reference to an export, which ends with this. Dropping it may sleep.
///
/// # Invariants
///
/// The export is valid, and the reference is this one's.
pub(crate) struct ExportRef(*mut svc_export);

impl ExportRef {
    /// Takes a reference over.
    ///
    /// # Safety
    ///
    /// The export is valid, and the reference is the caller's.
    pub(crate) unsafe fn new(export: *mut svc_export) -> Self {
        // INVARIANT: By this function's requirement.
        ExportRef(export)
    }

    /// Hands the reference over, to C.
    pub(crate) fn into_raw(self) -> *mut svc_export {
        ManuallyDrop::new(self).0
    }

    /// The export.
    pub(crate) fn get(&self) -> Option<SvcExport<'_>> {
        // SAFETY: The export is valid as long as this reference.
        unsafe { SvcExport::from_raw(self.0) }
    }
}

impl Drop for ExportRef {
    fn drop(&mut self) {
        // SAFETY: The export is valid as long as this reference, which goes (`exp_put()`); without any, nobody
        // else has it.
        unsafe {
            let count = addr_of_mut!((*self.0).h.ref_);
            if bindings::refcount_dec_and_test(addr_of_mut!((*count).refcount).cast()) {
                private::svc_export_put(count);
            }
        }
    }
}
