// SPDX-License-Identifier: GPL-2.0

//! Where the module attaches to nfsd.
//!
//! | function of nfsd | what ours does |
//! |---|---|
//! | `nfsd4_client_tracking_init` | installs our tracking operations |
//! | `nfsd_fs_get_tree` | the same as nfsd's, then adds our files to the mount |

use crate::klp::{Func, Object, Patch, NO_CALLBACKS};
use crate::module_ref::ModuleRef;
use crate::mounts::Mounts;
use crate::nfsd::Net;
use crate::private::{self, klp_callbacks, klp_object};
use crate::tracker::Tracker;
use kernel::error::to_result;
use kernel::ffi::{c_int, c_void};
use kernel::prelude::*;

static PATCH: Patch = Patch::new(&OBJECTS);

static OBJECTS: [Object; 3] = [
    Object::new(c"nfsd", &NFSD, NFSD_CALLBACKS),
    // For its symbols.
    Object::new(c"sunrpc", &NOTHING, NO_CALLBACKS),
    Object::end(),
];

static NOTHING: [Func; 1] = [Func::end()];

static NFSD: [Func; 3] = [
    // SAFETY: The types are those of fs/nfsd/nfs4recover.c and fs/nfsd/nfsctl.c, and both hold
    // a reference to this module.
    unsafe {
        Func::new(
            c"nfsd4_client_tracking_init",
            tracking_init as *const c_void,
        )
    },
    // SAFETY: As above.
    unsafe { Func::new(c"nfsd_fs_get_tree", fs_get_tree as *const c_void) },
    Func::end(),
];

const NFSD_CALLBACKS: klp_callbacks = klp_callbacks {
    pre_patch: Some(pre_patch),
    post_patch: Some(post_patch),
    post_unpatch: Some(post_unpatch),
    ..NO_CALLBACKS
};

/// Attaches to nfsd, now or when it is loaded. May sleep.
///
/// # Safety
///
/// Called once, from this module's init, when everything else of it is ready.
pub(crate) unsafe fn attach(module: &'static ThisModule) -> Result {
    // SAFETY: By this function's requirement; the lists above have their ends.
    unsafe { PATCH.enable(module) }
}

/// Replaces `nfsd4_client_tracking_init()`. Called under `nfsd_mutex`, by who starts a server.
///
/// # Safety
///
/// As for the function replaced: `net` is alive, and `nfsd_mutex` is held.
unsafe extern "C" fn tracking_init(net: *mut private::net) -> c_int {
    let Some(_module) = ModuleRef::get() else {
        return ENODEV.to_errno();
    };
    // SAFETY: This is where nfsd calls it.
    match unsafe { Tracker::start(Net::new(net)) } {
        Ok(()) => 0,
        Err(e) => {
            pr_warn!(
                "no client tracking until the server is restarted, error {}: is nfsdcld running?\n",
                e.to_errno()
            );
            e.to_errno()
        }
    }
}

/// Replaces `nfsd_fs_get_tree()`. On success the new or found superblock has `s_umount` held
/// for writing.
///
/// # Safety
///
/// As for the function replaced: `fc` is a mount of nfsd's file system that is being made.
unsafe extern "C" fn fs_get_tree(fc: *mut private::fs_context) -> c_int {
    let Some(_module) = ModuleRef::get() else {
        return ENODEV.to_errno();
    };
    // SAFETY: The caller's context is valid and ours, and has a live namespace. As in nfsd, the
    // superblock gets a reference to it.
    let result = unsafe {
        let ns = private::get_net_ns(&raw mut (*(*fc).net_ns).ns);
        match kernel::error::from_err_ptr(ns) {
            Ok(_) => to_result(private::get_tree_keyed(
                fc,
                Some(private::nfsd_fill_super),
                (*fc).net_ns.cast(),
            )),
            Err(e) => Err(e),
        }
    };
    if let Err(e) = result {
        return e.to_errno();
    }
    // SAFETY: `get_tree_keyed()` has set the root, and the superblock is locked.
    unsafe { Mounts::add_files((*(*fc).root).d_sb) };
    0
}

/// Attaching begins, with nfsd loaded.
///
/// # Safety
///
/// For livepatch, with nfsd's object.
unsafe extern "C" fn pre_patch(_object: *mut klp_object) -> c_int {
    Mounts::expect();
    0
}

/// We are attached.
///
/// # Safety
///
/// For livepatch, with nfsd's object.
unsafe extern "C" fn post_patch(object: *mut klp_object) {
    // SAFETY: livepatch calls this with a loaded object.
    unsafe { Mounts::update((*object).mod_, true) };
}

/// We are not attached any more.
///
/// # Safety
///
/// For livepatch, with nfsd's object.
unsafe extern "C" fn post_unpatch(object: *mut klp_object) {
    // SAFETY: livepatch calls this with a loaded object.
    unsafe { Mounts::update((*object).mod_, false) };
}
