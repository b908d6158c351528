// SPDX-License-Identifier: GPL-2.0

//! `fsid_grace`: a grace period for one scope.

use crate::base::net::{Net, Nfsd};
use crate::base::text::Text;
use crate::nfs4::reclaimers;
use crate::nlm::clients;
use crate::scopes::exported;
use crate::scopes::grace::{self, Scoped, Wish, MAX_SECONDS};
use crate::scopes::in_grace;
use crate::scopes::scope::command;
use core::fmt::Write;
use kernel::prelude::*;

/// Does a command: `SCOPE [SECONDS]`, where 0 ends the grace period, or `SCOPE listed`. Without seconds it
/// lasts `default`. May sleep.
///
/// Fails with `EINVAL` for another command, with `ENOMEM`, with `ENOSPC` if there are too many
/// scopes already (65,536 fit), and of a scope that is not in grace `listed` with `ETIME`.
pub(crate) fn write(net: Net<'_>, default: u32, data: &[u8], out: &mut Text) -> Result {
    let (scope, wish) = grace::parse(command(data)?)?;
    let cookie = net.cookie();
    let seconds = match wish {
        Wish::Grace(seconds) => seconds.unwrap_or(default.min(MAX_SECONDS)),
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
    // Before it begins: who was listed in an earlier one may not reclaim in this one.
    if !in_grace::is_in_grace(cookie, &scope) {
        reclaimers::forget(cookie, &scope);
    }
    if !in_grace::start(cookie, &scope, seconds)? {
        exported::note_again();
        clients::forget_scope(net, &scope);
        pr_info!(
            "grace period of {} begins, {seconds} s\n",
            format_args!("{scope}")
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
            "{scope} left {left} reclaims {reclaims} refused {refused}"
        )?;
    }
    Ok(())
}
