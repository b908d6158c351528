// SPDX-License-Identifier: GPL-2.0

//! What is held beside what clients of NFSv4 hold: by clients of NLM, and by those who have yet to come back.

use crate::base::mounted::LoadedNfsd;
use crate::base::net::Nfsd;
use crate::nlm::clients;
use crate::nlm::lockd::Lockd;
use crate::scopes::exported;
use crate::scopes::in_grace;
use crate::scopes::place::ExportId;
use kernel::prelude::*;

/// What was found.
#[derive(Default)]
pub(crate) struct Elsewhere {
    /// Exports that are in grace by command, so that clients may reclaim there.
    pub(crate) in_grace: KVVec<ExportId>,
    /// Exports that clients of NLM hold something on, or may: lockd has a file of it, or a client has asked for a lock there, and
    /// lockd has not forgotten it.
    pub(crate) nlm: KVVec<ExportId>,
    /// All of it was looked at.
    pub(crate) is_whole: bool,
}

/// Looks at that, in the namespace with this cookie. Fails with `ENOMEM`. May sleep; of lockd it takes what is free.
pub(crate) fn look(net: u64) -> Result<Elsewhere> {
    let mut found = Elsewhere {
        is_whole: true,
        ..Elsewhere::default()
    };
    for scoped in &in_grace::list(net, |_| true)? {
        for export in &exported::exports_of(net, &scoped.scope)? {
            add(&mut found.in_grace, *export)?;
            add(&mut found.nlm, *export)?;
        }
    }
    clients::each(net, 0, |pair| match pair.at.export_id() {
        Some(export) => add(&mut found.nlm, export),
        None => {
            found.is_whole = false;
            Ok(())
        }
    })?;
    let mut result = Ok(false);
    if let Some(nfsd) = LoadedNfsd::get() {
        nfsd.each_mount(|sb| {
            let nfsd = sb.nfsd();
            if nfsd.net().cookie() == net && result == Ok(false) {
                result = of_lockd(nfsd, &mut found.nlm);
            }
        });
    }
    found.is_whole &= result?;
    Ok(found)
}

/// Adds where lockd has files. Returns whether it could be asked. Fails with `ENOMEM`. May sleep.
fn of_lockd(nfsd: Nfsd<'_>, exports: &mut KVVec<ExportId>) -> Result<bool> {
    match Lockd::try_once(nfsd) {
        None => return Ok(false),
        Some(None) => {}
        Some(Some(lockd)) => lockd.each_place(nfsd.net(), |place| match place.export_id() {
            Some(export) => add(exports, export),
            None => Ok(()),
        })?,
    }
    Ok(true)
}

fn add(exports: &mut KVVec<ExportId>, export: ExportId) -> Result {
    if !exports.contains(&export) {
        exports.push(export, GFP_KERNEL)?;
    }
    Ok(())
}
