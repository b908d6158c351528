// SPDX-License-Identifier: GPL-2.0

//! Inodes, open files and paths.

use crate::base::private;
use crate::base::text::Text;
use core::marker::PhantomData;
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
    /// The UUID of its file system (`s_uuid`); zeros if it has none.
    pub(crate) file_system: [u8; 16],
}

/// An open file.
///
/// # Invariants
///
/// For `'a` it stays open: so it has its path, its operations and its inode, which do not change.
#[derive(Clone, Copy)]
pub(crate) struct OpenFile<'a>(NonNull<private::file>, PhantomData<&'a private::file>);

impl<'a> OpenFile<'a> {
    /// That at a pointer.
    ///
    /// # Safety
    ///
    /// The file stays open for the lifetime.
    pub(crate) unsafe fn from_raw(file: NonNull<private::file>) -> Self {
        // INVARIANT: By this function's requirement.
        OpenFile(file, PhantomData)
    }

    /// The pointer to its inode, which is there as long as this.
    pub(crate) fn inode_ptr(self) -> *mut private::inode {
        // SAFETY: The file is open, and has an inode.
        unsafe { (*self.0.as_ptr()).f_inode }
    }

    /// Its inode.
    pub(crate) fn inode(self) -> Inode {
        let inode = self.inode_ptr();
        // SAFETY: The file is open, so its inode is there, with its file system, whose UUID was set when it was mounted.
        let (device, uuid) = unsafe { ((*(*inode).i_sb).s_dev, (*(*inode).i_sb).s_uuid) };
        Inode {
            address: inode.addr(),
            device,
            file_system: uuid.b,
        }
    }

    /// Its operations.
    pub(crate) fn operations(self) -> &'a private::file_operations {
        // SAFETY: The file is open, and has operations, which are constant, and whose module it has a reference to.
        unsafe { &*(*self.0.as_ptr()).f_op }
    }

    /// A reference to its path. Does not sleep.
    pub(crate) fn path(self) -> PathRef {
        // SAFETY: An open file has references to its path, and what it has opened is there.
        let path = unsafe { Path::from_raw((*self.0.as_ptr()).__bindgen_anon_1.f_path) };
        path.get()
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
        // SAFETY: The slot keeps its file while this looks, or the file's memory is used for files only. The reference
        // that was taken is handed over.
        unsafe {
            let file = NonNull::new(private::get_file_active(slot))?;
            Some(FileRef(ARef::from_raw(file.cast())))
        }
    }

    /// The file, which is open as long as this is there.
    pub(crate) fn as_ptr(&self) -> *mut private::file {
        self.open().0.as_ptr()
    }

    fn open(&self) -> OpenFile<'_> {
        // INVARIANT: The reference keeps it open as long as this is borrowed.
        OpenFile(NonNull::from(&*self.0).cast(), PhantomData)
    }

    /// Its inode.
    pub(crate) fn inode(&self) -> Inode {
        self.open().inode()
    }

    /// Its path.
    pub(crate) fn path(&self) -> PathRef {
        self.open().path()
    }
}

/// A path, as long as somebody has references to where it leads.
///
/// # Invariants
///
/// For `'a` it is valid, and leads to something that is there: who has a reference to that keeps its inode.
#[derive(Clone, Copy)]
pub(crate) struct Path<'a>(private::path, PhantomData<&'a private::path>);

/// What there is at a path.
struct Facts {
    inode: Inode,
    number: u64,
    generation: u32,
    is_mounted: bool,
    is_exportable: bool,
}

impl<'a> Path<'a> {
    /// That at which C has one.
    ///
    /// # Safety
    ///
    /// Somebody has references to the path for `'a`, and it is that of something that is there.
    pub(crate) unsafe fn from_raw(path: private::path) -> Self {
        // INVARIANT: By this function's requirement.
        Path(path, PhantomData)
    }

    #[inline]
    fn facts(self) -> Facts {
        // SAFETY: The mount, its file system, the entry and its inode are there, by the type's invariant. A number of
        // the inode may change meanwhile, but for that it is a number.
        unsafe {
            let (sb, inode) = ((*self.0.mnt).mnt_sb, (*self.0.dentry).d_inode);
            let on_disk = (*(*sb).s_type).fs_flags as u32 & private::FS_REQUIRES_DEV != 0;
            Facts {
                inode: Inode {
                    address: inode.addr(),
                    device: (*sb).s_dev,
                    file_system: (*sb).s_uuid.b,
                },
                number: (*inode).i_ino,
                generation: (*inode).i_generation,
                is_mounted: ptr::eq(self.0.dentry, (*self.0.mnt).mnt_root),
                is_exportable: on_disk && !(*sb).s_export_op.is_null(),
            }
        }
    }

    /// What it leads to.
    pub(crate) fn inode(self) -> Inode {
        self.facts().inode
    }

    /// The number and the generation of that.
    pub(crate) fn numbers(self) -> (u64, u32) {
        let facts = self.facts();
        (facts.number, facts.generation)
    }

    /// Is it where a file system is mounted, or a part of one?
    pub(crate) fn is_mounted(self) -> bool {
        self.facts().is_mounted
    }

    /// Is the file system on a block device, and can it be exported?
    pub(crate) fn is_exportable(self) -> bool {
        self.facts().is_exportable
    }

    /// A reference to it. Does not sleep.
    pub(crate) fn get(self) -> PathRef {
        // SAFETY: It is valid, by the type's invariant.
        unsafe { private::path_get(&raw const self.0) };
        // INVARIANT: The reference was taken just now, and it leads where it did.
        PathRef(self.0)
    }
}

/// A reference to a path. Dropping it may sleep.
///
/// # Invariants
///
/// The path is valid, and leads to something that is there. The reference is this one's.
pub(crate) struct PathRef(private::path);

impl PathRef {
    /// The path.
    pub(crate) fn path(&self) -> Path<'_> {
        // INVARIANT: The reference stays as long as this is borrowed.
        Path(self.0, PhantomData)
    }

    /// The pointer, which is valid as long as this is borrowed.
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
