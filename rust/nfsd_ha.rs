// SPDX-License-Identifier: GPL-2.0

//! nfsd_ha: client tracking and admin controls for the kernel's NFS server, attached to the
//! stock nfsd as a livepatch.
//!
//! ```text
//!   nfsd ----------> attach ---------> tracker ---> channel ---> pipe ---> nfsdcld
//!   (livepatch)        |               (per net)    |  |  |
//!                      v                            |  |  +---- cld      message codec
//!                    mounts ---> fsfile             |  +------- xid      upcalls in flight
//!                    (nfsd's mounts) |              +---------- records  who may reclaim
//!                                    +--> status
//! ```

mod attach;
mod channel;
mod cld;
mod fsfile;
mod klp;
mod module_ref;
mod mounts;
mod nfsd;
mod pipe;
mod private;
mod records;
mod status;
mod tracker;
mod xid;

use kernel::prelude::*;
use kernel::sync::Arc;
use mounts::Mounts;

module! {
    type: NfsdHa,
    name: "nfsd_ha",
    authors: ["The nfsd-ha authors"],
    description: "High availability for the kernel NFS server",
    license: "GPL",
}

/// Tells the loader that this module is a livepatch (`include/linux/livepatch.h`).
#[used]
#[link_section = ".modinfo"]
static LIVEPATCH: [u8; 12] = *b"livepatch=Y\0";

struct NfsdHa {
    mounts: Arc<Mounts>,
}

impl kernel::Module for NfsdHa {
    fn init(module: &'static ThisModule) -> Result<Self> {
        // SAFETY: The module's init runs once, and this comes before it attaches.
        let mounts = unsafe {
            tracker::init_module();
            Mounts::new()?
        };
        let this = NfsdHa { mounts };
        // SAFETY: The module's init runs once, and everything is ready.
        unsafe { attach::attach(module)? };
        if this.mounts.wait_attached() {
            pr_info!("loaded: servers started from now on use its client tracking\n");
        } else {
            pr_warn!(
                "loaded, but not attached yet: a task is inside nfsd's start; \
                 see /sys/kernel/livepatch/nfsd_ha/transition\n"
            );
        }
        Ok(this)
    }
}

impl Drop for NfsdHa {
    fn drop(&mut self) {
        self.mounts.stop();
        tracker::exit_module();
        // A task that has dropped its reference to this module may still be in its last
        // instructions, preempted; none of them sleeps there.
        // SAFETY: We may sleep.
        unsafe { private::synchronize_rcu_tasks() };
    }
}
