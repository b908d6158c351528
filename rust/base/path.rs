// SPDX-License-Identifier: GPL-2.0

//! A place in a file system that is mounted somewhere, and the directories above it.
//!
//! C source: `struct path` in `include/linux/path.h`; `follow_up()` in `fs/namei.c`.

use crate::base::private::{self, path};

/// A path, with references to its mount and to its place there. Dropping it may sleep.
///
/// # Invariants
///
/// The path is valid, and the references are this one's.
pub(crate) struct Path(path);

impl Path {
    /// A copy of a path.
    ///
    /// # Safety
    ///
    /// The path is valid.
    pub(crate) unsafe fn new(path: &path) -> Self {
        // SAFETY: The path is valid.
        unsafe { private::path_get(path) };
        // INVARIANT: The copy has references of its own from now on.
        Path(*path)
    }

    /// The path.
    pub(crate) fn as_ptr(&self) -> *const path {
        &self.0
    }

    /// Goes to the directory above, as `..` does, but also out of what is the root of a process. Returns whether there is
    /// one. May sleep.
    pub(crate) fn up(&mut self) -> bool {
        let at = &mut self.0;
        // SAFETY: The path is valid; `follow_up()` and the new directory bring their own references, for which the old
        // ones go.
        unsafe {
            while core::ptr::eq(at.dentry, (*at.mnt).mnt_root) {
                if private::follow_up(at) == 0 {
                    return false;
                }
            }
            let directory = private::dget_parent(at.dentry);
            private::dput(at.dentry);
            at.dentry = directory;
        }
        true
    }
}

impl Drop for Path {
    fn drop(&mut self) {
        // SAFETY: The references are ours, and the path is not used any more.
        unsafe { private::path_put(&self.0) };
    }
}
