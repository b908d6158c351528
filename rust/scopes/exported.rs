// SPDX-License-Identifier: GPL-2.0

//! What is exported, as this server's requests have found it: the one table of [`Roots`].
//!
//! Each request of each version asks for its export, so that a note of what is known already has to cost next to
//! nothing: a few words are compared, without a lock.
//!
//! Lock order: [`ROOTS`] is taken alone, or under any other; nothing is taken under it.

use crate::base::net::Net;
use crate::base::private::{self, auth_domain, path, svc_export};
use crate::base::setup::{Once, Setup};
use crate::scopes::place::{Form, Place};
use crate::scopes::roots::{Export, Room, Root, Roots};
use crate::scopes::scope::Fsid;
use core::ptr;
use core::sync::atomic::{AtomicU64, Ordering};
use kernel::pr_warn_once;
use kernel::prelude::*;
use kernel::str::CStr;

kernel::sync::global_lock! {
    // SAFETY: Initialised by `init_module()` before anything can use it.
    unsafe(uninit) static ROOTS: SpinLock<Option<Roots>> = None;
}

/// How many notes are compared without a lock.
const RECENT: usize = 256;
/// Digests of what was noted lately, each where its own last bits say.
static NOTED: [AtomicU64; RECENT] = [const { AtomicU64::new(0) }; RECENT];
/// How often something was forgotten. It is part of the digests, none of which is good any more then.
static FORGOTTEN: AtomicU64 = AtomicU64::new(0);
/// Notes that are forgotten under the lock in one go.
const BATCH: usize = 64;

/// Prepares this file.
pub(crate) fn init_module(_: &Setup) {
    static READY: Once = Once::new();
    if READY.is_first() {
        // SAFETY: This is the first time, and during the setup nobody else uses the lock.
        unsafe { ROOTS.init() };
    }
    *ROOTS.lock() = Some(Roots::default());
}

/// Frees what this file keeps. For this module's exit.
pub(crate) fn exit_module() {
    let roots = ROOTS.lock().take();
    drop(roots);
    note_again();
}

/// Adds a word to a digest, as FNV does: rpc.mountd, and no client, decides of what there are digests.
fn mix(digest: u64, word: u64) -> u64 {
    (digest ^ word)
        .wrapping_mul(0x0100_0000_01b3)
        .rotate_left(23)
}

/// A number that stands for a domain.
fn number(domain: &auth_domain) -> u64 {
    // SAFETY: A domain has a name, which ends with a zero, as long as it is there.
    let name = unsafe { CStr::from_char_ptr(domain.name) };
    let bytes = name.to_bytes().iter();
    bytes.fold(0, |number, byte| mix(number, u64::from(*byte) + 1))
}

/// An export of nfsd's (`struct svc_export`), which never changes: for a change, there is a new one.
///
/// # Invariants
///
/// It is valid for `'a`.
#[derive(Clone, Copy)]
pub(crate) struct SvcExport<'a>(&'a svc_export);

impl<'a> SvcExport<'a> {
    /// The export at a pointer, unless that is null.
    ///
    /// # Safety
    ///
    /// The pointer is null, or the export is valid for `'a`.
    pub(crate) unsafe fn from_raw(export: *const svc_export) -> Option<Self> {
        // SAFETY: The pointer is null, or the export is valid for as long as the value is.
        let export = unsafe { export.as_ref() };
        // INVARIANT: By this function's requirement.
        export.map(SvcExport)
    }

    /// Its fsid, as it was when the export was made (`mk_fsid()` in `fs/nfsd/nfsfh.h`).
    pub(crate) fn fsid(self) -> Fsid {
        if self.0.ex_flags as u32 & private::NFSEXP_FSID != 0 {
            return Fsid::Num(self.0.ex_fsid as u32);
        }
        // SAFETY: The export is valid: its UUID is null or has 16 bytes.
        match unsafe { self.0.ex_uuid.cast::<[u8; 16]>().as_ref() } {
            Some(uuid) => Fsid::Uuid(*uuid),
            None => self.device(),
        }
    }

    /// The device that it is on.
    pub(crate) fn device(self) -> Fsid {
        // SAFETY: The export is valid, and has references to its path.
        Fsid::of_device(unsafe { (*(*self.0.ex_path.mnt).mnt_sb).s_dev })
    }

    /// Does it only lead to other exports (`NFSEXP_V4ROOT`)?
    pub(crate) fn is_pseudo_root(self) -> bool {
        self.0.ex_flags as u32 & private::NFSEXP_V4ROOT != 0
    }

    /// Does it say by which security flavors it may be used?
    pub(crate) fn has_flavors(self) -> bool {
        self.0.ex_nflavors > 0
    }

    /// What it is.
    fn describe(self) -> Export {
        // SAFETY: The export is valid: it has references to its client and to its path, which is that of a directory
        // or a file; the number of an inode does not change.
        let (inode, number, domain) = unsafe {
            let inode = (*self.0.ex_path.dentry).d_inode;
            (inode, (*inode).i_ino, number(&*self.0.ex_client))
        };
        let root = Root {
            device: self.device(),
            inode: number,
            address: inode as usize,
        };
        let fsid = self.fsid();
        Export { root, domain, fsid }
    }

    /// Its fsid, what it is by now if it had no number, and that has changed. Does not sleep.
    pub(crate) fn fsid_now(self, net: Net<'_>) -> Fsid {
        let own = self.fsid();
        if let Fsid::Num(_) = own {
            return own;
        }
        let Export { root, domain, fsid } = self.describe();
        let roots = ROOTS.lock();
        let now = roots
            .as_ref()
            .and_then(|roots| roots.by_root(net.cookie(), &root, domain));
        now.unwrap_or(fsid)
    }

    /// A digest of all that a note of it depends on.
    fn digest(self, net: u64, form: &Form) -> u64 {
        let export = self.0;
        let words = [
            FORGOTTEN.load(Ordering::Relaxed),
            ptr::from_ref(export) as u64,
            export.ex_path.dentry as u64,
            export.ex_path.mnt as u64,
            export.ex_client as u64,
            export.ex_uuid as u64,
            u64::from(export.ex_flags as u32) << 32 | u64::from(export.ex_fsid as u32),
            u64::from(form.kind()),
        ];
        let bytes = form.bytes().chunks_exact(8);
        let form = bytes.map(|word| word.try_into().map_or(0, u64::from_ne_bytes));
        // None is 0, as before the first one.
        Iterator::chain(words.into_iter(), form)
            .fold(net, mix)
            .max(1)
    }
}

/// Notes to which export a form of handle leads. Returns where that is, unless it was noted lately. May sleep.
pub(crate) fn note(net: Net<'_>, form: &Form, export: SvcExport<'_>) -> Option<Place> {
    let net = net.cookie();
    let digest = export.digest(net, form);
    let noted = &NOTED[digest as usize % RECENT];
    if noted.load(Ordering::Relaxed) == digest {
        return None;
    }
    let export = export.describe();
    let mut room = None;
    let mut result = Err(ENOMEM);
    for _ in 0..2 {
        result = match ROOTS.lock().as_mut() {
            Some(roots) => roots.note(net, form, &export, &mut room),
            None => return None,
        };
        if result != Err(ENOMEM) {
            break;
        }
        room = Room::new().ok();
    }
    match result {
        // No digest of what was known is good any more.
        Ok(true) => note_again(),
        Ok(false) => noted.store(digest, Ordering::Relaxed),
        // The next request tries again.
        Err(e) => pr_warn_once!(
            "which handles lead to an export cannot be noted, error {}\n",
            e.to_errno()
        ),
    }
    Some(Place {
        handle: form.fsid(),
        export: Some(export.fsid),
        device: Some(export.root.device),
    })
}

/// Has each export noted again that somebody finds from now on: another scope is in grace. Does not sleep.
pub(crate) fn note_again() {
    FORGOTTEN.fetch_add(1, Ordering::Relaxed);
}

/// Where a file is that is named by a handle of this form, by a client of the domain if that is known. Does not sleep.
pub(crate) fn place(net: Net<'_>, form: &Form, domain: Option<&auth_domain>) -> Place {
    match ROOTS.lock().as_ref() {
        Some(roots) => roots.by_form(net.cookie(), form, domain.map(number)),
        None => Place::of_handle(form.fsid()),
    }
}

/// Where a directory is, if a file system that can be exported, and that is on a block device, is mounted there. Does
/// not sleep.
///
/// # Safety
///
/// The path is valid.
pub(crate) unsafe fn place_of_mount(net: Net<'_>, path: &path) -> Option<Place> {
    // SAFETY: A valid path has references to its mount, whose file system is there, and to its place there.
    let root = unsafe {
        let sb = &*(*path.mnt).mnt_sb;
        let is_mount = ptr::eq(path.dentry, (*path.mnt).mnt_root);
        let on_disk = (*sb.s_type).fs_flags as u32 & private::FS_REQUIRES_DEV != 0;
        if !is_mount || !on_disk || sb.s_export_op.is_null() {
            return None;
        }
        Root {
            device: Fsid::of_device(sb.s_dev),
            inode: (*(*path.dentry).d_inode).i_ino,
            address: (*path.dentry).d_inode as usize,
        }
    };
    let roots = ROOTS.lock();
    Some(Place {
        handle: None,
        export: roots.as_ref()?.by_directory(net.cookie(), &root),
        device: Some(root.device),
    })
}

/// A server stops: what its exports were is of no use any more. Does not sleep.
pub(crate) fn forget(net: Net<'_>) {
    note_again();
    loop {
        let all = match ROOTS.lock().as_mut() {
            Some(roots) => roots.forget(net.cookie(), BATCH),
            None => true,
        };
        if all {
            break;
        }
    }
}
