// SPDX-License-Identifier: GPL-2.0

//! File systems of the NFS client that may be locked when they are re-exported.
//!
//! nfsd and lockd refuse locks where the export operations of a file system say `EXPORT_OP_NOLOCKS`, as those of the NFS client
//! do (`fs/nfs/export.c`). Those of NFSv4.1 or later get a copy without that, and their own back before our text goes. Who
//! has read which are a file system's uses them without sleeping, but for `nfs_fh_to_dentry()`, which is replaced so that
//! livepatch waits for it, and for what the module's exit waits for.
//!
//! Lock order: a superblock's `s_umount`, then [`FILE_SYSTEMS`]; nothing is taken under it.

use crate::base::global::Global;
use crate::base::klp;
use crate::base::private::{self, export_operations, super_block};
use crate::base::setup::Setup;
use crate::reexport::nfs_client::NfsClient;
use crate::reexport::originals;
use crate::scopes::in_grace::{self, Reason};
use core::cell::UnsafeCell;
use core::ptr::{self, addr_of_mut};
use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use kernel::ffi::c_void;
use kernel::prelude::*;
use kernel::rbtree::{RBTree, RBTreeNode};
use kernel::sync::{new_spinlock, SpinLock};

/// Our export operations.
struct Operations(UnsafeCell<export_operations>);

// SAFETY: They are written with the lock held, while no file system has them.
unsafe impl Sync for Operations {}

static OPERATIONS: Operations = Operations(UnsafeCell::new(pin_init::zeroed()));

/// A file system that has ours.
struct FileSystem {
    sb: *mut super_block,
    device: u32,
    /// [`NfsClient::number`].
    client: usize,
    /// The original server has refused a reclaim there, as it is not in grace.
    refuses: bool,
}

// SAFETY: The superblock is there as long as it is in the table, and what is done with it takes the lock.
unsafe impl Send for FileSystem {}

#[derive(Default)]
struct FileSystems {
    /// By the addresses of their superblocks.
    all: RBTree<usize, FileSystem>,
    /// Those that are mounted get ours.
    on: bool,
}

static FILE_SYSTEMS: Global<SpinLock<FileSystems>> = Global::new();
/// Is there one? To be asked without the lock.
static ANY: AtomicBool = AtomicBool::new(false);

/// Prepares this file's lock.
pub(crate) fn init_module(setup: &Setup) {
    FILE_SYSTEMS.init(
        setup,
        new_spinlock!(FileSystems::default(), "nfsd_ha::FILE_SYSTEMS"),
    );
}

/// Frees what this file keeps. For this module's exit.
pub(crate) fn exit_module() {
    let all = core::mem::take(&mut *FILE_SYSTEMS.lock());
    drop(all);
}

/// Is there one? Costs a load. Does not sleep.
#[inline]
pub(crate) fn any() -> bool {
    ANY.load(Ordering::Acquire)
}

/// Where a superblock has its operations.
///
/// # Safety
///
/// The superblock is valid for `'a`.
unsafe fn slot<'a>(sb: *mut super_block) -> &'a AtomicPtr<export_operations> {
    // SAFETY: By this function's requirement. The kernel reads and writes the pointer in one go.
    unsafe { AtomicPtr::from_ptr(addr_of_mut!((*sb).s_export_op).cast()) }
}

/// Has a file system ours, so that it is one of the NFS client's, of NFSv4.1 or later? Does not sleep.
///
/// # Safety
///
/// The superblock is valid.
pub(crate) unsafe fn is_one(sb: *mut super_block) -> bool {
    // SAFETY: By this function's requirement.
    let theirs = unsafe { slot(sb) }.load(Ordering::Relaxed);
    ptr::eq(theirs, OPERATIONS.0.get())
}

/// The client of a file system that may be locked.
///
/// # Safety
///
/// It is one of the NFS client's, for `'a`.
unsafe fn client_of<'a>(sb: *mut super_block) -> Option<NfsClient<'a>> {
    // SAFETY: By this function's requirement.
    let client = unsafe { NfsClient::of_file_system(sb) };
    client.filter(|client| client.has_sessions())
}

/// A file system has been mounted, or mounted once more: it may be locked from now on. May sleep.
///
/// # Safety
///
/// It is one of the NFS client's, which stays loaded, and its `s_umount` is held.
pub(crate) unsafe fn mounted(sb: *mut super_block) {
    // SAFETY: By this function's requirement.
    let Some(client) = (unsafe { client_of(sb) }) else {
        return;
    };
    // SAFETY: The superblock is valid.
    let device = unsafe { (*sb).s_dev };
    let new = FileSystem {
        sb,
        device,
        client: client.number(),
        refuses: false,
    };
    // Without memory, it is as with the stock kernel: nobody can lock.
    let Ok(node) = RBTreeNode::new(sb.addr(), new, GFP_KERNEL) else {
        return;
    };
    let mut own = FILE_SYSTEMS.lock();
    // SAFETY: The NFS client is loaded, and so are its operations. Ours are not used while there are none, and are the
    // same otherwise. The superblock is valid.
    unsafe {
        let theirs = &raw const private::nfs_export_ops;
        if !own.on || !ptr::eq(slot(sb).load(Ordering::Relaxed), theirs) {
            drop(own);
            drop(node);
            return;
        }
        if own.all.is_empty() {
            let mut ours = *theirs;
            ours.flags &= !(private::EXPORT_OP_NOLOCKS as usize);
            *OPERATIONS.0.get() = ours;
        }
        own.all.insert(node);
        publish(&own);
        slot(sb).store(OPERATIONS.0.get(), Ordering::Release);
    }
}

/// Gives a file system its own operations back.
///
/// # Safety
///
/// The NFS client is loaded.
unsafe fn give_back(one: &FileSystem) {
    // SAFETY: By this function's requirement; the superblock is valid as long as it is in the table.
    unsafe {
        slot(one.sb).store(
            (&raw const private::nfs_export_ops).cast_mut(),
            Ordering::Release,
        )
    };
}

/// A file system goes. Does not sleep.
///
/// # Safety
///
/// It is one of the NFS client's, which is loaded, and about to be freed.
pub(crate) unsafe fn goes(sb: *mut super_block) {
    let gone = {
        let mut own = FILE_SYSTEMS.lock();
        if let Some(one) = own.all.get(&sb.addr()) {
            // SAFETY: By this function's requirement.
            unsafe { give_back(one) };
        }
        let gone = own.all.remove_node(&sb.addr());
        publish(&own);
        gone
    };
    drop(gone);
}

/// From now on those that are mounted get ours. Does not sleep.
pub(crate) fn switched_on() {
    FILE_SYSTEMS.lock().on = true;
}

/// Those that are there get ours, too. May sleep.
pub(crate) fn take_mounted() {
    let Some(_nfs) = klp::module(c"nfs") else {
        return;
    };
    // SAFETY: The NFS client stays loaded, and its symbols are resolved.
    unsafe {
        for kind in [
            &raw mut private::nfs_fs_type,
            &raw mut private::nfs4_fs_type,
        ] {
            private::iterate_supers_type(kind, Some(visit), ptr::null_mut());
        }
    }
}

/// For each of them.
///
/// # Safety
///
/// For `iterate_supers_type()`, with a superblock of the NFS client's.
unsafe extern "C" fn visit(sb: *mut super_block, _: *mut c_void) {
    // SAFETY: `iterate_supers_type()` holds `s_umount`, and skips what has no root.
    let client = unsafe {
        mounted(sb);
        client_of(sb)
    };
    if let Some(client) = client {
        // Without memory, it is noted when something of it is opened.
        let _ = originals::note_told(client);
    }
}

/// All get their own back, and none gets ours any more. Does not sleep.
///
/// # Safety
///
/// The NFS client is loaded.
pub(crate) unsafe fn switched_off() {
    let all = {
        let mut own = FILE_SYSTEMS.lock();
        own.on = false;
        // SAFETY: By this function's requirement.
        own.all.values().for_each(|one| unsafe { give_back(one) });
        let all = core::mem::take(&mut own.all);
        publish(&own);
        all
    };
    drop(all);
}

/// The original server has refused a reclaim on a device, as it is not in grace there. Does not sleep.
pub(crate) fn set_refuses(device: u32) {
    let mut own = FILE_SYSTEMS.lock();
    for one in own.all.values_mut().filter(|one| one.device == device) {
        one.refuses = true;
        in_grace::ask_for(Reason::Refused, true);
    }
}

/// Has it? Then nobody reclaims there, and nobody need wait for that. Does not sleep.
pub(crate) fn refuses(device: u32) -> bool {
    let own = FILE_SYSTEMS.lock();
    let found = own.all.values().find(|one| one.device == device);
    found.is_some_and(|one| one.refuses)
}

/// On how many of how many of the client with a number has it? If on all, nothing can be reclaimed any more. Does not sleep.
pub(crate) fn count(client: usize) -> (usize, usize) {
    let own = FILE_SYSTEMS.lock();
    let its = || own.all.values().filter(|one| one.client == client);
    (its().filter(|one| one.refuses).count(), its().count())
}

/// Says whether there is one where it has, with the lock held.
fn publish(own: &FileSystems) {
    ANY.store(!own.all.is_empty(), Ordering::Release);
    let any = own.all.values().any(|one| one.refuses);
    in_grace::ask_for(Reason::Refused, any);
}
