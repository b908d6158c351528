// SPDX-License-Identifier: GPL-2.0

//! nfsd_ha: client tracking and admin controls for the kernel's NFS server, attached to the
//! stock nfsd as a livepatch.
//!
//! ```text
//!   nfsd, lockd, grace ----> attach: the functions that are replaced
//!                              |
//!   /proc/fs/nfsd -----> control: files, mounts, nlm_unlock, fsid_grace
//!                              |
//!   connections <------- drain: server addresses that are about to go
//!                              |
//!   nfsdcld <----------- tracking: tracker, keeper, channel, pipe
//!                              |
//!   rpc.statd <--------- nlm: monitor, who must be notified, lockd's locks, blocks and shares
//!                              |
//!   NFS client <-------- reexport: original servers, and what is re-exported of them
//!                              |
//!                        nfs4: clients, what they hold, who may reclaim, floating addresses
//!                              |
//!                        scopes: which are in grace, what a request is about, exports
//!                              |
//!                        base: the kernel's ways in
//! ```
//!
//! A room imports from those below it only (docs/design.md, "Rooms").

mod attach;
mod base;
mod control;
mod drain;
mod nfs4;
mod nlm;
mod reexport;
mod replaced;
mod replaced_opens;
mod replaced_reexport;
mod replaced_state;
mod scopes;
mod tracking;

use base::net::Net;
use base::net_end::{AtEnd, NetEnd, Registered};
// The generated comparisons with BTF have it here, too.
use base::private;
use base::setup::Setup;
use control::{mounts::Mounts, recount::Recount, release};
use drain::drainer::{self, Drainer};
use kernel::prelude::*;
use kernel::sync::Arc;
use nfs4::formers::FormerSelves;
use nfs4::{clientids, floating, handover, reclaimers};
use nlm::{clients, statd};
use reexport::{file_systems, holder::Holder, originals};
use scopes::{exempt, exported, in_grace};
use tracking::tracker;

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

/// The version, which is that of the program (`user/Cargo.toml`): in modinfo, and as
/// `/sys/module/nfsd_ha/version`. `nfsd-ha check` compares it with its own.
const VERSION: &[u8] = include!(concat!(env!("NFSD_HA_GENERATED"), "/version_generated.rs"));

/// As `MODULE_VERSION` has it (`include/linux/module.h`), which `module!` does not know.
#[used]
#[link_section = ".modinfo"]
static VERSION_LINE: [u8; VERSION.len()] = *VERSION.first_chunk().unwrap();

/// What ends with a net namespace.
struct OfNet;

impl NetEnd for OfNet {
    fn ended(net: Net<'_>) {
        in_grace::end_all(net);
        drainer::forget(net);
        floating::forget(net);
        clientids::forget(net);
    }
}

static AT_NET_END: AtEnd = AtEnd::new::<OfNet>();

struct NfsdHa {
    mounts: Arc<Mounts>,
    recount: Arc<Recount>,
    drainer: Arc<Drainer>,
    former_selves: Arc<FormerSelves>,
    holder: Arc<Holder>,
    _net_end: Registered,
}

impl kernel::Module for NfsdHa {
    fn init(module: &'static ThisModule) -> Result<Self> {
        // SAFETY: The module's init runs once.
        let setup = unsafe { Setup::new() };
        tracker::init_module(&setup);
        exported::init_module(&setup);
        in_grace::init_module(&setup);
        exempt::init_module(&setup);
        reclaimers::init_module(&setup);
        floating::init_module(&setup);
        clientids::init_module(&setup);
        handover::init_module(&setup);
        release::init_module(&setup);
        clients::init_module(&setup);
        statd::init_module(&setup);
        file_systems::init_module(&setup);
        originals::init_module(&setup);
        let recount = Recount::new(&setup)?;
        let drainer = Drainer::new(&setup).inspect_err(|_| recount.stop())?;
        let former_selves = FormerSelves::new(&setup).inspect_err(|_| {
            recount.stop();
            drainer.stop();
        })?;
        let holder = Holder::new(&setup).inspect_err(|_| {
            recount.stop();
            drainer.stop();
            former_selves.stop();
        })?;
        let stop = |_: &Error| {
            recount.stop();
            drainer.stop();
            former_selves.stop();
            holder.stop();
        };
        // A namespace may end at once: all that is told of it has been made.
        let net_end = AT_NET_END.register(&setup).inspect_err(stop)?;
        let mounts = Mounts::new(&setup).inspect_err(stop)?;
        // From here on, what fails is undone by `drop()`.
        let this = NfsdHa {
            mounts,
            recount,
            drainer,
            former_selves,
            holder,
            _net_end: net_end,
        };
        attach::attach(module, setup)?;
        if this.mounts.wait_attached() {
            pr_info!("loaded: servers started from now on use its client tracking\n");
        } else {
            pr_warn!(
                "loaded, but not attached yet, as a task is inside a function that is replaced: the control \
                 files come when it has left; see /sys/kernel/livepatch/nfsd_ha/transition\n"
            );
        }
        Ok(this)
    }
}

impl Drop for NfsdHa {
    fn drop(&mut self) {
        self.mounts.stop();
        self.recount.stop();
        self.drainer.stop();
        self.former_selves.stop();
        self.holder.stop();
        file_systems::exit_module();
        tracker::exit_module();
        handover::exit_module();
        clientids::exit_module();
        floating::exit_module();
        reclaimers::exit_module();
        in_grace::exit_module();
        exempt::exit_module();
        exported::exit_module();
        clients::exit_module();
        statd::exit_module();
        // A task that has dropped its reference to this module may still be in its last
        // instructions, preempted; none of them sleeps there.
        base::tasks::wait_for_all();
    }
}
