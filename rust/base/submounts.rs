// SPDX-License-Identifier: GPL-2.0

//! What is mounted on a file system, so that this cannot be unmounted.
//!
//! C source: `next_mnt()` in `fs/namespace.c`.

use crate::base::private::{self, mount, path};
use crate::base::user::User;
use crate::base::vfs::{Path, PathRef};
use core::ptr::addr_of_mut;
use kernel::current;

/// The first mount, in the mount namespace of the current process, that is wanted by the number of the device below it and by
/// what is mounted. May sleep; `is_wanted` is asked with `namespace_sem` held.
pub(crate) fn find(is_wanted: &dyn Fn(u32, &PathRef) -> bool) -> Option<User> {
    let task = current!().as_ptr().cast::<private::task_struct>();
    // SAFETY: The current task has its namespaces as long as it runs. Their mounts, and how these are linked, change
    // under the semaphore that is held. A mount that is in a namespace is valid, and the nodes of the list of its
    // children are in these.
    unsafe {
        private::down_read(&raw mut private::namespace_sem);
        let top = (*(*(*task).nsproxy).mnt_ns).root;
        // The next one of the mounts on `top` and on what is mounted there.
        let next = |mut this: *mut mount| {
            let mut node = (*this).mnt_mounts.next;
            while node == addr_of_mut!((*this).mnt_mounts) {
                if this == top {
                    return None;
                }
                node = (*this).mnt_child.next;
                this = (*this).mnt_parent;
            }
            Some(kernel::container_of!(node, mount, mnt_child))
        };
        let mut found = None;
        let mut at = next(top);
        while let Some(this) = at {
            let below = (*(*(*this).mnt_parent).mnt.mnt_sb).s_dev;
            let own = Path::from_raw(path {
                mnt: addr_of_mut!((*this).mnt),
                dentry: (*this).mnt.mnt_root,
            })
            .get();
            if is_wanted(below, &own) {
                found = Some(User::Mount(own));
                break;
            }
            at = next(this);
        }
        private::up_read(&raw mut private::namespace_sem);
        found
    }
}
