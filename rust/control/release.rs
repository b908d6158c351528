// SPDX-License-Identifier: GPL-2.0

//! `nlm_unlock`: releasing what the clients of NLM and of NFSv4 hold of a scope.
//!
//! The scope is held in grace meanwhile. First it is decided whether an NFSv4 client is in the way, as what they hold cannot
//! be put back, or something else that would keep the file system from being unmounted; then the NLM locks are released,
//! all or none; then NFSv4's.
//!
//! One release runs at a time. Lock order: [`RELEASE`], `nfsd_mutex`, then lockd's.

use crate::base::global::Global;
use crate::base::in_force;
use crate::base::net::Nfsd;
use crate::base::private;
use crate::base::setup::Setup;
use crate::base::text::Text;
use crate::control::umount::{self, HeldBy};
use crate::nfs4::held::Shown;
use crate::nfs4::nfs4_release;
use crate::nfs4::server::Server;
use crate::nlm::lockd::Lockd;
use crate::nlm::nlm_release;
use crate::scopes::in_grace::Hold;
use crate::scopes::scope::{command, Fsid, Scope};
use core::fmt::{self, Write};
use kernel::prelude::*;
use kernel::sync::{new_mutex, Mutex};

static RELEASE: Global<Mutex<()>> = Global::new();

/// Prepares this file's lock.
pub(crate) fn init_module(setup: &Setup) {
    RELEASE.init(setup, new_mutex!((), "nfsd_ha::RELEASE"));
}

/// What was released.
struct Released {
    nlm: nlm_release::Released,
    nfs4: nfs4_release::Released,
    /// What is exported below, but is a scope of its own.
    beside: KVVec<Fsid>,
}

/// Does a command of `nlm_unlock`: `SCOPE`. May sleep.
///
/// Adds to the text what was released, or who or which file is in the way. Fails with `EINVAL` for
/// another command; with `EBUSY` if something cannot be released, `EINTR` after a signal, `ENODEV` if the
/// livepatch is being switched off, and `ENOMEM`; then all is as it was.
pub(crate) fn write(nfsd: Nfsd<'_>, data: &[u8], out: &mut Text) -> Result {
    let scope = Scope::parse(command(data)?)?;
    let outcome = release(nfsd, scope)?;
    // Our last references to files went in this task; other tasks of the kernel may have had
    // the last ones to some.
    // SAFETY: We may sleep, and hold no lock that closing a file takes.
    unsafe { private::flush_delayed_fput() };
    writeln!(out, "scope {scope}")?;
    match outcome {
        Ok(released) => Ok(released.report(&scope, out)?),
        Err(busy) => {
            let busy = busy.as_str();
            writeln!(out, "busy {busy}")?;
            pr_warn!("nothing released of {}: {busy}\n", format_args!("{scope}"));
            Err(EBUSY)
        }
    }
}

/// Releases a scope: returns what was, or what is in the way.
fn release(nfsd: Nfsd<'_>, scope: Scope) -> Result<Result<Released, Text>> {
    let _one = RELEASE.lock();
    let server = Server::get(nfsd)?;
    let _hold = Hold::new(nfsd.net(), scope)?;
    if let Some(server) = &server {
        if let Some(busy) = server.busy(&scope)? {
            return Ok(Err(busy));
        }
    }
    let lockd = Lockd::get(nfsd)?;
    let held = HeldBy {
        net: nfsd.net(),
        lockd: lockd.as_ref(),
        server: server.as_ref(),
    };
    let beside = match held.beside(&scope)? {
        Ok(beside) => beside,
        Err(busy) => return Ok(Err(busy)),
    };
    let leave = held.devices_to_leave(&scope)?;
    if let Some(busy) = umount::in_the_way(nfsd.net(), &scope, &leave)? {
        return Ok(Err(busy));
    }
    // The looks at who is in the way take their time.
    in_force::check()?;
    let nlm = match &lockd {
        Some(lockd) => nlm_release::release(lockd, nfsd.net(), scope, &leave)?,
        None => Ok(nlm_release::Released::default()),
    };
    Ok(nlm.map(|nlm| Released {
        nlm,
        nfs4: server.map_or_else(Default::default, |server| server.release(&scope)),
        beside,
    }))
}

impl Released {
    /// Says what was released.
    fn report(&self, scope: &Scope, out: &mut Text) -> fmt::Result {
        let Released { nlm, nfs4, beside } = self;
        let (locks, blocks, shares) = (nlm.locks, nlm.blocks, nlm.shares);
        let (files, clients, held) = (nlm.files, nlm.client_count, nfs4.held);
        let holds = held.amount().map(|mut all| {
            all += nlm.amount;
            all
        });
        for (what, number) in [
            ("locks", Shown(Some(locks))),
            ("blocks", Shown(Some(blocks))),
            ("shares", Shown(Some(shares))),
            ("files", Shown(Some(files))),
            ("clients", Shown(Some(clients))),
            ("nfs4_opens", Shown(Some(held.opens))),
            ("nfs4_locks", held.shown_locks()),
            ("nfs4_delegations", Shown(Some(held.delegations))),
            ("nfs4_layouts", Shown(Some(held.layouts))),
            ("nfs4_clients", Shown(Some(nfs4.clients))),
        ] {
            writeln!(out, "{what} {number}")?;
        }
        writeln!(out, "holds {}", Shown(holds))?;
        for fsid in beside {
            writeln!(out, "below {fsid}")?;
        }
        for left in [&nlm.left, &nfs4.left].into_iter().flatten() {
            writeln!(out, "left {}", left.as_str())?;
        }
        if files > 0 {
            pr_info!(
                "released {}: {locks} locks, {blocks} blocked, {shares} shares of {clients} clients \
                 on {files} files\n",
                format_args!("{scope}")
            );
        }
        if nfs4.clients > 0 {
            pr_info!(
                "released {}: {} opens, {} locks, {} delegations, {} layouts of {} NFSv4 clients\n",
                format_args!("{scope}"),
                held.opens,
                format_args!("{}", held.shown_locks()),
                held.delegations,
                held.layouts,
                nfs4.clients
            );
        }
        Ok(())
    }
}
