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
#[path = "nlm/blocks.rs"]
mod blocks;
#[path = "tracking/changes.rs"]
mod changes;
#[path = "tracking/channel.rs"]
mod channel;
#[path = "tracking/cld.rs"]
mod cld;
#[path = "nlm/clients.rs"]
mod clients;
#[path = "base/clock.rs"]
mod clock;
#[path = "scope/exports.rs"]
mod exports;
#[path = "files/files.rs"]
mod files;
#[path = "nfs4/floating.rs"]
mod floating;
#[path = "base/fsfile.rs"]
mod fsfile;
#[path = "scope/grace.rs"]
mod grace;
#[path = "nfs4/held.rs"]
mod held;
#[path = "nlm/host.rs"]
mod host;
#[path = "nfs4/identity.rs"]
mod identity;
#[path = "base/index.rs"]
mod index;
#[path = "tracking/keeper.rs"]
mod keeper;
#[path = "base/klp.rs"]
mod klp;
#[path = "nlm/lines.rs"]
mod lines;
#[path = "nlm/lockd.rs"]
mod lockd;
#[path = "nlm/locks.rs"]
mod locks;
#[path = "base/module_ref.rs"]
mod module_ref;
#[path = "nlm/monitor.rs"]
mod monitor;
#[path = "files/mounts.rs"]
mod mounts;
#[path = "nfs4/nfs4_client.rs"]
mod nfs4_client;
#[path = "nfs4/nfs4_clients.rs"]
mod nfs4_clients;
#[path = "nfs4/nfs4_release.rs"]
mod nfs4_release;
#[path = "nfs4/nfsd.rs"]
mod nfsd;
#[path = "nlm/nlm_release.rs"]
mod nlm_release;
#[path = "nlm/openers.rs"]
mod openers;
#[path = "base/params.rs"]
mod params;
#[path = "base/pipe.rs"]
mod pipe;
#[path = "base/private.rs"]
mod private;
#[path = "base/raw.rs"]
mod raw;
#[path = "nfs4/reclaim.rs"]
mod reclaim;
#[path = "nfs4/reclaimers.rs"]
mod reclaimers;
#[path = "tracking/records.rs"]
mod records;
#[path = "scope/release.rs"]
mod release;
#[path = "scope/request.rs"]
mod request;
#[path = "scope/scope.rs"]
mod scope;
#[path = "scope/scopes.rs"]
mod scopes;
#[path = "nlm/seen.rs"]
mod seen;
#[path = "nlm/shares.rs"]
mod shares;
#[path = "base/siphash.rs"]
mod siphash;
#[path = "base/sockaddr.rs"]
mod sockaddr;
#[path = "tracking/state.rs"]
mod state;
#[path = "tracking/status.rs"]
mod status;
#[path = "base/text.rs"]
mod text;
#[path = "tracking/tracker.rs"]
mod tracker;
#[path = "tracking/upcall.rs"]
mod upcall;
#[path = "tracking/xid.rs"]
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
