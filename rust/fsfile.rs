// SPDX-License-Identifier: GPL-2.0

//! Files in the superblocks of nfsd's file system.
//!
//! The superblock is nfsd's, the inode's operations are ours: a file that is open keeps this
//! module loaded (`file_operations.owner`), and when the files are removed, their inodes lose
//! our operations, as an inode may be open without them (`O_PATH`) and opened again later.

use crate::module_ref::this_module;
use crate::nfsd::{Net, NfsdNet};
use crate::private::{self, super_block};
use crate::status;
use kernel::error::from_err_ptr;
use kernel::ffi::{c_int, c_void};
use kernel::prelude::*;
use kernel::seq_file::SeqFile;
use kernel::str::CStr;

/// The file's name.
const NAME: &CStr = c"client_tracking";
/// The file's type and permissions: everybody may read it.
const MODE: u16 = 0o100_444;
/// Inode numbers under this are those of nfsd's own files (`NFSD_MaxReserved`).
const RESERVED_INODES: private::ino_t = 100;

/// Operations of a file that shows a text.
struct Operations(private::file_operations);

// SAFETY: They are constant.
unsafe impl Sync for Operations {}

static OPERATIONS: Operations = Operations(private::file_operations {
    owner: this_module().cast(),
    open: Some(open),
    read: Some(private::seq_read),
    llseek: Some(private::seq_lseek),
    release: Some(private::single_release),
    // SAFETY: All zeros is a value of this type: no other operation.
    ..unsafe { core::mem::zeroed() }
});

/// Adds our file to a superblock; one that has it already stays as it is. May sleep.
///
/// # Safety
///
/// `sb` is one of nfsd's and has a root, and its `s_umount` is held.
pub(crate) unsafe fn add(sb: *mut super_block) -> Result {
    // SAFETY: By this function's requirement. The steps are those of `nfsdfs_create_files()`:
    // a dentry that `simple_start_creating()` returns has its parent locked until
    // `simple_done_creating()`, and takes over the inode.
    unsafe {
        let dentry = private::simple_start_creating((*sb).s_root, NAME.as_char_ptr());
        let dentry = match from_err_ptr(dentry) {
            Err(e) if e == EEXIST => return Ok(()),
            result => result?,
        };
        let inode = private::new_inode(sb);
        if !inode.is_null() {
            (*inode).i_ino = private::iunique(sb, RESERVED_INODES) as u64;
            (*inode).i_mode = MODE;
            (*inode).__bindgen_anon_3.i_fop = &raw const OPERATIONS.0;
            private::simple_inode_init_ts(inode);
            private::d_make_persistent(dentry, inode);
        }
        private::simple_done_creating(dentry);
        if inode.is_null() {
            Err(ENOMEM)
        } else {
            Ok(())
        }
    }
}

/// Removes our file from a superblock, if it is there. May sleep.
///
/// # Safety
///
/// As for [`add`].
pub(crate) unsafe fn remove(sb: *mut super_block) {
    // SAFETY: By this function's requirement.
    unsafe { private::simple_remove_by_name((*sb).s_root, NAME.as_char_ptr(), Some(disarm)) };
}

/// Takes our operations from an inode. Whoever has read them and not yet asked for a reference
/// to this module does not sleep in between, and the module's exit waits for such tasks.
///
/// # Safety
///
/// For `simple_remove_by_name()`, with the dentry of a file of ours.
unsafe extern "C" fn disarm(dentry: *mut private::dentry) {
    // SAFETY: The dentry that is being removed has an inode, which we made in `add()`.
    unsafe { private::make_bad_inode((*dentry).d_inode) };
}

/// Opens a file of ours.
///
/// # Safety
///
/// For the VFS, with an inode of a file of ours.
unsafe extern "C" fn open(inode: *mut private::inode, file: *mut private::file) -> c_int {
    // SAFETY: The VFS calls this for an inode of nfsd's file system.
    unsafe { private::single_open(file, Some(show), (*(*inode).i_sb).s_fs_info) }
}

/// Writes the text of a file of ours.
///
/// # Safety
///
/// For a seq file that `open()` set up.
unsafe extern "C" fn show(m: *mut private::seq_file, _: *mut c_void) -> c_int {
    // SAFETY: `open()` gave the namespace of the mount, which the mount keeps alive, as it keeps
    // nfsd loaded. The seq file is ours for this call.
    unsafe {
        let net = Net::new((*m).private.cast());
        status::show(SeqFile::from_raw(m.cast()), net, NfsdNet::of(net));
    }
    0
}
