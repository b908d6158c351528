// SPDX-License-Identifier: GPL-2.0

//! nfsd as it is loaded, and the mounts of its file system.

use crate::base::fsfile::Superblock;
use crate::base::klp;
use crate::base::module_ref::ModuleRef;
use crate::base::private::{self, super_block};
use kernel::ffi::c_void;

/// nfsd, which stays loaded as long as this lives.
///
/// # Invariants
///
/// The reference is to nfsd.
pub(crate) struct LoadedNfsd(#[allow(dead_code)] ModuleRef);

impl LoadedNfsd {
    /// nfsd, if it is loaded, and livepatch has resolved what is used of it. Does not sleep.
    pub(crate) fn get() -> Option<Self> {
        // INVARIANT: It is the object of this name.
        klp::module(c"nfsd").map(LoadedNfsd)
    }

    /// Calls `f` with each mount of its file system, whose `s_umount` is held for reading. May sleep.
    pub(crate) fn each_mount<F: FnMut(&Superblock<'_>)>(&self, mut f: F) {
        // SAFETY: nfsd stays loaded, and its symbols are those that were resolved when it was loaded: they change
        // only when it is unloaded. `visit()` gets what it wants, which is there until this returns.
        unsafe {
            private::iterate_supers_type(
                &raw mut private::nfsd_fs_type,
                Some(visit::<F>),
                (&raw mut f).cast(),
            );
        }
    }
}

/// Calls a function with a mount.
///
/// # Safety
///
/// For `iterate_supers_type()`, with a superblock of nfsd's, and an `F`.
unsafe extern "C" fn visit<F: FnMut(&Superblock<'_>)>(sb: *mut super_block, f: *mut c_void) {
    // SAFETY: `iterate_supers_type()` holds `s_umount`, and skips what has no root. Nobody else uses the function
    // meanwhile.
    unsafe { (*f.cast::<F>())(&Superblock::from_raw(sb)) };
}
