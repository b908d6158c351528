// SPDX-License-Identifier: GPL-2.0

//! Inodes, open files and paths.

use crate::base::private;
use crate::base::text::Text;
use core::ptr::{self, NonNull};
use kernel::error::from_err_ptr;
use kernel::ffi::c_int;
use kernel::fs::LocalFile;
use kernel::prelude::*;
use kernel::sync::aref::ARef;

/// Length of a path that is shown, in bytes.
const PATH_MAX: usize = 4096;

/// Which inode. It is known by its address, as long as it is there.
#[derive(Clone, Copy)]
pub(crate) struct Inode {
    pub(crate) address: usize,
    /// The number of its file system's device (`s_dev`).
    pub(crate) device: u32,
}

impl Inode {
    /// That at a pointer.
    ///
    /// # Safety
    ///
    /// The inode is valid, or has been one since the current read-side critical section of RCU began.
    pub(crate) unsafe fn of(inode: *const private::inode) -> Self {
        // SAFETY: The memory of an inode, and of its file system, is kept for who may see it under RCU.
        let device = unsafe { (*(*inode).i_sb).s_dev };
        Inode {
            address: inode.addr(),
            device,
        }
    }
}

/// A reference to an open file. Dropping it does not sleep.
pub(crate) struct FileRef(ARef<LocalFile>);

impl FileRef {
    /// Takes a reference to the file that a pointer leads to (`get_file_active()`), if there is one that is not just going.
    ///
    /// # Safety
    ///
    /// The pointer is valid, changes in one go, and leads to nothing or to a file that it has a reference to.
    pub(crate) unsafe fn of_slot(slot: *mut *mut private::file) -> Option<Self> {
        // SAFETY: As the caller says. The reference is handed over.
        unsafe {
            let file = NonNull::new(private::get_file_active(slot))?;
            Some(FileRef(ARef::from_raw(file.cast())))
        }
    }

    fn raw(&self) -> *const private::file {
        self.0.as_ptr().cast_const().cast()
    }

    /// Its inode.
    pub(crate) fn inode(&self) -> Inode {
        // SAFETY: The file is open, and so has its inode.
        unsafe { Inode::of((*self.raw()).f_inode) }
    }

    /// Its path.
    pub(crate) fn path(&self) -> PathRef {
        // SAFETY: The file is open, and so has its path.
        unsafe { PathRef::of_file(self.raw()) }
    }
}

/// A reference to a path. Dropping it may sleep.
///
/// # Invariants
///
/// The path is valid, and the reference is this one's.
pub(crate) struct PathRef(private::path);

impl PathRef {
    /// A reference to a path. Does not sleep.
    ///
    /// # Safety
    ///
    /// The path is valid.
    pub(crate) unsafe fn new(path: private::path) -> Self {
        // SAFETY: As the caller says.
        unsafe { private::path_get(&raw const path) };
        // INVARIANT: The reference was taken just now.
        PathRef(path)
    }

    /// A reference to the path of a file. Does not sleep.
    ///
    /// # Safety
    ///
    /// The file is open.
    pub(crate) unsafe fn of_file(file: *const private::file) -> Self {
        // SAFETY: An open file has a valid path, which does not change.
        unsafe { Self::new((*file).__bindgen_anon_1.f_path) }
    }

    /// The path.
    pub(crate) fn as_ptr(&self) -> *const private::path {
        &self.0
    }

    /// Goes to the directory above, as `..` does, but also out of what is the root of a process. Returns whether there is
    /// one. May sleep.
    pub(crate) fn up(&mut self) -> bool {
        let at = &mut self.0;
        // SAFETY: The path is valid; `follow_up()` and the new directory bring their own references, for which the old
        // ones go.
        unsafe {
            while ptr::eq(at.dentry, (*at.mnt).mnt_root) {
                if private::follow_up(at) == 0 {
                    return false;
                }
            }
            let directory = private::dget_parent(at.dentry);
            // The root of a file system, where a bind mount shows a directory that was moved away.
            let is_root = ptr::eq(directory, at.dentry);
            private::dput(at.dentry);
            at.dentry = directory;
            !is_root
        }
    }

    /// Adds the path to a text, as the current process sees it. May sleep.
    pub(crate) fn write(&self, text: &mut Text) -> Result {
        let mut buffer: KVec<u8> = KVec::with_capacity(PATH_MAX, GFP_KERNEL)?;
        let space = buffer.spare_capacity_mut();
        // SAFETY: The path is valid. The buffer is as long as it says, and the path that is returned is in it,
        // with an end.
        let path = unsafe {
            let space = (space.as_mut_ptr(), space.len() as c_int);
            let path = private::d_path(&raw const self.0, space.0.cast(), space.1);
            kernel::str::CStr::from_char_ptr(from_err_ptr(path)?)
        };
        Ok(text.name(path.to_bytes())?)
    }
}

impl Drop for PathRef {
    fn drop(&mut self) {
        // SAFETY: The reference is ours, and goes.
        unsafe { private::path_put(ptr::from_ref(&self.0)) };
    }
}
