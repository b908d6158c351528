// SPDX-License-Identifier: GPL-2.0

//! Files that the kernel itself has open at an admin's command: those of loop devices and for swap.
//!
//! C source: `drivers/block/loop.c`, `mm/swapfile.c`.

use crate::base::klp;
use crate::base::private::{self, loop_device};
use crate::base::raw::MutexGuard;
use crate::base::user::{User, Wanted};
use crate::base::vfs::FileRef;
use core::ptr::{addr_of_mut, NonNull};

/// The first one that is wanted. May sleep.
pub(crate) fn find(is_wanted: Wanted<'_>) -> Option<User> {
    swap(is_wanted).or_else(|| loop_device(is_wanted))
}

/// A swap file that is wanted.
fn swap(is_wanted: Wanted<'_>) -> Option<User> {
    for number in 0..private::nfsd_ha_swap_NFSD_HA_MAX_SWAPFILES as usize {
        // SAFETY: The kernel adds to this table in one go, and what it has added stays. What is in there has a
        // reference to its file, if it has one.
        let file = unsafe {
            let area = (&raw const private::swap_info[number]).read_volatile();
            FileRef::of_slot(addr_of_mut!((*NonNull::new(area)?.as_ptr()).swap_file))
        };
        if let Some(file) = file.filter(|file| is_wanted(&file.inode())) {
            return Some(User::Swap(file.path()));
        }
    }
    None
}

/// A loop device whose file is wanted. May sleep.
fn loop_device(is_wanted: Wanted<'_>) -> Option<User> {
    let _loaded = klp::module(c"loop")?;
    // SAFETY: The driver is loaded, and livepatch has resolved its symbols.
    let _lock = unsafe { MutexGuard::new(&raw mut private::loop_ctl_mutex) };
    let mut number = 0;
    loop {
        // SAFETY: The driver is loaded, and its lock keeps the devices in its table. A device has a reference to its
        // file, if it has one.
        let file = unsafe {
            let device = private::idr_get_next(&raw mut private::loop_index_idr, &raw mut number);
            let device = NonNull::new(device)?.as_ptr().cast::<loop_device>();
            FileRef::of_slot(addr_of_mut!((*device).lo_backing_file))
        };
        if let Some(file) = file.filter(|file| is_wanted(&file.inode())) {
            return Some(User::Loop(file.path(), number));
        }
        number += 1;
    }
}
