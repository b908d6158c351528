// SPDX-License-Identifier: GPL-2.0

//! nfsd_ha: client tracking and admin controls for the kernel's NFS server, attached to the
//! stock nfsd as a livepatch.
//!
//! ```text
//!   nfsd, lockd, grace ---> attach (livepatch)
//!                             |
//!        +--------------------+-----------+----------------------+----------------+
//!        v                    v           v                      v                v
//!     tracker              mounts      scopes: is this        monitor: who     (nfsd's mounts)
//!        |                    |        request in grace?      asks for locks
//!     channel ---> pipe       v           |        |             |
//!      |  |  |    (nfsdcld) files      grace    request       clients
//!      |  |  +- cld           |                                  |
//!      |  +---- xid        fsfile ---> status, scopes,         seen
//!      +------- records                clients, release ---> lockd, blocks, shares, openers
//! ```

mod attach;
mod blocks;
mod changes;
mod channel;
mod cld;
mod clients;
mod clock;
mod exports;
mod files;
mod floating;
mod fsfile;
mod grace;
mod held;
mod host;
mod identity;
mod index;
mod keeper;
mod klp;
mod lines;
mod lockd;
mod locks;
mod module_ref;
mod monitor;
mod mounts;
mod nfs4_client;
mod nfs4_clients;
mod nfs4_release;
mod nfsd;
mod nlm_release;
mod openers;
mod params;
mod pipe;
mod private;
mod raw;
mod reclaim;
mod reclaimers;
mod records;
mod release;
mod request;
mod scope;
mod scopes;
mod seen;
mod shares;
mod siphash;
mod sockaddr;
mod state;
mod status;
mod text;
mod tracker;
mod upcall;
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
        unsafe {
            tracker::init_module();
            scopes::init_module();
            reclaimers::init_module();
            floating::init_module();
            release::init_module();
        }
        // From here on, what fails is undone by `drop()`.
        let this = NfsdHa {
            // SAFETY: The module's init runs once, and this comes before it attaches.
            mounts: unsafe { Mounts::new()? },
        };
        // SAFETY: The module's init runs once, and this comes before it attaches.
        unsafe { clients::init_module()? };
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
        floating::exit_module();
        reclaimers::exit_module();
        scopes::exit_module();
        clients::exit_module();
        // A task that has dropped its reference to this module may still be in its last
        // instructions, preempted; none of them sleeps there.
        // SAFETY: We may sleep, and hold no lock.
        unsafe { private::synchronize_rcu_tasks() };
    }
}
