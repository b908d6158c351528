// SPDX-License-Identifier: GPL-2.0

//! `fsid_grace`: a grace period for one scope.

use crate::base::net::{Net, Nfsd};
use crate::base::text::Text;
use crate::nfs4::reclaimers;
use crate::nlm::clients;
use crate::scopes::exported;
use crate::scopes::in_grace;
use crate::scopes::scope::command;
use crate::scopes::scoped::Scoped;
use crate::scopes::wish::{self, Wish, MAX_SECONDS};
use crate::tracking::tracker::Tracker;
use core::fmt::Write;
use kernel::prelude::*;

/// Does a command: `SCOPE [SECONDS] [local]`, where 0 ends the grace period, or `SCOPE listed`. Without seconds it
/// lasts `default`. May sleep.
///
/// Fails with `EINVAL` for another command, with `ENOMEM`, with `ENOSPC` if there are too many
/// scopes already (65,536 fit), of a scope that is not in grace `listed` with `ETIME`, and `local` with `ENXIO` if it is not
/// known which device the scope is on.
pub(crate) fn write(net: Net<'_>, default: u32, data: &[u8], out: &mut Text) -> Result {
    let (scope, wish) = wish::parse(command(data)?)?;
    let cookie = net.cookie();
    let (seconds, local) = match wish {
        Wish::Grace { seconds, local } => (seconds.unwrap_or(default.min(MAX_SECONDS)), local),
        Wish::Listed => {
            reclaimers::close(cookie, &scope)?;
            return list(cookie, out, |entry| entry.scope == scope);
        }
    };
    if seconds == 0 {
        in_grace::end(cookie, &scope);
        reclaimers::forget(cookie, &scope);
        writeln!(out, "{scope} ended")?;
        return Ok(());
    }
    let device = match exported::device_of(cookie, &scope).filter(|_| local) {
        None if local => return Err(ENXIO),
        device => device,
    };
    // Before it begins: who was listed in an earlier one may not reclaim in this one.
    if !in_grace::is_in_grace(cookie, &scope) {
        reclaimers::forget(cookie, &scope);
    }
    if !in_grace::start(cookie, &scope, seconds, device)? {
        // Who has yet to come back holds something there, after a crash, too.
        Tracker::with(net, Tracker::distrust);
        exported::note_again();
        clients::forget_scope(net, &scope);
        pr_info!(
            "grace period of {} begins, {seconds} s{}\n",
            format_args!("{scope}"),
            if local {
                ", also for local processes"
            } else {
                ""
            }
        );
    }
    list(cookie, out, |entry| entry.scope == scope)
}

/// Shows the scopes of a namespace in grace, a line for each. May sleep.
pub(crate) fn show(nfsd: Nfsd<'_>, out: &mut Text) -> Result {
    list(nfsd.net().cookie(), out, |_| true)
}

fn list(net: u64, out: &mut Text, want: impl Fn(&Scoped) -> bool) -> Result {
    for entry in &in_grace::list(net, want)? {
        let left = in_grace::seconds_left(entry);
        let (scope, reclaims, refused) = (entry.scope, entry.reclaims(), entry.refused);
        writeln!(
            out,
            "{scope} left {left} reclaims {reclaims} refused {refused}{}",
            if entry.local.is_some() { " local" } else { "" }
        )?;
    }
    Ok(())
}
